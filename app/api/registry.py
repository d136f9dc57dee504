"""The calls in progress: how many there may be, which ids are taken, and how all of them end at shutdown."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Protocol

from app.telemetry.metrics import Metrics
from app.wire.base import WireEvent


class TooManyCallsError(Exception):
    """The limit of calls at a time is reached."""


class CallLiveError(Exception):
    """A call with this id is in progress."""


class DrainingError(Exception):
    """The process is about to end and takes no new calls."""


class LiveCall(Protocol):
    """What the registry knows of a call (`app.api.runner.CallRunner`)."""

    def backlog_s(self) -> float:
        """Seconds of audio that wait."""
        ...

    async def feed(self, event: WireEvent) -> None:
        """Takes an event as if the client had sent it."""
        ...


class CallRegistry:
    """Who is connected. All on one event loop.

    A *connection* is watched from the moment it opens, so that shutdown reaches it; a *call* is admitted once
    its client has named it.
    """

    def __init__(self, max_calls: int, metrics: Metrics) -> None:
        self._max_calls = max_calls
        self._metrics = metrics
        self._interrupts: dict[int, Callable[[], None]] = {}
        self._calls: dict[str, LiveCall] = {}
        self._connections = 0
        self._idle = asyncio.Event()
        self._idle.set()
        self._draining = False
        metrics.backlog_seconds.set_function(self.backlog_s)

    @property
    def draining(self) -> bool:
        """True once shutdown has begun."""
        return self._draining

    @property
    def active(self) -> int:
        """Calls in progress."""
        return len(self._calls)

    def is_live(self, call_id: str) -> bool:
        """True while a call with this id is in progress."""
        return call_id in self._calls

    def live(self, call_id: str) -> LiveCall | None:
        """A call in progress."""
        return self._calls.get(call_id)

    def backlog_s(self) -> float:
        """Seconds of received audio that wait to be worked on, over all calls."""
        return sum(call.backlog_s() for call in list(self._calls.values()))

    @contextmanager
    def connection(self, interrupt: Callable[[], None]) -> Iterator[None]:
        """Watches one connection; `interrupt` is called when it must come to an end.

        Raises:
            DrainingError: shutdown has begun.
        """
        if self._draining:
            raise DrainingError
        self._connections += 1
        number = self._connections
        self._interrupts[number] = interrupt
        self._idle.clear()
        try:
            yield
        finally:
            del self._interrupts[number]
            if not self._interrupts:
                self._idle.set()

    @contextmanager
    def call(self, call_id: str, call: LiveCall) -> Iterator[None]:
        """Holds a place and an id for a call.

        Raises:
            CallLiveError: the id is taken.
            TooManyCallsError: there is no place.
        """
        if call_id in self._calls:
            raise CallLiveError
        if len(self._calls) >= self._max_calls:
            self._metrics.sheds.labels("call").inc()
            raise TooManyCallsError
        self._calls[call_id] = call
        self._metrics.calls_active.set(len(self._calls))
        try:
            yield
        finally:
            del self._calls[call_id]
            self._metrics.calls_active.set(len(self._calls))

    async def drain(self, timeout_s: float) -> bool:
        """Takes no more connections, ends those there are and waits; False when some outlast the timeout."""
        self._draining = True
        for interrupt in list(self._interrupts.values()):
            interrupt()
        try:
            async with asyncio.timeout(timeout_s):
                await self._idle.wait()
        except TimeoutError:
            return False
        return True
