"""Redis may be away, slow, full or forgetful: what is asked then fails as the store says, or works."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from app.results.redis import RedisOptions, RedisStores
from app.results.redis.link import RedisLink
from app.results.redis.naming import meta_key
from app.results.store import CallFilter, CallNotFoundError, StoreAwayError, Stored, StoreError
from app.results.writes import Write
from tests.results.conformance import World, new_tenant, until
from tests.support.redis import RedisServer, redis_server


def run(url: str, scenario: Callable[[RedisStores, World], Awaitable[None]], **options: Any) -> None:
    """Runs a scenario over the stores of a URL."""

    async def work() -> None:
        stores = await RedisStores.connect(url, RedisOptions(**{"timeout_s": 30.0, **options}))
        try:
            await scenario(stores, World(stores, new_tenant(), lambda _: None))
        finally:
            await stores.close()

    asyncio.run(work())


async def until_back(stores: RedisStores) -> None:
    """Returns once Redis answers."""

    async def answers() -> bool | None:
        try:
            await stores.results.ping()
        except StoreAwayError:
            return None
        return True

    await until(answers)


@pytest.mark.parametrize("url", ["", "redis", "http://x", "memory://", "redis:/x", "rediss+clusters://x"])
def test_another_url_is_refused(url: str) -> None:
    """Only the URL of a Redis is taken."""
    with pytest.raises(ValueError, match="expected a URL"):
        RedisLink(url, RedisOptions())


@pytest.mark.parametrize("scheme", ["redis", "redis+cluster"])
def test_a_redis_that_is_away_at_the_start_is_no_error(tmp_path: Path, scheme: str) -> None:
    """Connecting works without Redis; what is asked fails at once, without the secret of the URL."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        url = f"{scheme}://user:hunter2@127.0.0.1:{taken.getsockname()[1]}"

        async def scenario(stores: RedisStores, world: World) -> None:
            assert not stores.durable
            with pytest.raises(StoreAwayError) as caught:
                await stores.results.write([world.opening()])
            assert "hunter2" not in str(caught.value)
            for asked in (
                stores.results.ping(),
                stores.results.version("t"),
                stores.results.tenants(),
                stores.results.heartbeat("me", 1.0),
                stores.documents.get("t", "k", "x"),
                stores.queue.depth("t", "q"),
                stores.journal.last("t", "j"),
            ):
                with pytest.raises(StoreAwayError):
                    await asked

        run(url, scenario)


def test_a_redis_that_comes_back_is_used_again(tmp_path: Path) -> None:
    """Killed, it is away; started again, it serves, also what it had not been told before."""
    with redis_server(tmp_path) as server:

        async def scenario(stores: RedisStores, world: World) -> None:
            await asyncio.gather(*(stores.results.version(f"t{n}") for n in range(8)))
            server.kill()
            for _ in range(20):
                with pytest.raises(StoreAwayError):
                    await stores.results.write([world.opening()])
            server.start()
            await until_back(stores)
            answers = await stores.results.write([world.opening(), world.appending(1)])
            assert [type(answer) for answer in answers] == [Stored, Stored]

        run(server.url, scenario)


def test_a_redis_that_lost_its_data_knows_no_call(tmp_path: Path) -> None:
    """Without a log a restart loses calls; records of them are refused as of unknown calls."""
    with redis_server(tmp_path) as server:

        async def scenario(stores: RedisStores, world: World) -> None:
            await stores.results.write([world.opening(), world.appending(1)])
            version = await stores.results.version(world.tenant)
            server.kill()
            server.start()
            await until_back(stores)
            (answer,) = await stores.results.write([world.appending(2)])
            assert isinstance(answer, CallNotFoundError)
            answers = await stores.results.write([world.opening(), world.appending(2)])
            assert [type(answer) for answer in answers] == [Stored, Stored]
            call = await stores.results.get_call(world.tenant, "call-1")
            assert (call.utterances, call.dropped) == (2, 1)
            assert await stores.results.version(world.tenant) > version

        run(server.url, scenario)


def test_a_redis_that_hangs_is_away_in_bounded_time(tmp_path: Path) -> None:
    """A Redis that keeps its connections but says nothing is away; what it does later is no duplicate."""
    with redis_server(tmp_path) as server:

        async def scenario(stores: RedisStores, world: World) -> None:
            await stores.results.write([world.opening()])
            server.pause()
            try:
                asked = [stores.results.write([world.appending(1)]) for _ in range(5)]
                answers = await asyncio.gather(*asked, stores.results.ping(), return_exceptions=True)
            finally:
                server.go_on()
            assert {type(answer) for answer in answers} == {StoreAwayError}
            await until_back(stores)
            await stores.results.write([world.appending(1)])
            found = await stores.results.list_records(world.tenant, "call-1", from_seq=1, limit=9)
            assert [record.seq for record in found.items] == [1]
            assert (await stores.results.read_feed(world.tenant, after=0, limit=9)).last == 2

        run(server.url, scenario, timeout_s=0.3, connect_timeout_s=0.3, max_connections=4)


def test_a_forgotten_script_is_taught_again(redis: RedisServer) -> None:
    """After `SCRIPT FLUSH` a batch is carried out as a whole, in order, in one more round trip."""

    async def scenario(stores: RedisStores, world: World) -> None:
        other = World(stores, new_tenant(), lambda _: None)
        await stores.results.ping()
        for _ in range(2):
            redis.command("SCRIPT", "FLUSH")
            batch: list[Write] = [
                world.opening(),
                other.opening(),
                world.appending(1),
                world.closing(),
                world.erasing(),
                other.appending(1),
            ]
            answers = await stores.results.write(batch)
            assert [type(answer) for answer in answers] == [Stored] * len(batch)
            await stores.results.write([other.closing(), other.erasing()])
        redis.command("SCRIPT", "FLUSH")
        assert await stores.results.version(world.tenant) > 0

    run(redis.url, scenario)


