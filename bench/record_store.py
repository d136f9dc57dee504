"""Records stored in a second, how long one of them takes, and what the spool takes, each against the plain way."""

from __future__ import annotations

import asyncio
import itertools
import os
import time
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, get_args

from redis.asyncio import Redis

from app.results.codec import encode
from app.results.durable import DurableStore
from app.results.segment import NewEntry
from app.results.spool import Spool
from app.results.spool_files import Fsync, Kept, SpoolOptions
from app.results.store import ResultStore
from app.results.writes import Write
from app.telemetry.clock import SystemClock
from bench.figures import BenchError, Figure, Sizes, Spent, latency_figures, spending
from bench.made import made_append, made_call, made_text, opened_stores, write_all
from bench.redis_server import FsyncPolicy, RedisServer, redis_server

PART = "store"
PIPELINE = "plain pipeline"
_LONE_EVERY_S = 0.002
_numbers = itertools.count()


@dataclass(slots=True)
class Pair:
    """What the service took for so many records, and what the plain way took; the best of several rounds."""

    records: int
    ours: Spent
    plain: Spent

    def figures(self, part: str, what: str, against: str) -> Iterator[Figure]:
        """Records in a second, and processor time for each."""
        n = self.records
        yield Figure(part, f"{what}, records", n / self.ours.wall_s, "1/s", n / self.plain.wall_s, against)
        cpu = 1e6 * self.ours.cpu_s / n, 1e6 * self.plain.cpu_s / n
        yield Figure(part, f"{what}, processor time of a record", cpu[0], "µs", cpu[1], against)


def measure(sizes: Sizes) -> Iterator[Figure]:
    """The store in memory, and Redis with each policy of its log."""
    for policy in get_args(FsyncPolicy):
        with redis_server(sizes.folder / f"store-{policy}", policy) as redis:
            if policy == "no":
                yield from asyncio.run(_compared(sizes, "memory", None, redis))
            yield from asyncio.run(_compared(sizes, f"Redis, fsync {policy}", redis, redis))


async def _compared(sizes: Sizes, what: str, ours: RedisServer | None, plain: RedisServer) -> list[Figure]:
    """One store against a plain pipeline. ours: None for the store in memory."""
    url = "memory://" if ours is None else ours.url
    async with opened_stores(sizes.folder / "unused-spool", url) as stores, plain_redis(plain) as client:
        pair = Pair(sizes.calls * sizes.records, Spent(), Spent())
        ours_pids = () if ours is None else (ours.pid,)
        for _ in range(sizes.rounds):
            pair.plain = pair.plain.best(await _plain_round(client, sizes, plain.pid))
            pair.ours = pair.ours.best(await _our_round(stores.results, sizes, ours_pids))
        lone, plain_lone = await _lone_writes(stores.results, client, sizes.lone_writes)
        if isinstance(stores.results, DurableStore) and stores.results.waiting:
            raise BenchError("Redis was away in between")
    against = f"{PIPELINE}, fsync no" if ours is None else PIPELINE
    return [
        *pair.figures(PART, what, against),
        *latency_figures(PART, f"{what}, one write", lone, plain_lone, against),
    ]


@asynccontextmanager
async def plain_redis(server: RedisServer) -> AsyncIterator[Redis]:
    """A client as the library makes it."""
    client: Redis = Redis.from_url(server.url, protocol=2)
    try:
        yield client
    finally:
        await client.aclose()


async def plain_adds(client: Redis, texts: Sequence[tuple[str, str]]) -> None:
    """Adds records to plain streams, all in one pipeline. texts: of which call, and what."""
    pipeline: Any = client.pipeline(transaction=False)
    for call_id, text in texts:
        pipeline.execute_command("XADD", f"plain:{call_id}", "*", "r", text)
    await pipeline.execute()


async def _our_round(store: ResultStore, sizes: Sizes, pids: Sequence[int]) -> Spent:
    """Every call writes its records, one after the other; all calls at the same time."""
    calls = _call_ids(sizes.calls)
    await write_all(store, [made_call(call_id) for call_id in calls])
    made = {call_id: [made_append(call_id, seq + 1) for seq in range(sizes.records)] for call_id in calls}

    async def work(writes: Sequence[Write]) -> None:
        for write in writes:
            await write_all(store, [write])

    with spending(*pids) as spent:
        await asyncio.gather(*(work(writes) for writes in made.values()))
    return spent


async def _plain_round(client: Redis, sizes: Sizes, pid: int) -> Spent:
    """The same texts, one of each call in a pipeline."""
    calls = _call_ids(sizes.calls)
    batches = [[(call_id, made_text(call_id, seq + 1)) for call_id in calls] for seq in range(sizes.records)]
    with spending(pid) as spent:
        for batch in batches:
            await plain_adds(client, batch)
    return spent


async def _lone_writes(store: ResultStore, client: Redis, count: int) -> tuple[list[float], list[float]]:
    """Seconds of single writes and of single plain ones, in turn, with pauses."""
    (call_id,) = _call_ids(1)
    await write_all(store, [made_call(call_id)])
    ours, plain = [], []
    for seq in range(1, count + 1):
        write, text = made_append(call_id, seq), made_text(call_id, seq)
        await asyncio.sleep(_LONE_EVERY_S)
        began = time.perf_counter()
        await write_all(store, [write])
        ours.append(time.perf_counter() - began)
        await asyncio.sleep(_LONE_EVERY_S)
        began = time.perf_counter()
        await plain_adds(client, [(call_id, text)])
        plain.append(time.perf_counter() - began)
    return ours, plain


def _call_ids(count: int) -> list[str]:
    """New ones."""
    return [f"bench-{next(_numbers)}" for _ in range(count)]


def measure_spool(sizes: Sizes) -> Iterator[Figure]:
    """What the spool takes in, written through to the disk or not, against a plain file."""
    for fsync in (Fsync.ALWAYS, Fsync.NEVER):
        pair = Pair(sizes.calls * sizes.records, Spent(), Spent())
        for number in range(sizes.rounds):
            base = sizes.folder / f"spool-{fsync}-{number}"
            batches = [
                [encode(made_append(f"call-{call}", seq + 1)) for call in range(sizes.calls)]
                for seq in range(sizes.records)
            ]
            pair.plain = pair.plain.best(_plain_file(base.with_suffix(".plain"), batches, fsync))
            pair.ours = pair.ours.best(asyncio.run(_spooled(base, batches, fsync)))
        yield from pair.figures("spool", f"fsync {fsync}", "plain file, one write for all calls")


async def _spooled(base: Path, batches: Sequence[Sequence[bytes]], fsync: Fsync) -> Spent:
    """Every call hands in its records, one after the other; all calls at the same time."""
    spool = await Spool.open(base, SpoolOptions(fsync=fsync), clock=SystemClock())
    expected = Kept.DURABLE if fsync is Fsync.ALWAYS else Kept.HELD

    async def work(payloads: Sequence[bytes]) -> None:
        for payload in payloads:
            if await spool.append([NewEntry(payload)]) != [expected]:
                raise BenchError("the spool did not keep a record")

    try:
        with spending() as spent:
            await asyncio.gather(*(work(payloads) for payloads in zip(*batches, strict=True)))
    finally:
        await spool.close()
    return spent


def _plain_file(path: Path, batches: Sequence[Sequence[bytes]], fsync: Fsync) -> Spent:
    with path.open("ab", buffering=0) as file, spending() as spent:
        for batch in batches:
            file.write(b"".join(batch))
            if fsync is Fsync.ALWAYS:
                os.fdatasync(file.fileno())
    return spent
