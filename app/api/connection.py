"""One peer's connection, whatever its protocol: reads into the call's queue, writes from an outbox, ends once."""

from __future__ import annotations

import asyncio
import contextlib
from collections import deque
from collections.abc import Awaitable, Callable, Coroutine
from dataclasses import replace
from typing import Any, TypeVar

from app.api.auth import limit_wire_error
from app.api.deps import Services
from app.api.endings import (
    COMPLETED,
    DISCONNECTED,
    DRAINED,
    HUNG_UP,
    IDLE,
    SLOW_READER,
    SUPERSEDED,
    TURNED_AWAY,
    Ending,
    failed,
    overloaded,
    refused,
)
from app.api.limits import TenantLimitError
from app.api.manner import Manner
from app.api.messages import reply_text
from app.api.registry import CallLiveError, DrainingError, TooManyCallsError
from app.api.resumption import take_up
from app.api.runner import CallRunner
from app.api.transport import PeerGoneError, Transport
from app.channel import Channel, ChannelClosedError
from app.domain import CallStart
from app.pipeline import PauseChanged, ServerEvent
from app.results.store import CallExistsError
from app.telemetry.logs import get_logger
from app.wire.base import Audio, CloseCode, Reply, Start, Stop, WireError, WireEvent
from app.wire.carrier import CarrierProtocol, Payload
from app.wire.replies import encode_ready

T = TypeVar("T")
_LAST_CHANCE_S = 1.0
_OWN_SOURCES = ("rest", "keys")


class Interrupted(Exception):  # noqa: N818 (not an error: someone else ended the connection)
    """The connection was told to end while it waited for its client."""

    def __init__(self, ending: Ending) -> None:
        super().__init__(ending.outcome)
        self.ending = ending


