"""Deliveries to many viewers, in a process and over WebSockets of a server; and what one who does not read does."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from functools import partial
from typing import Any

from app.records import record_body
from app.results.publish import LiveEvent, Publisher
from bench.clients import ServerProcess, arrived, server_process, stalled_viewer, viewers
from bench.figures import BenchError, Figure, Sizes, Spent, percentile, spending
from bench.made import made_record

PART = "live"
FEED = "/v1/events?type=utterance"
_IN_PROCESS_TIMES = 4
_TURN_EVERY = 16
_QUEUE_EVENTS = 256
_MOST_FILLS = 20
_FILL_EVENTS = 256
BARE = "bare ASGI broadcast"


def measure(sizes: Sizes) -> Iterator[Figure]:
    """Everything about viewers."""
    yield _in_process(sizes)
    service = {"bundle": str(sizes.bundle), "store": {"url": "memory://"}, "most_calls": 1_000}
    with ExitStack() as stack:
        ours = stack.enter_context(server_process(service, sizes.folder / "live"))
        bare = stack.enter_context(server_process({"bare": True}, sizes.folder / "bare"))
        yield _memory(sizes, ours, bare)
        yield from _throughput(sizes, ours, bare)
        yield from _stalled(sizes, ours, bare)


def _in_process(sizes: Sizes) -> Figure:
    """The publisher alone, against a plain queue for each viewer, by processor time."""
    events = sizes.events * _IN_PROCESS_TIMES
    ours, plain = Spent(), Spent()
    for _ in range(sizes.rounds):
        ours = ours.best(asyncio.run(_published(sizes.viewers, events)))
        plain = plain.best(asyncio.run(_queued(sizes.viewers, events)))
    deliveries = sizes.viewers * events
    what = "in process, deliveries by processor time"
    return Figure(
        PART, what, deliveries / ours.cpu_s, "1/s", deliveries / plain.cpu_s, "an asyncio.Queue each"
    )


async def _published(count: int, events: int) -> Spent:
    publisher = Publisher(max_subscribers=count, queue_events=_QUEUE_EVENTS)

    async def listen() -> int:
        with publisher.subscribe() as subscription:
            return len([1 async for event in subscription if event.type == "utterance"])

    tasks = [asyncio.create_task(listen()) for _ in range(count)]
    await asyncio.sleep(0)
    body = record_body(made_record("live-1", 1))
    with spending() as spent:
        for number in range(events):
            publisher.publish(LiveEvent("utterance", "live-1", body, position=number + 1, seq=number + 1))
            if number % _TURN_EVERY == 0:
                await asyncio.sleep(0)
        publisher.close()
        told = await asyncio.gather(*tasks)
    if set(told) != {events}:
        raise BenchError(f"of {events} events listeners heard {sorted(set(told))}")
    return spent


async def _queued(count: int, events: int) -> Spent:
    queues: list[asyncio.Queue[object]] = [asyncio.Queue() for _ in range(count)]

    async def listen(queue: asyncio.Queue[object]) -> None:
        while await queue.get() is not None:
            pass

    tasks = [asyncio.create_task(listen(queue)) for queue in queues]
    await asyncio.sleep(0)
    with spending() as spent:
        for number in range(events):
            event = object()
            for queue in queues:
                queue.put_nowait(event)
            if number % _TURN_EVERY == 0:
                await asyncio.sleep(0)
        for queue in queues:
            queue.put_nowait(None)
        await asyncio.gather(*tasks)
    return spent


def _memory(sizes: Sizes, ours: ServerProcess, bare: ServerProcess) -> Figure:
    """What the processes grow by for each viewer: memory that they hold, by the system's account."""
    grown = [asyncio.run(_grown(server, path, sizes.viewers)) for server, path in ((ours, FEED), (bare, "/"))]
    return Figure("memory", "server process, for each viewer", grown[0], "KiB", grown[1], BARE)


