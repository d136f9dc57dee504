"""What is remembered of a tenant's configuration."""

from __future__ import annotations

import asyncio

from app.delivery.cache import TenantCache
from app.results.store import StoreAwayError
from tests.support.clock import FakeClock


class Store:
    """Answers with `value`, or is away where it is None."""

    def __init__(self) -> None:
        self.value: str | None = "one"
        self.asked = 0

    async def load(self, tenant: str) -> str:
        """What is configured."""
        self.asked += 1
        if self.value is None:
            raise StoreAwayError("away")
        return f"{tenant}:{self.value}"


def test_answers_are_remembered_for_a_while() -> None:
    """Then the store is asked again; a change made here is seen at once."""

    async def use() -> None:
        store, clock = Store(), FakeClock()
        cache = TenantCache(store.load, clock, 5.0)
        assert [await cache.get("a"), await cache.get("b")] == ["a:one", "b:one"]
        store.value = "two"
        clock.advance(4.9)
        assert await cache.get("a") == "a:one"
        clock.advance(0.2)
        assert await cache.get("a") == "a:two"
        store.value = "three"
        cache.forget("a")
        assert await cache.get("a") == "a:three"
        assert store.asked == 4

    asyncio.run(use())


def test_while_the_store_is_away_the_last_answer_stands() -> None:
    """And the store is not asked at every turn."""

    async def use() -> None:
        store, clock = Store(), FakeClock()
        cache = TenantCache(store.load, clock, 5.0)
        store.value = None
        assert [await cache.get("a"), await cache.get("a")] == [None, None]
        assert store.asked == 1
        store.value = "one"
        clock.advance(5.0)
        assert await cache.get("a") == "a:one"
        store.value = None
        clock.advance(5.0)
        assert [await cache.get("a"), await cache.get("a")] == ["a:one", "a:one"]
        assert store.asked == 3

    asyncio.run(use())


def test_an_answer_older_than_a_change_is_not_remembered() -> None:
    """A change while the store is being asked."""

    async def use() -> None:
        began, released = asyncio.Event(), asyncio.Event()
        values = ["old", "new"]

        async def load(_: str) -> str:
            value = values.pop(0)
            if value == "old":
                began.set()
                await released.wait()
            return value

        cache = TenantCache(load, FakeClock(), 5.0)
        asking = asyncio.create_task(cache.get("a"))
        await began.wait()
        cache.forget("a")
        released.set()
        assert await asking == "old"
        assert await cache.get("a") == "new"

    asyncio.run(use())


def test_a_store_that_hangs_is_not_waited_for() -> None:
    """The question is given up after a moment."""

    async def use() -> None:
        async def load(_: str) -> str:
            await asyncio.Event().wait()
            return ""

        assert await TenantCache(load, FakeClock(), 5.0).get("a") is None

    asyncio.run(use())
