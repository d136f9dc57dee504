"""What passes goes from process to process through a real Redis, over its restarts, while somebody listens."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from app.results.redis_relay import MAX_WAITING, QUIET_S, RedisRelay, channel_of
from tests.support.clock import FakeClock
from tests.support.redis import RedisServer, redis_server

SOON_S = 30.0


@pytest.fixture(scope="module")
def redis(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    """A Redis for the module."""
    with redis_server(tmp_path_factory.mktemp("relay")) as server:
        yield server


class Process:
    """A relay, and what it heard."""

    def __init__(self, url: str) -> None:
        self.clock = FakeClock()
        self.dropped: list[int] = []
        self.relay = RedisRelay(url, self.clock, on_drop=self.dropped.append)
        self.heard: list[tuple[str, bytes]] = []

    @asynccontextmanager
    async def running(self) -> AsyncIterator[Process]:
        """While the context is open."""
        task = asyncio.create_task(self.relay.run(lambda tenant, said: self.heard.append((tenant, said))))
        try:
            yield self
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)

    async def until(self, come: Callable[[], bool]) -> None:
        """Waits for something."""
        async with asyncio.timeout(SOON_S):
            while not come():  # noqa: ASYNC110 (Redis tells nobody)
                await asyncio.sleep(0.01)

    async def hears(self, other: Process, tenant: str, message: bytes) -> None:
        """Another one sends until this one has heard it."""
        async with asyncio.timeout(SOON_S):
            while (tenant, message) not in self.heard:
                other.clock.advance(QUIET_S)
                other.relay.send(tenant, message)
                await asyncio.sleep(0.01)


def listeners(redis: RedisServer, tenant: str) -> bytes:
    """What Redis says of a channel."""
    return redis.command("PUBSUB", "NUMSUB", channel_of(tenant)).splitlines()[-1]


def test_messages_reach_who_listens_to_their_tenant(redis: RedisServer) -> None:
    """And nobody else; who leaves hears no more, and can come back."""

    async def scenario() -> None:
        one, two = Process(redis.url), Process(redis.url)
        async with one.running(), two.running():
            two.relay.listen("acme")
            await two.hears(one, "acme", b"first")
            two.relay.listen("zeta")
            await two.hears(one, "zeta", b"second")
            two.relay.leave("acme")
            await two.until(lambda: listeners(redis, "acme") == b":0")
            one.relay.send("acme", b"unheard")
            await two.hears(one, "zeta", b"third")
            assert ("acme", b"unheard") not in two.heard
            two.relay.leave("zeta")
            two.relay.listen("acme")
            await two.hears(one, "acme", b"fourth")
        assert one.heard == []

    asyncio.run(scenario())


def test_nothing_is_sent_while_nobody_elsewhere_listens(redis: RedisServer) -> None:
    """One's own listening does not count; after a while it is tried again."""

    async def scenario() -> None:
        one = Process(redis.url)
        async with one.running():
            one.relay.listen("solo")
            await one.until(lambda: listeners(redis, "solo") == b":1")
            one.relay.send("solo", b"a")
            await one.until(lambda: len(one.heard) == 1)
            await one.until(lambda: one.relay.quiet("solo"))
            one.relay.send("solo", b"b")
            one.clock.advance(QUIET_S)
            one.relay.send("solo", b"c")
            await one.until(lambda: len(one.heard) == 2)
        assert [said for _, said in one.heard] == [b"a", b"c"]

    asyncio.run(scenario())


def test_it_goes_on_after_redis_was_away(redis: RedisServer) -> None:
    """What was said meanwhile is lost and counted; the listeners are back by themselves."""

    async def scenario() -> None:
        one, two = Process(redis.url), Process(redis.url)
        async with one.running(), two.running():
            two.relay.listen("acme")
            await two.hears(one, "acme", b"before")
            redis.kill()
            one.relay.send("acme", b"lost")
            await one.until(lambda: bool(one.dropped))
            redis.start()
            await two.hears(one, "acme", b"after")
            assert ("acme", b"lost") not in two.heard

    asyncio.run(scenario())


def test_sending_never_waits_and_is_bounded(tmp_path: Path) -> None:
    """Without a Redis the oldest messages go."""

    async def scenario() -> None:
        one = Process(f"unix://{tmp_path}/none.sock")
        for number in range(MAX_WAITING + 3):
            one.relay.send("acme", b"%d" % number)
        assert sum(one.dropped) == 3

    asyncio.run(scenario())


def test_a_cluster_carries_messages_too(tmp_path: Path) -> None:
    """Through whatever node the address names; how many hear cannot be known there."""

    async def scenario(url: str) -> None:
        one, two = Process(url), Process(url)
        async with one.running(), two.running():
            one.relay.send("acme", b"to nobody")
            two.relay.listen("acme")
            async with asyncio.timeout(SOON_S):
                while not two.heard:
                    one.relay.send("acme", b"hello")
                    await asyncio.sleep(0.01)

    with redis_server(tmp_path / "cluster", cluster=True) as server:
        asyncio.run(scenario(server.url))