class Connection:
    """Serves one peer from the acceptance of its connection to its close."""

    def __init__(
        self, transport: Transport, protocol: CarrierProtocol, services: Services, manner: Manner
    ) -> None:
        limits = services.settings.stream
        self._transport = transport
        self._protocol = protocol
        self._services = services
        self._limits = limits
        self._manner = manner
        self._outbox: Channel[Payload] = Channel(limits.outbox_messages)
        self._interruption: asyncio.Future[Ending] = asyncio.get_running_loop().create_future()
        self._events: deque[WireEvent] = deque()
        self._call_id: str | None = None
        self._paused = False
        self._log = get_logger(__name__)

    async def serve(self, admit: Callable[[], Awaitable[str]]) -> Ending:
        """Serves until the end, and says how it ended.

        admit: says whose calls the peer brings, or raises `WireError` where it may not come in.
        """
        writer = asyncio.create_task(self._write())
        try:
            with self._services.registry.connection(lambda: self._interrupt(DRAINED)):
                ending = await self._admitted(admit)
                await self._finish(ending, writer)
                return ending
        except DrainingError:
            await self._finish(TURNED_AWAY, writer)
            return TURNED_AWAY
        finally:
            writer.cancel()

    def _interrupt(self, ending: Ending) -> None:
        """Ends the connection from outside its reading; the first reason holds."""
        if not self._interruption.done():
            self._interruption.set_result(ending)

    async def _admitted(self, admit: Callable[[], Awaitable[str]]) -> Ending:
        try:
            tenant = await admit()
            start = await self._unless_interrupted(self._read_start())
            if start is None:
                return COMPLETED
            start = replace(self._manner.prepare(start), tenant=tenant)
            return await (self._call(start) if start.resume is None else self._resumed(start, start.resume))
        except WireError as error:
            return refused(error)
        except Interrupted as interrupted:
            return interrupted.ending
        except PeerGoneError:
            return DISCONNECTED
        except Exception:
            self._log.exception("connection_failed", call_id=self._call_id)
            return failed()

    async def _read_start(self) -> CallStart | None:
        """The start of the call; None where the peer ends without one (a probe)."""
        timeout_s = self._manner.start_timeout_s
        try:
            async with asyncio.timeout(timeout_s):
                while True:
                    event = await self._next()
                    if isinstance(event, Start):
                        return event.call
                    if isinstance(event, Stop):
                        await self._say_waiting()
                        return None
                    await self._take(event)
        except TimeoutError:
            raise WireError(
                "start_timeout",
                "The call was not started in time",
                f"expected the start of the call within {timeout_s:g} s",
                CloseCode.POLICY,
            ) from None

    async def _call(self, start: CallStart) -> Ending:
        """Admits the call and holds its place until its end is on record."""
        for number in range(1, self._manner.ids + 1):
            call_id = start.call_id if number == 1 else f"{start.call_id}.{number}"
            runner = CallRunner(replace(start, call_id=call_id), self._services, self._answer)
            try:
                return await self._placed(runner)
            except (CallLiveError, CallExistsError):
                continue
            except TooManyCallsError:
                raise overloaded() from None
        raise WireError(
            "call_exists",
            "The call id is taken",
            "expected a call_id that no live or stored call has",
            CloseCode.POLICY,
        )

    async def _resumed(self, start: CallStart, secret: str) -> Ending:
        """Goes on with a call that broke off."""
        if self._services.registry.full:
            raise overloaded()
        earlier = await take_up(self._services, start, secret)
        info = earlier.info
        start = replace(start, line=info.line, language=info.language, team=info.team, subject=info.subject)
        runner = CallRunner(start, self._services, self._answer, earlier)
        try:
            return await self._placed(runner)
        except (CallLiveError, TooManyCallsError):
            await runner.close(DISCONNECTED.outcome)  # it may be taken up again
            raise overloaded() from None

    async def _placed(self, runner: CallRunner) -> Ending:
        start = runner.start
        limits = self._services.access.limits
        try:
            with (
                limits.call(start.tenant),
                self._services.registry.call(
                    start.tenant, start.call_id, runner, lambda: self._interrupt(SUPERSEDED)
                ),
            ):
                self._call_id = start.call_id
                await runner.open()
                return await self._converse(runner)
        except TenantLimitError as error:
            raise limit_wire_error(error) from None

    async def _converse(self, runner: CallRunner) -> Ending:
        """Reads while the runner works; whatever ends the reading, the runner finishes what it has."""
        model = self._services.engine.model
        legs = runner.start.format.channels
        resume = runner.resume_secret if self._manner.resumable else None
        await self._say_result(encode_ready(runner.start.call_id, model, runner.unscored, legs, resume))
        working = asyncio.create_task(self._worked(runner))
        try:
            ending = await self._unless_interrupted(self._read(runner))
        except Interrupted as interrupted:
            ending = interrupted.ending
        except WireError as error:
            ending = refused(error)
        except PeerGoneError as gone:
            in_order = self._protocol.ends_by_closing and gone.code in (CloseCode.DONE, CloseCode.DRAINING)
            ending = HUNG_UP if in_order else DISCONNECTED
        if ending is not COMPLETED:
            held = asyncio.create_task(self._take_held_back(runner))
            await asyncio.wait((held, working), return_when=asyncio.FIRST_COMPLETED)
            held.cancel()  # nothing more is taken where the call cannot go on
        runner.end_input()
        if not await working:
            ending = failed()
        await runner.close(ending.outcome)
        return ending

    async def _worked(self, runner: CallRunner) -> bool:
        """Runs the call; False, and the connection ends, when it cannot go on."""
        try:
            await runner.run()
        except Exception:
            self._log.exception("call_failed", call_id=runner.start.call_id)
            self._interrupt(failed())
            return False
        return True

    async def _read(self, runner: CallRunner) -> Ending:
        while True:
            event = await self._next()
            if isinstance(event, Stop):
                await self._say_waiting()
                return COMPLETED
            await self._take(event, runner)

    async def _take_held_back(self, runner: CallRunner) -> None:
        """What the protocol held back (to put it in order) is still heard when the call ends without a farewell."""
        for event in self._protocol.lost():
            if not isinstance(event, Stop | Reply):
                await runner.feed(event)

    async def _take(self, event: WireEvent, runner: CallRunner | None = None) -> None:
        if isinstance(event, Reply):
            await self._say(event.payload)
        elif runner is not None:
            self._count(event, runner)
            await runner.feed(event)

    def _count(self, event: WireEvent, runner: CallRunner) -> None:
        """Counts audio against what its tenant may bring.

        Raises:
            WireError: `rate_limited`.
        """
        if isinstance(event, Audio):
            limits, start = self._services.access.limits, runner.start
            legs = len(start.format.tracks[event.packet.track])
            if not limits.audio(start.tenant, runner.seconds_of(event) * legs):
                try:
                    limits.check_audio(start.tenant)
                except TenantLimitError as error:
                    raise limit_wire_error(error) from None

    async def _say_waiting(self) -> None:
        """The replies that came with the last event."""
        while self._events:
            event = self._events.popleft()
            if isinstance(event, Reply):
                await self._say(event.payload)

    async def _next(self) -> WireEvent:
        """The next event of the protocol."""
        while not self._events:
            self._events.extend(await self._receive())
        return self._events.popleft()

    async def _receive(self) -> list[WireEvent]:
        """The events of the next message, or of the time that passes without one.

        Raises:
            Interrupted: the peer has been silent for too long.
        """
        clock, tick_s = self._services.clock, self._manner.tick_s
        if tick_s is None:
            return self._protocol.receive(await self._transport.receive(), clock.monotonic())
        since = clock.monotonic()
        while True:
            try:
                async with asyncio.timeout(tick_s):
                    return self._protocol.receive(await self._transport.receive(), clock.monotonic())
            except TimeoutError:
                now = clock.monotonic()
            limit = self._manner.idle_timeout_s
            if limit is not None and now - since >= limit and not self._paused and self._call_id is not None:
                raise Interrupted(IDLE)
            events = self._protocol.tick(now)
            if events:
                return events

    async def _unless_interrupted(self, work: Coroutine[Any, Any, T]) -> T:
        """The work's result; stops it and raises `Interrupted` when the connection is told to end first."""
        task = asyncio.ensure_future(work)
        try:
            await asyncio.wait((task, self._interruption), return_when=asyncio.FIRST_COMPLETED)
            if task.done():
                return task.result()
            raise Interrupted(self._interruption.result())
        finally:
            if not task.done():
                task.cancel()
                await asyncio.gather(task, return_exceptions=True)

    async def _answer(self, event: ServerEvent) -> None:
        if isinstance(event, PauseChanged):
            self._paused = event.paused
            if event.source in _OWN_SOURCES:
                for payload in self._protocol.paused(event.paused):
                    await self._say(payload)
        text = reply_text(self._call_id or "", event)
        if text is not None:
            await self._say_result(text)

    async def _say_result(self, text: str) -> None:
        for payload in self._protocol.result(text):
            await self._say(payload)

    async def _say(self, payload: Payload) -> None:
        """Queues a message, waiting while the outbox is full; does nothing once nobody reads."""
        with contextlib.suppress(ChannelClosedError):
            await self._outbox.put(payload)

    async def _write(self) -> None:
        """Sends what is in the outbox. A client that does not read for `send_timeout_s` loses the socket."""
        try:
            while True:
                payload = await self._outbox.get()
                async with asyncio.timeout(self._limits.send_timeout_s):
                    await self._transport.send(payload)
        except TimeoutError:
            self._interrupt(SLOW_READER)
        except (ChannelClosedError, PeerGoneError):
            pass  # all is said, or nobody is there; the reading side learns of that by itself
        finally:
            self._outbox.close()

    async def _finish(self, ending: Ending, writer: asyncio.Task[None]) -> None:
        """Says what is left to say, and closes."""
        if ending.close_code is not None:
            for payload in self._protocol.farewell(
                ending.error, draining=ending in (DRAINED, TURNED_AWAY, IDLE)
            ):
                await self._say(payload)
        self._outbox.close()
        with contextlib.suppress(TimeoutError, PeerGoneError):
            async with asyncio.timeout(self._limits.send_timeout_s):
                await writer
        if ending.close_code is None:
            return
        if self._protocol.peer_closes and ending is not SLOW_READER and await self._peer_closed():
            return
        patience_s = _LAST_CHANCE_S if ending is SLOW_READER else self._limits.send_timeout_s
        with contextlib.suppress(TimeoutError, PeerGoneError):
            async with asyncio.timeout(patience_s):
                await self._transport.close(ending.close_code, ending.reason)

    async def _peer_closed(self) -> bool:
        """Waits for the peer to close, answering what it still says; False when it does not."""
        clock = self._services.clock
        try:
            async with asyncio.timeout(self._limits.farewell_timeout_s):
                while True:
                    with contextlib.suppress(WireError):
                        for event in self._protocol.receive(
                            await self._transport.receive(), clock.monotonic()
                        ):
                            if isinstance(event, Reply):
                                await self._transport.send(event.payload)
        except TimeoutError:
            return False
        except PeerGoneError:
            return True
