"""Redis is killed under load and comes back: how long until nothing waits any more, and whether anything is missing."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from bench.clients import Poller, ServerProcess, server_process
from bench.figures import BenchError, Figure, Sizes, Spent, spending
from bench.made import made_text
from bench.record_store import PIPELINE, plain_adds, plain_redis
from bench.redis_server import RedisServer, redis_server

PART = "recovery"
_CALLS = 8
_BEFORE_S, _AFTER_S = 1.0, 2.0
_LOOK_EVERY_S = 0.005
_TIMEOUT_S = 120.0
_BATCH = 256


@dataclass(frozen=True, slots=True)
class Look:
    """What `/readyz` said. at: seconds since Redis answered again."""

    at: float
    status: str
    store: str
    waiting: int


def measure(sizes: Sizes) -> Iterator[Figure]:
    """One outage."""
    folder = sizes.folder / "recovery"
    with redis_server(folder / "redis", "always") as redis:
        store = {"url": redis.url, "spool_path": str(folder / "spool")}
        options = {"bundle": str(sizes.bundle), "store": store, "most_calls": 1_000}
        with server_process(options, folder) as ours:
            yield from _outage(sizes, ours, redis)


def _outage(sizes: Sizes, ours: ServerProcess, redis: RedisServer) -> Iterator[Figure]:
    seconds = _BEFORE_S + sizes.away_s + _AFTER_S
    with ThreadPoolExecutor(1) as pool, Poller(ours) as poller:
        load = pool.submit(ours.ask, "load", calls=_CALLS, per_second=sizes.load_per_s, seconds=seconds)
        time.sleep(_BEFORE_S)
        redis.kill()
        time.sleep(sizes.away_s)
        redis.start()
        looks = _until_ready(poller)
        told = load.result()
        _until_ready(poller)  # what was written meanwhile, too
    found = ours.ask("missing", told=told["told"])
    written = sum(told["told"].values())
    if found["missing"] or found["twice"]:
        raise BenchError(f"of {written} records {found['missing']} are missing, {found['twice']} there twice")
    begun, waited = _begun(looks)
    what = f"Redis {sizes.away_s:g} s away, {sizes.load_per_s:g} records/s"
    yield Figure(PART, f"{what}: ready again after", looks[-1].at, "s")
    yield Figure(PART, f"{what}: of this, until Redis was tried again", begun, "s")
    plain = asyncio.run(_plain(redis, max(waited, _BATCH)))
    against = f"{PIPELINE}, fsync always, by {_BATCH}"
    took = max(looks[-1].at - begun, _LOOK_EVERY_S)
    yield Figure(PART, f"{what}: records brought from the spool", waited / took, "1/s", plain, against)
    yield Figure(PART, f"{what}: written, none missing, none twice", written, "records")
    yield Figure(PART, f"{what}: of these, told as durable", told["durable"], "records")


def _until_ready(poller: Poller) -> list[Look]:
    """Looks until nothing waits and the service says that it is ready.

    Raises:
        BenchError: it never does.
    """
    began = time.perf_counter()
    looks: list[Look] = []
    while not looks or looks[-1].status != "ready" or looks[-1].waiting:
        if looks and looks[-1].at > _TIMEOUT_S:
            raise BenchError(f"the service was not ready again: {looks[-1]}")
        _, _, _, body = poller.get("/readyz")
        said = json.loads(body)
        looks.append(Look(time.perf_counter() - began, said["status"], said["store"], said["waiting"]))
        time.sleep(_LOOK_EVERY_S)
    return looks


def _begun(looks: Sequence[Look]) -> tuple[float, int]:
    """When the service began to bring what waited, and how much that was: as it was last seen before."""
    away = [look for look in looks if look.store == "away"]
    last = away[-1] if away else looks[0]
    return last.at, last.waiting


async def _plain(redis: RedisServer, records: int) -> float:
    """Records in a second, the plain way."""
    spent = Spent()
    async with plain_redis(redis) as client:
        for _ in range(2):
            numbers = [range(first, first + _BATCH) for first in range(0, records, _BATCH)]
            batches = [
                [(f"recovery-{number % _CALLS}", made_text("recovery", number)) for number in some]
                for some in numbers
            ]
            with spending() as this:
                for batch in batches:
                    await plain_adds(client, batch)
            spent = spent.best(this)
    return len(batches) * _BATCH / spent.wall_s
