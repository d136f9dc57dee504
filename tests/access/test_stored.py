"""Keys of the store: no round trip on the hot path, and a revocation is in force within seconds."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import pytest

from app.access import stored
from app.access.keys import KeyRecord, new_key
from app.access.principal import Scope
from app.access.stored import AGAIN_S, FRESH_S, GRACE_S, RENEW_S, KeysAwayError, StoredKeys
from tests.support.clock import FakeClock
from tests.support.logs import logged

NOW = 1_700_000_000.0


class Source:
    """A store of keys that counts what it is asked, may be away, may be slow, may fail."""

    def __init__(self, *records: KeyRecord) -> None:
        self.keys = {record.key_id: record for record in records}
        self.asked: list[str] = []
        self.away = False
        self.fault: Exception | None = None
        self.hold: asyncio.Event | None = None

    async def find(self, key_id: str) -> KeyRecord | None:
        """The key of this id."""
        self.asked.append(key_id)
        found = self.keys.get(key_id)
        if self.hold is not None:
            await self.hold.wait()
        if self.away:
            raise KeysAwayError("away")
        if self.fault is not None:
            raise self.fault
        return found


def record() -> KeyRecord:
    """What is kept of a key."""
    return new_key("alpha", "test", [Scope.INGEST], now=NOW)[1]


async def settle() -> None:
    """Lets what goes on in the background come to its end."""
    for _ in range(10):
        await asyncio.sleep(0)


def test_a_key_in_use_costs_no_waiting() -> None:
    """A thousand requests in ten seconds ask the store a few times, and only the first waits for it."""

    async def use() -> None:
        clock, key = FakeClock(), record()
        source = Source(key)
        keys = StoredKeys(source, clock)
        for _ in range(1000):
            assert await keys.find(key.key_id) == key
            await settle()
            clock.advance(0.01)
        assert len(source.asked) == 4

    asyncio.run(use())


def test_a_key_is_renewed_while_the_answer_at_hand_is_used() -> None:
    """A store that takes its time is not waited for as long as the answer at hand is fresh."""

    async def use() -> None:
        clock, key = FakeClock(), record()
        source = Source(key)
        keys = StoredKeys(source, clock)
        await keys.find(key.key_id)
        source.hold = asyncio.Event()
        clock.advance(RENEW_S)
        assert await keys.find(key.key_id) == key
        await settle()
        assert len(source.asked) == 2
        source.hold.set()
        await settle()
        clock.advance(RENEW_S - 0.1)
        assert await keys.find(key.key_id) == key
        assert len(source.asked) == 2

    asyncio.run(use())


@pytest.mark.parametrize("used_every_s", [0.1, 1.0, FRESH_S + 1])
def test_a_revocation_is_in_force_within_seconds(used_every_s: float) -> None:
    """However often the key is used, `FRESH_S` later nobody gets the old answer."""

    async def use() -> None:
        clock, key = FakeClock(), record()
        source = Source(key)
        keys = StoredKeys(source, clock)
        await keys.find(key.key_id)
        revoked = replace(key, revoked_at=clock.now())
        source.keys[key.key_id] = revoked
        since = clock.monotonic()
        while clock.monotonic() - since < FRESH_S:
            clock.advance(used_every_s)
            found = await keys.find(key.key_id)
            await settle()
        assert found == revoked

    asyncio.run(use())


def test_a_key_changed_here_counts_at_once() -> None:
    """Also where the old answer is under way."""

    async def use() -> None:
        clock, key = FakeClock(), record()
        source = Source(key)
        source.hold = asyncio.Event()
        keys = StoredKeys(source, clock)
        asking = asyncio.create_task(keys.find(key.key_id))
        await settle()
        del source.keys[key.key_id]
        keys.forget(key.key_id)
        source.hold.set()
        assert await asking == key  # asked before the change
        source.hold = None
        assert await keys.find(key.key_id) is None
        keys.forget("never seen")

    asyncio.run(use())


def test_many_who_wait_cause_one_question() -> None:
    """Two hundred requests with a key that is not at hand."""

    async def use() -> None:
        clock, key = FakeClock(), record()
        source = Source(key)
        source.hold = asyncio.Event()
        keys = StoredKeys(source, clock)
        waiting = [asyncio.create_task(keys.find(key.key_id)) for _ in range(200)]
        await settle()
        source.hold.set()
        assert await asyncio.gather(*waiting) == [key] * 200
        assert source.asked == [key.key_id]

    asyncio.run(use())


def test_one_who_gives_up_does_not_spoil_it_for_the_others() -> None:
    """A request that is cancelled leaves the question under way."""

    async def use() -> None:
        clock, key = FakeClock(), record()
        source = Source(key)
        source.hold = asyncio.Event()
        keys = StoredKeys(source, clock)
        first, second = (asyncio.create_task(keys.find(key.key_id)) for _ in range(2))
        await settle()
        first.cancel()
        await settle()
        source.hold.set()
        assert await second == key

    asyncio.run(use())


def test_what_is_not_there_is_remembered_too() -> None:
    """A flood with one wrong key asks once."""

    async def use() -> None:
        source = Source()
        keys = StoredKeys(source, FakeClock())
        for _ in range(100):
            assert await keys.find("a" * 16) is None
        assert len(source.asked) == 1

    asyncio.run(use())


def test_only_so_many_are_remembered(monkeypatch: pytest.MonkeyPatch) -> None:
    """Those that were used last."""
    monkeypatch.setattr(stored, "MAX_REMEMBERED", 3)

    async def use() -> None:
        key = record()
        source = Source(key)
        keys = StoredKeys(source, FakeClock())
        for number in range(50):
            assert await keys.find(key.key_id) == key
            assert await keys.find(f"other-{number}") is None
        assert source.asked.count(key.key_id) == 1
        assert await keys.find("other-0") is None
        assert source.asked.count("other-0") == 2

    asyncio.run(use())


def test_keys_hold_for_a_while_when_the_store_is_away() -> None:
    """Those that were valid; what was never seen cannot be told, and the store is not asked by each request."""

    async def use() -> None:
        clock, key = FakeClock(), record()
        source = Source(key)
        keys = StoredKeys(source, clock)
        await keys.find(key.key_id)
        source.away = True
        clock.advance(FRESH_S)
        asked = len(source.asked)
        for _ in range(100):
            assert await keys.find(key.key_id) == key
            with pytest.raises(KeysAwayError):
                await keys.find("b" * 16)
        assert len(source.asked) == asked + 1
        clock.advance(AGAIN_S)
        await keys.find(key.key_id)
        assert len(source.asked) == asked + 2
        clock.advance(GRACE_S)
        with pytest.raises(KeysAwayError):
            await keys.find(key.key_id)
        source.away = False
        clock.advance(AGAIN_S)
        assert await keys.find(key.key_id) == key

    asyncio.run(use())


def test_only_what_was_found_before_is_recalled() -> None:
    """No question for what was never found; what was found is kept fresh."""

    async def use() -> None:
        clock, key = FakeClock(), record()
        source = Source(key)
        keys = StoredKeys(source, clock)
        assert await keys.recall(key.key_id) is None
        assert source.asked == []
        await keys.find(key.key_id)
        clock.advance(FRESH_S)
        assert await keys.recall(key.key_id) == key
        assert len(source.asked) == 2

    asyncio.run(use())


def test_a_fault_in_the_background_is_logged_and_harms_nobody() -> None:
    """The answer at hand is used as long as it is fresh."""

    async def use() -> None:
        clock, key = FakeClock(), record()
        source = Source(key)
        keys = StoredKeys(source, clock)
        await keys.find(key.key_id)
        source.fault = ValueError("secret text")
        clock.advance(RENEW_S)
        assert await keys.find(key.key_id) == key
        await settle()

    with logged() as log:
        asyncio.run(use())
    assert "key_lookup_failed" in log.getvalue()
    assert "secret text" not in log.getvalue()


def test_closing_stops_what_goes_on() -> None:
    """No task is left behind."""

    async def use() -> None:
        clock, key = FakeClock(), record()
        source = Source(key)
        keys = StoredKeys(source, clock)
        await keys.find(key.key_id)
        source.hold = asyncio.Event()
        clock.advance(RENEW_S)
        await keys.find(key.key_id)
        await settle()
        keys.forget(key.key_id)
        await keys.close()
        assert asyncio.all_tasks() == {asyncio.current_task()}

    asyncio.run(use())
