"""A write is called durable only where Redis has it on disk before it answers."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

from app.results.redis import RedisOptions, RedisStores
from app.results.store import StoreAwayError, Stored
from tests.results.conformance import World, until
from tests.support.redis import RedisServer, redis_server

WORLD = World(None, "site", lambda _: None)  # type: ignore[arg-type]


async def connected(server: RedisServer, **options: Any) -> RedisStores:
    """The stores of a server."""
    return await RedisStores.connect(server.url, RedisOptions(timeout_s=30.0, **options))


async def stored(stores: RedisStores, *numbers: int) -> list[bool]:
    """Whether records are called durable; 0 opens the call."""
    writes = [WORLD.appending(number) if number else WORLD.opening() for number in numbers]
    answers = await stores.results.write(writes)
    return [isinstance(answer, Stored) and answer.durable for answer in answers]


async def once_back(stores: RedisStores, *numbers: int) -> list[bool]:
    """The same, of a Redis that was killed: what lies on dead connections fails first."""

    async def look() -> list[bool] | None:
        try:
            return await stored(stores, *numbers)
        except StoreAwayError:
            return None

    return await until(look)


@pytest.mark.parametrize(
    ("appendonly", "appendfsync", "mode", "durable"),
    [
        (True, "always", "auto", True),
        (True, "everysec", "auto", False),
        (False, "always", "auto", False),
        (True, "always", "no", False),
        (False, "no", "yes", True),
    ],
)
def test_only_what_is_on_disk_is_durable(
    tmp_path: Path, appendonly: bool, appendfsync: str, mode: str, durable: bool
) -> None:
    """Both the log and its being synced at every write are needed, unless the site says what holds."""

    async def work(server: RedisServer) -> None:
        stores = await connected(server, durable=mode)
        assert stores.durable is durable
        assert await stored(stores, 0, 1) == [durable, durable]
        found = await stores.results.list_records("site", "call-1", from_seq=1, limit=9)
        assert [record.durable for record in found.items] == [durable]
        feed = await stores.results.read_feed("site", after=1, limit=9)
        assert [entry.body["durable"] for entry in feed.items] == [durable]
        await stores.close()

    with redis_server(tmp_path, appendonly=appendonly, appendfsync=appendfsync) as server:
        asyncio.run(work(server))


def test_a_redis_that_does_not_say_is_not_durable(tmp_path: Path) -> None:
    """Where `CONFIG` is forbidden nothing is called durable, but everything works."""

    async def work(server: RedisServer) -> None:
        stores = await connected(server)
        assert await stored(stores, 0, 1) == [False, False]
        await stores.close()

    with redis_server(tmp_path, "--rename-command", "CONFIG", "", appendonly=True) as server:
        asyncio.run(work(server))


def test_what_is_durable_survives_a_killed_redis(tmp_path: Path) -> None:
    """After a kill everything called durable is there, and is called durable still."""

    async def work(server: RedisServer) -> None:
        stores = await connected(server)
        assert await stored(stores, 0, 1, 2) == [True] * 3
        for number in range(3, 6):
            server.kill()
            server.start()
            assert await once_back(stores, number) == [True]
        found = await stores.results.list_records("site", "call-1", from_seq=1, limit=9)
        assert [record.seq for record in found.items] == [1, 2, 3, 4, 5]
        await stores.close()

    with redis_server(tmp_path, appendonly=True) as server:
        asyncio.run(work(server))


def test_a_restart_is_asked_again(tmp_path: Path) -> None:
    """A Redis that comes back with another configuration is believed that one, from the first write on."""

    async def work(server: RedisServer) -> None:
        stores = await connected(server)
        assert await stored(stores, 0, 1) == [True, True]
        for options, durable in ((("--appendfsync", "everysec"), False), ((), True)):
            server.kill()
            server.start(*options)
            assert await once_back(stores, 2) == [durable]
        await stores.close()

    with redis_server(tmp_path, appendonly=True) as server:
        asyncio.run(work(server))
