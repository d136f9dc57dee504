"""The calls in progress: how many there may be, which ids are taken, and how all of them end at shutdown."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Protocol

from app.telemetry.metrics import Metrics
from app.wire.base import WireEvent


class TooManyCallsError(Exception):
    """The limit of calls at a time is reached."""


class CallLiveError(Exception):
    """A call with this id is in progress."""


class DrainingError(Exception):
    """The process is about to end and takes no new calls."""


SUPERSEDE_TIMEOUT_S = 5.0
"""How long the socket of a call that is taken up elsewhere may take to end."""


class LiveCall(Protocol):
    """What the registry knows of a call (`app.api.runner.CallRunner`)."""

    @property
    def resume_secret(self) -> str:
        """With which the call may be taken up again."""
        ...

    def backlog_s(self) -> float:
        """Seconds of audio that wait."""
        ...

    async def feed(self, event: WireEvent) -> None:
        """Takes an event as if the client had sent it."""
        ...


@dataclass(frozen=True, slots=True)
class _Place:
    call: LiveCall
    interrupt: Callable[[], None]
    ended: asyncio.Event


class CallRegistry:
    """Who is connected. All on one event loop.

    A *connection* is watched from the moment it opens, so that shutdown reaches it; a *call* is admitted once
    its client has named it.
    """

    def __init__(self, max_calls: int, metrics: Metrics) -> None:
        self._max_calls = max_calls
        self._metrics = metrics
        self._interrupts: dict[int, Callable[[], None]] = {}
        self._calls: dict[tuple[str, str], _Place] = {}
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

    @property
    def full(self) -> bool:
        """True while there is no place for another call."""
        return len(self._calls) >= self._max_calls

    def live(self, tenant: str, call_id: str) -> LiveCall | None:
        """A call in progress."""
        place = self._calls.get((tenant, call_id))
        return None if place is None else place.call

    async def supersede(self, tenant: str, call_id: str) -> None:
        """Ends a call's socket, because its client came back by another; returns when the call's end is on record."""
        place = self._calls.get((tenant, call_id))
        if place is not None:
            place.interrupt()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(SUPERSEDE_TIMEOUT_S):
                    await place.ended.wait()

    def backlog_s(self) -> float:
        """Seconds of received audio that wait to be worked on, over all calls."""
        return sum(place.call.backlog_s() for place in list(self._calls.values()))

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
    def call(
        self, tenant: str, call_id: str, call: LiveCall, interrupt: Callable[[], None]
    ) -> Iterator[None]:
        """Holds a place and an id for a call; `interrupt` ends its socket.

        Raises:
            CallLiveError: the id is taken.
            TooManyCallsError: there is no place.
        """
        where = (tenant, call_id)
        if where in self._calls:
            raise CallLiveError
        if self.full:
            self._metrics.sheds.labels("call").inc()
            raise TooManyCallsError
        place = self._calls[where] = _Place(call, interrupt, asyncio.Event())
        self._metrics.calls_active.set(len(self._calls))
        try:
            yield
        finally:
            del self._calls[where]
            place.ended.set()
            self._metrics.calls_active.set(len(self._calls))

    async def drain(self, timeout_s: float, grace_s: float = 0.0) -> bool:
        """Takes no more connections, ends those there are and waits; False when some outlast the timeout.

        grace_s: how long calls may first go on to an end of their own.
        """
        self._draining = True
        self._metrics.draining.set(1)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(grace_s):
                await self._idle.wait()
        for interrupt in list(self._interrupts.values()):
            interrupt()
        try:
            async with asyncio.timeout(timeout_s):
                await self._idle.wait()
        except TimeoutError:
            return False
        return True
