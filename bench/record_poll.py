"""How long a poll of the list of calls takes, with few calls stored and with many, against a bare ASGI application."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import Any

from bench.clients import Poller, ServerProcess, server_process
from bench.figures import BenchError, Figure, Sizes, latency_figures
from bench.redis_server import redis_server

PART = "poll"
PATH = "/v1/calls?limit=50"
BARE = "bare ASGI answer of that size"


@dataclass(slots=True)
class Polls:
    """Seconds of each poll: the whole list, the list that has not changed, and the bare answers to both."""

    whole: list[float] = field(default_factory=list)
    unchanged: list[float] = field(default_factory=list)
    bare: list[float] = field(default_factory=list)
    bare_unchanged: list[float] = field(default_factory=list)


def measure(sizes: Sizes) -> Iterator[Figure]:
    """With calls in memory, and in Redis."""
    with server_process({"bare": True}, sizes.folder / "bare") as bare:
        for name in ("memory", "Redis"):
            with ExitStack() as stack:
                url = "memory://"
                if name == "Redis":
                    url = stack.enter_context(redis_server(sizes.folder / "poll-redis", None)).url
                folder = sizes.folder / f"poll-{name}"
                store: dict[str, Any] = {"url": url, "spool_path": str(folder / "spool")}
                options = {"bundle": str(sizes.bundle), "store": store, "most_calls": sizes.stored + 1_000}
                ours = stack.enter_context(server_process(options, folder))
                yield from _compared(sizes, name, ours, bare)


def _compared(sizes: Sizes, name: str, ours: ServerProcess, bare: ServerProcess) -> Iterator[Figure]:
    ours.ask("fill", calls=sizes.few)
    few = _polled(sizes, ours, bare)
    ours.ask("fill", calls=sizes.stored)
    many = _polled(sizes, ours, bare)
    what = f"{name}, {sizes.stored:,} calls"
    yield from latency_figures(PART, f"{what}, list of 50", many.whole, many.bare, BARE)
    yield from latency_figures(PART, f"{what}, 304", many.unchanged, many.bare_unchanged, "bare ASGI 304")
    beside = f"{name}, {sizes.stored:,} calls beside {sizes.few:,}"
    against = f"{sizes.few:,} calls"
    yield from latency_figures(PART, f"{beside}, list of 50", many.whole, few.whole, against)
    yield from latency_figures(PART, f"{beside}, 304", many.unchanged, few.unchanged, against)


def _polled(sizes: Sizes, ours: ServerProcess, bare: ServerProcess) -> Polls:
    """Each kind in turn, so that whatever else the machine does touches them alike."""
    polls = Polls()
    with Poller(ours) as poller, Poller(bare) as plain:
        etag, size = _state(poller)
        deadline = time.perf_counter() + sizes.poll_s
        while len(polls.whole) < sizes.polls and (time.perf_counter() < deadline or not polls.unchanged):
            took, status, _, _ = poller.get(PATH)
            _expect(status, 200)
            polls.whole.append(took)
            polls.bare.append(plain.get(f"/200/{size}")[0])
            took, status, _, _ = poller.get(PATH, etag)
            if status == 304:
                polls.unchanged.append(took)
                polls.bare_unchanged.append(plain.get("/304/0")[0])
            else:
                _expect(status, 200)  # tags are good for a minute
                etag, size = _state(poller)
    return polls


def _state(poller: Poller) -> tuple[str, int]:
    """The tag of the list as it is now, and its size."""
    _, status, head, body = poller.get(PATH)
    _expect(status, 200)
    for line in head.decode("latin-1").split("\r\n"):
        name, _, value = line.partition(":")
        if name.lower() == "etag":
            return value.strip(), len(body)
    raise BenchError("a list without a tag")


def _expect(status: int, expected: int) -> None:
    if status != expected:
        raise BenchError(f"expected {expected}, got {status}")
