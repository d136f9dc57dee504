"""The calls in progress: how many there may be, which ids are taken, and how all of them end at shutdown."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from app.telemetry.metrics import Metrics


class TooManyCallsError(Exception):
    """The limit of calls at a time is reached."""


class CallLiveError(Exception):
    """A call with this id is in progress."""


class DrainingError(Exception):
    """The process is about to end and takes no new calls."""


class CallRegistry:
    """Who is connected. All on one event loop.

    A *connection* is watched from the moment it opens, so that shutdown reaches it; a *call* is admitted once
    its client has named it.
    """

    def __init__(self, max_calls: int, metrics: Metrics) -> None:
        self._max_calls = max_calls
        self._metrics = metrics
        self._interrupts: dict[int, Callable[[], None]] = {}
        self._backlogs: dict[str, Callable[[], float]] = {}
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
        return len(self._backlogs)

    def is_live(self, call_id: str) -> bool:
        """True while a call with this id is in progress."""
        return call_id in self._backlogs

    def backlog_s(self) -> float:
        """Seconds of received audio that wait to be worked on, over all calls."""
        return sum(backlog() for backlog in list(self._backlogs.values()))

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
    def call(self, call_id: str, backlog: Callable[[], float]) -> Iterator[None]:
        """Holds a place and an id for a call.

        Raises:
            CallLiveError: the id is taken.
            TooManyCallsError: there is no place.
        """
        if call_id in self._backlogs:
            raise CallLiveError
        if len(self._backlogs) >= self._max_calls:
            self._metrics.sheds.labels("call").inc()
            raise TooManyCallsError
        self._backlogs[call_id] = backlog
        self._metrics.calls_active.set(len(self._backlogs))
        try:
            yield
        finally:
            del self._backlogs[call_id]
            self._metrics.calls_active.set(len(self._backlogs))

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
