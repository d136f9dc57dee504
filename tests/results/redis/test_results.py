"""What lies in Redis is bounded in number and in time, and erased to the last byte."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from app.results.redis import RedisOptions, RedisStores
from app.results.redis.naming import meta_key
from app.results.store import CallFilter, CallNotFoundError, CallState
from app.results.writes import AddMetadata, Enqueue
from tests.results.conformance import NOW, World, new_tenant, until
from tests.support.redis import RedisServer, redis_server


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    """One Redis for these tests."""
    with redis_server(Path(tmp_path_factory.mktemp("redis"))) as running:
        yield running


@pytest.fixture
def play(server: RedisServer) -> Callable[..., None]:
    """Runs a scenario in an empty Redis."""

    def run(scenario: Callable[[RedisStores, World], Awaitable[None]], **options: Any) -> None:
        async def work() -> None:
            stores = await RedisStores.connect(server.url, RedisOptions(timeout_s=30.0, **options))
            try:
                await scenario(stores, World(stores, new_tenant(), lambda _: None))
            finally:
                await stores.close()

        server.command("FLUSHALL")
        asyncio.run(work())

    return run


def keys(server: RedisServer) -> list[str]:
    """Every key."""
    return sorted(line for line in server.command("KEYS", "*").decode().split("\r\n") if "kowairo" in line)


def lives(server: RedisServer, key: str) -> int:
    """How long a key still lives, seconds; -1 for ever."""
    return int(server.command("TTL", key)[1:])


async def use_everything(stores: RedisStores, world: World) -> None:
    """Leaves something of every kind."""
    await stores.results.write(
        [
            world.opening(subject="s", resume="x"),
            world.appending(1),
            world.appending(9),
            AddMetadata(world.tenant, "call-1", {"a": 1}),
            world.alerting("k"),
            world.alerting("l", ""),
            world.alerting("m", "unknown"),
            Enqueue(world.tenant, "q", "job", {}, NOW, "call-1"),
            Enqueue(world.tenant, "q", "done", {}, NOW),
            world.opening("ended", subject="s"),
            world.appending(1, "ended"),
            world.closing("ended"),
        ]
    )
    await stores.results.heartbeat("me", 60.0)
    for job in await stores.queue.claim(world.tenant, "q", now=NOW, lease_s=1.0, limit=1):
        await stores.queue.done(job)
    for job in await stores.queue.claim(world.tenant, "q", now=NOW, lease_s=1.0, limit=1):
        await stores.queue.postpone(job, due_at=NOW + 60, payload={})
    await stores.documents.put(world.tenant, "short", "k", {}, ttl_s=60.0, call_id="call-1")
    await stores.documents.put(world.tenant, "kept", "k", {}, call_id="kept")
    await stores.journal.append(world.tenant, "audit", {})


def test_every_key_has_a_time_to_live(server: RedisServer, play: Callable[..., None]) -> None:
    """Nothing stays for ever, but documents put without an end, their indices, and journals."""

    async def scenario(stores: RedisStores, world: World) -> None:
        await use_everything(stores, world)
        base = meta_key(world.tenant).removesuffix("meta")
        forever = [key.removeprefix(base) for key in keys(server) if lives(server, key) < 0]
        assert forever == ["doc:kept:k", "docs-of:kept", "docs:kept", "journal:audit"]
        assert len(keys(server)) > 25
        await stores.documents.delete(world.tenant, "kept", "k")
        forever = [key.removeprefix(base) for key in keys(server) if lives(server, key) < 0]
        assert forever == ["journal:audit"]

    play(scenario)


def test_nothing_is_left_of_calls_that_expired(server: RedisServer, play: Callable[..., None]) -> None:
    """Calls that expire leave no trace in any index once somebody opens or lists."""

    async def scenario(stores: RedisStores, world: World) -> None:
        for number in range(150):
            call_id = f"call-{number}"
            opening = world.opening(call_id, subject="s", line=f"line-{number % 3}")
            await stores.results.write(
                [opening, world.appending(1, call_id), world.closing(call_id, ttl_s=0.001)]
            )
        base = meta_key(world.tenant).removesuffix("meta")
        expected, left = {"feed", "feed-times", "meta", "stats"}, set[str]()
        for _ in range(500):  # the last one's millisecond must pass, and each look prunes a bounded number
            await stores.results.list_calls(world.tenant, CallFilter(), cursor=None, limit=1)
            left = {key.removeprefix(base).partition(":")[0] for key in keys(server) if key.startswith(base)}
            if left == expected:
                break
        assert left == expected
        feed = await stores.results.read_feed(world.tenant, after=0, limit=1_000)
        assert {entry.type for entry in feed.items} == {"call_erased"}, "what was said goes with its call"
        assert len(feed.items) == 450

    play(scenario)


def test_a_live_call_is_kept_alive_by_writing(server: RedisServer, play: Callable[..., None]) -> None:
    """A live call nobody writes to goes in the end, with its place among live calls; one that is written to stays."""

    async def scenario(stores: RedisStores, world: World) -> None:
        await stores.results.write([world.opening("busy"), world.opening("quiet")])
        seq = 0

        async def quiet_is_gone() -> bool | None:
            nonlocal seq
            seq += 1
            await stores.results.write([world.appending(seq, "busy")])
            live = CallFilter(state=CallState.ACTIVE)
            page = await stores.results.list_calls(world.tenant, live, cursor=None, limit=9)
            return [call.call_id for call in page.items] == ["busy"] or None

        await until(quiet_is_gone)
        with pytest.raises(CallNotFoundError):
            await stores.results.get_call(world.tenant, "quiet")
        assert [call.call_id for call in await stores.results.orphans(world.tenant)] == ["busy"]

    play(scenario, live_ttl_s=0.5)


def test_the_feed_is_bounded_in_time(server: RedisServer, play: Callable[..., None]) -> None:
    """Old entries go though newer ones keep coming; positions go on."""

    async def scenario(stores: RedisStores, world: World) -> None:
        await stores.results.write([world.opening()])
        seq = 0

        async def first_is_gone() -> bool | None:
            nonlocal seq
            seq += 1
            await stores.results.write([world.appending(seq)])
            feed = await stores.results.read_feed(world.tenant, after=0, limit=10_000)
            assert [entry.position for entry in feed.items] == list(range(feed.first, feed.last + 1))
            assert feed.last == seq + 1
            return feed.first > 2 or None

        await until(first_is_gone)

    play(scenario, feed_ttl_s=0.3)


def test_a_quiet_feed_goes_and_its_positions_go_on(server: RedisServer, play: Callable[..., None]) -> None:
    """A feed nobody added to for long enough is empty; the next entry has the next position."""

    async def scenario(stores: RedisStores, world: World) -> None:
        await stores.results.write([world.opening(), world.appending(1)])

        async def is_empty() -> bool | None:
            return not (await stores.results.read_feed(world.tenant, after=0, limit=9)).items or None

        await until(is_empty)
        feed = await stores.results.read_feed(world.tenant, after=0, limit=9)
        assert (feed.first, feed.last) == (3, 2)
        await stores.results.write([world.closing()])
        feed = await stores.results.read_feed(world.tenant, after=0, limit=9)
        assert (feed.first, feed.last, [entry.type for entry in feed.items]) == (3, 3, ["call_ended"])

    play(scenario, feed_ttl_s=0.1)


def test_a_page_costs_what_it_shows(server: RedisServer, play: Callable[..., None]) -> None:
    """A first page reads as many calls as it has, however many there are; a picky filter looks at a bounded number."""

    async def scenario(stores: RedisStores, world: World) -> None:
        for begin in range(0, 600, 100):
            await stores.results.write(
                [world.opening(f"call-{n}", started_at=NOW + n) for n in range(begin, begin + 100)]
            )
        await stores.results.write([world.closing("call-0", outcome="rare")])

        def read() -> int:
            stats = server.command("INFO", "commandstats").decode()
            line = next(line for line in stats.splitlines() if line.startswith("cmdstat_hmget:"))
            return int(line.partition("calls=")[2].partition(",")[0])

        for which in (CallFilter(), CallFilter(until=NOW + 300), CallFilter(line="default")):
            server.command("CONFIG", "RESETSTAT")
            page = await stores.results.list_calls(world.tenant, which, cursor=None, limit=10)
            assert len(page.items) == 10
            assert read() <= 111
        server.command("CONFIG", "RESETSTAT")
        rare = CallFilter(outcome="rare")
        page = await stores.results.list_calls(world.tenant, rare, cursor=None, limit=10)
        assert (page.items, read()) == ((), 400)
        assert page.next is not None
        page = await stores.results.list_calls(world.tenant, rare, cursor=page.next, limit=10)
        assert ([call.call_id for call in page.items], page.next) == (["call-0"], None)

    play(scenario, scan_calls=400)


def test_long_answers_come_in_pieces(server: RedisServer, play: Callable[..., None]) -> None:
    """A long feed, a long journal and many buckets are read whole though each question is bounded."""

    async def scenario(stores: RedisStores, world: World) -> None:
        writes = [world.appending(seq, created_at=NOW + 300 * seq) for seq in range(1, 1_201)]
        await stores.results.write([world.opening(), *writes])
        feed = await stores.results.read_feed(world.tenant, after=0, limit=1_150)
        assert [entry.position for entry in feed.items] == list(range(1, 1_151))
        buckets = await stores.results.stats(world.tenant, since=0, until=2 * NOW)
        assert [bucket.sums.n for bucket in buckets] == [1] * 1_200
        for _ in range(21):
            await asyncio.gather(*(stores.journal.append(world.tenant, "j", {}) for _ in range(100)))
        entries = await stores.journal.read(world.tenant, "j", after=10, limit=5_000)
        assert [entry.number for entry in entries] == list(range(11, 2_101))
        assert await stores.journal.trim(world.tenant, "j", before=2_000) == 1_999

    play(scenario)


def test_expired_statistics_and_documents_leave_their_lists(
    server: RedisServer, play: Callable[..., None]
) -> None:
    """What expires by itself is not named any more once it was asked for, or something was added."""

    async def scenario(stores: RedisStores, world: World) -> None:
        await stores.documents.put(world.tenant, "note", "kept", {})
        await stores.documents.put(world.tenant, "note", "short", {}, ttl_s=0.01, call_id="c")
        await stores.results.write([world.opening(), world.appending(1)])

        async def no_statistics() -> bool | None:
            return not await stores.results.stats(world.tenant, since=0, until=2 * NOW) or None

        await until(no_statistics)
        await stores.documents.put(world.tenant, "note", "other", {})
        base = meta_key(world.tenant).removesuffix("meta")
        assert server.command("ZCARD", f"{base}docs:note") == b":2\r\n"
        assert f"{base}stats" not in keys(server)
        assert (await stores.documents.list(world.tenant, "note", call_id="c")).items == ()
        assert f"{base}docs-of:c" not in keys(server)

    play(scenario, stats_ttl_s=0.05)


def test_tenants_without_anything_are_forgotten(server: RedisServer, play: Callable[..., None]) -> None:
    """A tenant is named while something of it is kept."""

    async def scenario(stores: RedisStores, world: World) -> None:
        assert await stores.results.tenants() == ()
        other = replace(world, tenant="other")
        await stores.results.write([other.opening(), world.opening()])
        assert await stores.results.tenants() == tuple(sorted(("other", world.tenant)))
        server.command("DEL", meta_key("other"))
        assert await stores.results.tenants() == (world.tenant,)
        assert server.command("ZSCORE", "kowairo:tenants", "other") != b"$-1\r\n", (
            "it may be opening right now"
        )
        server.command("ZADD", "kowairo:tenants", "1", "other")
        assert await stores.results.tenants() == (world.tenant,)
        assert server.command("ZSCORE", "kowairo:tenants", "other") == b"$-1\r\n"

    play(scenario)


def test_an_erased_call_is_nowhere_on_disk(tmp_path: Path) -> None:
    """After erasure, and once Redis has written its files anew, nothing that was said of the call is in them."""
    secret = "Zaubernuss"

    def holds() -> bool:
        return any(secret.encode() in path.read_bytes() for path in tmp_path.rglob("*") if path.is_file())

    async def scenario(server: RedisServer) -> None:
        stores = await RedisStores.connect(server.url, RedisOptions(timeout_s=30.0, max_records_per_call=2))
        world = World(stores, "site", lambda _: None)
        await stores.results.write([world.opening("other"), world.appending(1, "other")])
        opening = world.opening(subject=secret, team=secret, metadata={secret: secret}, resume=secret)
        records = [world.appending(seq, detail=secret) for seq in range(1, 5)]
        alert = replace(world.alerting("k"), body={"said": secret})
        work = Enqueue("site", "q", "k", {"said": secret}, NOW, "call-1")
        end = world.closing(summary={"said": secret}, body={"said": secret})
        await stores.results.write([replace(opening, body={"said": secret}), *records, alert, work, end])
        await stores.documents.put("site", "note", "k", {"said": secret}, call_id="call-1")
        assert holds()
        await stores.results.write([world.erasing()])
        assert await stores.compact()

        async def clean() -> bool | None:
            return not holds() or None

        await until(clean)
        found = await stores.results.list_records("site", "other", from_seq=1, limit=9)
        assert len(found.items) == 1
        await stores.close()

    with redis_server(tmp_path, "--rdbcompression", "no", appendonly=True) as server:
        asyncio.run(scenario(server))
        for key in keys(server):
            assert secret.encode() not in server.command("DUMP", key)