def test_a_full_redis_takes_no_writes_but_is_read(tmp_path: Path) -> None:
    """Full, it refuses a change whole; reading, erasing and finishing work go on."""
    with redis_server(tmp_path, "--maxmemory-policy", "noeviction") as server:

        async def scenario(stores: RedisStores, world: World) -> None:
            await stores.results.write([world.opening(), world.appending(1)])
            await stores.results.write([world.opening("ended"), world.closing("ended")])
            before = await stores.results.get_call(world.tenant, "call-1")
            server.command("CONFIG", "SET", "maxmemory", "1")
            for write in (world.appending(2), world.opening("new"), world.closing(), world.alerting("k")):
                with pytest.raises(StoreAwayError, match="full"):
                    await stores.results.write([write])
            with pytest.raises(StoreAwayError):
                await stores.documents.put(world.tenant, "note", "k", {})
            assert await stores.results.get_call(world.tenant, "call-1") == before
            assert (await stores.results.read_feed(world.tenant, after=0, limit=9)).last == 4
            page = await stores.results.list_calls(world.tenant, CallFilter(), cursor=None, limit=9)
            assert len(page.items) == 2
            assert await stores.queue.claim(world.tenant, "q", now=0, lease_s=1, limit=1) == []
            (answer,) = await stores.results.write([world.erasing("ended")])
            assert isinstance(answer, Stored)
            server.command("CONFIG", "SET", "maxmemory", "0")
            await stores.results.write([world.appending(2)])
            assert (await stores.results.get_call(world.tenant, "call-1")).utterances == 2

        run(server.url, scenario)


def test_a_replica_and_a_locked_redis_are_away(tmp_path: Path) -> None:
    """A Redis that only reads, or that wants a password, does not serve."""
    with redis_server(tmp_path) as server:

        async def scenario(stores: RedisStores, world: World) -> None:
            await stores.results.ping()
            server.command("REPLICAOF", "127.0.0.1", "1")
            with pytest.raises(StoreAwayError):
                await stores.results.write([world.opening()])
            server.command("REPLICAOF", "NO", "ONE")
            await stores.results.write([world.opening()])

        run(server.url, scenario)
        server.command("CONFIG", "SET", "requirepass", "hunter2")

        async def locked(stores: RedisStores, world: World) -> None:
            with pytest.raises(StoreAwayError, match="credentials"):
                await stores.results.write([world.opening()])

        run(server.url, locked)


def test_something_unexpected_is_an_error_of_the_store(redis: RedisServer) -> None:
    """Data of another program under our name stops one change, not the batch, and shows nothing of redis-py."""

    async def scenario(stores: RedisStores, world: World) -> None:
        key = meta_key(world.tenant).removesuffix("meta")
        redis.command("SET", f"{key}call:bad", "somebody else's")
        answers = await stores.results.write([world.opening("bad"), world.opening("good")])
        assert [type(answer) for answer in answers] == [StoreError, Stored]
        with pytest.raises(StoreError) as caught:
            await stores.results.get_call(world.tenant, "bad")
        assert type(caught.value) is StoreError

    run(redis.url, scenario)


def test_many_ask_at_once(redis: RedisServer) -> None:
    """More askers than connections wait for one another; each change is carried out once, with its own position."""

    async def scenario(stores: RedisStores, world: World) -> None:
        await stores.results.write([world.opening(f"call-{n}") for n in range(20)])
        asked = [
            stores.results.write([world.appending(seq, f"call-{n}") for seq in (1, 2, 3)])
            for n in range(20)
            for _ in range(3)
        ]
        answers = [answer for answers in await asyncio.gather(*asked) for answer in answers]
        given = [answer.position for answer in answers if isinstance(answer, Stored) and not answer.duplicate]
        assert sorted(position or 0 for position in given) == list(range(21, 81))

    run(redis.url, scenario, max_connections=3)


def test_one_of_many_resumes(redis: RedisServer) -> None:
    """Of several that take up the same call at once exactly one gets it."""

    async def scenario(stores: RedisStores, world: World) -> None:
        await stores.results.write([world.opening(resume="s"), world.closing(resume_until=9e9)])
        asked = [
            stores.results.resume_call(world.tenant, "call-1", secret_digest="s", owner=f"o{n}", now=1.0)
            for n in range(10)
        ]
        answers = await asyncio.gather(*asked, return_exceptions=True)
        (winner,) = [answer for answer in answers if not isinstance(answer, BaseException)]
        assert (await stores.results.get_call(world.tenant, "call-1")).owner == winner.owner

    run(redis.url, scenario)


def test_who_gives_up_leaves_no_answer_behind(redis: RedisServer) -> None:
    """A caller that is cancelled amid its question does not make others read its answer."""

    async def scenario(stores: RedisStores, world: World) -> None:
        await stores.results.write([world.opening(), *(world.appending(seq) for seq in range(1, 50))])

        async def ask(n: int) -> None:
            found = await stores.results.list_records(world.tenant, "call-1", from_seq=n, limit=1)
            assert [record.seq for record in found.items] == [n]

        for turns in range(1, 12):
            tasks = [asyncio.create_task(ask(n)) for n in range(1, 20)]
            for _ in range(turns):
                await asyncio.sleep(0)
            for task in tasks[::2]:
                task.cancel()
            answers = await asyncio.gather(*tasks, return_exceptions=True)
            assert all(answer is None or isinstance(answer, asyncio.CancelledError) for answer in answers)
        await ask(7)

    run(redis.url, scenario, max_connections=4)
