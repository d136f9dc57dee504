"""What a stored record takes in memory, of this process and of Redis. Viewers are in `bench.record_live`."""

from __future__ import annotations

import asyncio
import gc
import tracemalloc
from collections.abc import Iterator

from app.results.memory import MemoryBounds, MemoryStores
from app.results.store import ResultStore
from app.telemetry.clock import SystemClock
from bench.figures import Figure, Sizes
from bench.made import made_append, made_call, made_text, opened_stores, write_all
from bench.record_store import plain_adds, plain_redis
from bench.redis_server import RedisServer, redis_server

PART = "memory"
_OF_A_CALL = 100
_STEP = 250


def measure(sizes: Sizes) -> Iterator[Figure]:
    """Bytes for each record, with its share of its call, of the feed and of the statistics."""
    texts = [len(made_text(f"memory-{number}", number).encode()) for number in range(100)]
    text = sum(texts) / len(texts)
    yield Figure(PART, "store in memory, a record", _in_memory(sizes.measured), "bytes", text, "its JSON")
    with redis_server(sizes.folder / "memory-redis", None) as redis:
        ours, plain = asyncio.run(_in_redis(sizes, redis))
    yield Figure(PART, "Redis, a record", ours, "bytes", plain, "plain XADD of its JSON")


def _in_memory(records: int) -> float:
    gc.collect()
    tracemalloc.start()
    try:
        stores = MemoryStores(SystemClock(), MemoryBounds(max_calls=records, feed_entries=10 * records))
        before = tracemalloc.get_traced_memory()[0]
        asyncio.run(_fill(stores.results, records))
        gc.collect()
        return (tracemalloc.get_traced_memory()[0] - before) / records
    finally:
        tracemalloc.stop()


async def _in_redis(sizes: Sizes, redis: RedisServer) -> tuple[float, float]:
    records = sizes.measured
    async with (
        opened_stores(sizes.folder / "unused-spool", redis.url) as stores,
        plain_redis(redis) as client,
    ):
        await stores.results.ping()
        await client.get("connects")
        empty = await asyncio.to_thread(redis.memory)
        await _fill(stores.results, records)
        full = await asyncio.to_thread(redis.memory)
        for first in range(0, records, _STEP):
            numbers = range(first, min(first + _STEP, records))
            await plain_adds(client, [_plain(number) for number in numbers])
        both = await asyncio.to_thread(redis.memory)
    return (full - empty) / records, (both - full) / records


async def _fill(store: ResultStore, records: int) -> None:
    for first in range(0, records, _OF_A_CALL):
        call_id = f"memory-{first // _OF_A_CALL}"
        count = min(_OF_A_CALL, records - first)
        writes = [made_append(call_id, seq + 1) for seq in range(count)]
        await write_all(store, [made_call(call_id), *writes])


def _plain(number: int) -> tuple[str, str]:
    call_id = f"memory-{number // _OF_A_CALL}"
    return call_id, made_text(call_id, number % _OF_A_CALL + 1)