async def _grown(server: ServerProcess, path: str, count: int) -> float:
    async with viewers(server, path, 1):
        before: int = (await _asked(server, "usage"))["rss"]
    async with viewers(server, path, count):
        after: int = (await _asked(server, "usage"))["rss"]
    return (after - before) / 1024 / count


def _throughput(sizes: Sizes, ours: ServerProcess, bare: ServerProcess) -> Iterator[Figure]:
    """Events one after the other, as fast as they can be told."""
    best: list[Spent] = [Spent(), Spent()]
    for _ in range(sizes.rounds):
        for place, (server, path) in enumerate(((ours, FEED), (bare, "/"))):
            best[place] = best[place].best(asyncio.run(_told(server, path, sizes.viewers, sizes.events)))
    deliveries = sizes.viewers * sizes.events
    walls, cpus = (
        [deliveries / spent.wall_s for spent in best],
        [1e6 * spent.cpu_s / deliveries for spent in best],
    )
    yield Figure(PART, f"WebSockets, deliveries to {sizes.viewers} viewers", walls[0], "1/s", walls[1], BARE)
    yield Figure(PART, "WebSockets, server's processor time of a delivery", cpus[0], "µs", cpus[1], BARE)


async def _told(server: ServerProcess, path: str, count: int, events: int) -> Spent:
    loop = asyncio.get_running_loop()
    async with viewers(server, path, count) as watching:
        began = loop.time()
        said = await _asked(server, "tell", events=events, per_second=None)
        await arrived(watching, events)
        return Spent(loop.time() - began, said["cpu_s"])


def _stalled(sizes: Sizes, ours: ServerProcess, bare: ServerProcess) -> Iterator[Figure]:
    """How late the others are told at a moderate rate, with and without one among them who does not read."""
    alone, beside, plain = [math.inf] * 2, [math.inf] * 2, [math.inf] * 2
    paced = partial(_paced, sizes, sizes.viewers - 1)
    for _ in range(sizes.rounds - 1 or 1):
        plain = _least(plain, asyncio.run(paced(bare, "/")))
        alone = _least(alone, asyncio.run(paced(ours, FEED)))
        with stalled_viewer(ours, FEED):
            _stop_reading(ours)
            beside = _least(beside, asyncio.run(paced(ours, FEED)))
            if ours.ask("usage")["waiting"] < _QUEUE_EVENTS - 1:
                raise BenchError("the viewer who does not read was cut off")
    for place, name in enumerate(("p50", "p99")):
        what = f"WebSockets, {sizes.events_per_s:g} events/s, latency {name}"
        yield Figure(PART, what, 1e3 * alone[place], "ms", 1e3 * plain[place], BARE)
        against = "the same without"
        yield Figure(
            PART, f"{what}, 1 viewer stalled", 1e3 * beside[place], "ms", 1e3 * alone[place], against
        )


def _stop_reading(server: ServerProcess) -> None:
    """Tells things to the one who does not read until all buffers are full and events are lost for them."""
    before = server.ask("usage")["dropped"]
    for _ in range(_MOST_FILLS):
        server.ask("tell", events=_FILL_EVENTS, per_second=2_000)
        if server.ask("usage")["dropped"] > before:
            return
    raise BenchError("the viewer who does not read still takes everything")


async def _paced(sizes: Sizes, count: int, server: ServerProcess, path: str) -> list[float]:
    """Median and 99th percentile of the latency, seconds."""
    events = max(1, int(sizes.events_per_s * sizes.window_s))
    async with viewers(server, path, count) as watching:
        await _asked(server, "tell", events=events, per_second=sizes.events_per_s)
        latencies = await arrived(watching, events)
    return [percentile(latencies, share) for share in (0.5, 0.99)]


def _least(one: list[float], other: list[float]) -> list[float]:
    return [min(pair) for pair in zip(one, other, strict=True)]


async def _asked(server: ServerProcess, what: str, **options: Any) -> dict[str, Any]:
    ask: Callable[[], dict[str, Any]] = partial(server.ask, what, **options)
    return await asyncio.to_thread(ask)
