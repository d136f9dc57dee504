"""`/v1/stream`: one WebSocket, one call. The protocol is `app.wire.native`'s, the call `CallRunner`'s."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Coroutine
from dataclasses import dataclass
from typing import Any, TypeVar

from fastapi import APIRouter
from starlette.websockets import WebSocket, WebSocketDisconnect

from app.api.auth import same_origin
from app.api.deps import Services, get_services
from app.api.messages import reply_text
from app.api.registry import CallLiveError, DrainingError, TooManyCallsError
from app.api.runner import CallRunner
from app.channel import Channel, ChannelClosedError
from app.domain import CallStart
from app.pipeline import ServerEvent
from app.results.store import CallExistsError
from app.telemetry.logs import get_logger
from app.wire.base import CloseCode, Start, Stop, WireError, WireEvent
from app.wire.native import NativeProtocol
from app.wire.replies import encode_error, encode_ready

T = TypeVar("T")
_LAST_CHANCE_S = 1.0

router = APIRouter()


@dataclass(frozen=True, slots=True)
class Ending:
    """How a connection ends. close_code None: the socket is gone already."""

    outcome: str
    close_code: CloseCode | None
    reason: str = ""
    error: WireError | None = None


COMPLETED = Ending("completed", CloseCode.DONE, "done")
DISCONNECTED = Ending("disconnected", None)
DRAINED = Ending("drained", CloseCode.DRAINING, "draining")
SLOW_READER = Ending("slow_reader", CloseCode.POLICY, "slow_reader")


def refused(error: WireError) -> Ending:
    """The ending of a client that broke the protocol or may not come in."""
    return Ending("rejected", error.close_code, error.code, error)


def failed() -> Ending:
    """The ending of a call that the service could not go on with."""
    return Ending(
        "failed",
        CloseCode.SERVER,
        "internal_error",
        WireError(
            "internal_error",
            "The service failed",
            "this call cannot go on; the fault was logged",
            CloseCode.SERVER,
        ),
    )


class Interrupted(Exception):  # noqa: N818 (not an error: someone else ended the connection)
    """The connection was told to end while it waited for its client."""

    def __init__(self, ending: Ending) -> None:
        super().__init__(ending.outcome)
        self.ending = ending


@router.websocket("/v1/stream")
async def stream(websocket: WebSocket) -> None:
    """The native protocol, `docs/protocol.md`."""
    await Connection(websocket, get_services(websocket)).serve()


class Connection:
    """One client's socket: reads into the runner's queue, writes from an outbox, and ends in one place."""

    def __init__(self, websocket: WebSocket, services: Services) -> None:
        limits = services.settings.stream
        self._websocket = websocket
        self._services = services
        self._limits = limits
        self._protocol = NativeProtocol(limits.max_message_bytes)
        self._outbox: Channel[str] = Channel(limits.outbox_messages)
        self._interruption: asyncio.Future[Ending] = asyncio.get_running_loop().create_future()
        self._call_id: str | None = None
        self._log = get_logger(__name__)

    async def serve(self) -> None:
        """Serves the socket from its acceptance to its close."""
        await self._websocket.accept()
        writer = asyncio.create_task(self._write())
        try:
            with self._services.registry.connection(lambda: self._interrupt(DRAINED)):
                await self._finish(await self._admitted(), writer)
        except DrainingError:
            await self._finish(DRAINED, writer)
        finally:
            writer.cancel()

    def _interrupt(self, ending: Ending) -> None:
        """Ends the connection from outside its reading; the first reason holds."""
        if not self._interruption.done():
            self._interruption.set_result(ending)

    async def _admitted(self) -> Ending:
        try:
            self._check_client()
            start = await self._unless_interrupted(self._read_start())
            return await self._call(start)
        except WireError as error:
            return refused(error)
        except Interrupted as interrupted:
            return interrupted.ending
        except WebSocketDisconnect:
            return DISCONNECTED
        except Exception:
            self._log.exception("connection_failed", call_id=self._call_id)
            return failed()

    def _check_client(self) -> None:
        headers = self._websocket.headers
        if not same_origin(headers):
            raise WireError(
                "foreign_origin",
                "Pages of other sites may not connect",
                "expected no Origin, or this service's own",
                CloseCode.POLICY,
            )
        if not self._services.keys.admits(headers):
            raise WireError(
                "unauthorized",
                "A valid API key is needed",
                "expected 'Authorization: Bearer <key>' or 'X-API-Key: <key>' with a key of this site",
                CloseCode.POLICY,
            )

    async def _read_start(self) -> CallStart:
        try:
            async with asyncio.timeout(self._limits.start_timeout_s):
                while True:
                    for event in await self._receive():
                        if isinstance(event, Start):
                            return event.call
        except TimeoutError:
            raise WireError(
                "start_timeout",
                "The call was not started in time",
                f"expected a message of type 'start' within {self._limits.start_timeout_s:g} s",
                CloseCode.POLICY,
            ) from None

    async def _call(self, start: CallStart) -> Ending:
        """Admits the call and holds its place until its end is on record."""
        self._call_id = start.call_id
        runner = CallRunner(start, self._services, self._reply)
        try:
            with self._services.registry.call(start.call_id, runner.backlog_s):
                await runner.open()
                return await self._converse(runner)
        except (CallLiveError, CallExistsError):
            raise WireError(
                "call_exists",
                "The call id is taken",
                "expected a call_id that no live or stored call has",
                CloseCode.POLICY,
            ) from None
        except TooManyCallsError:
            raise WireError(
                "overloaded",
                "There is no place for another call",
                "try again in a while, or elsewhere",
                CloseCode.OVERLOADED,
            ) from None

    async def _converse(self, runner: CallRunner) -> Ending:
        """Reads while the runner works; whatever ends the reading, the runner finishes what it has."""
        model = self._services.engine.model
        legs = runner.start.format.channels
        await self._say(encode_ready(runner.start.call_id, model, runner.unscored, legs))
        working = asyncio.create_task(self._worked(runner))
        try:
            ending = await self._unless_interrupted(self._read(runner))
        except Interrupted as interrupted:
            ending = interrupted.ending
        except WireError as error:
            ending = refused(error)
        except WebSocketDisconnect:
            ending = DISCONNECTED
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
            for event in await self._receive():
                if isinstance(event, Stop):
                    return COMPLETED
                await runner.feed(event)

    async def _receive(self) -> list[WireEvent]:
        message = await self._websocket.receive()
        if message["type"] == "websocket.disconnect":
            raise WebSocketDisconnect(message.get("code", 1006), message.get("reason"))
        text = message.get("text")
        if text is not None:
            return self._protocol.receive_text(text)
        return self._protocol.receive_bytes(message.get("bytes") or b"")

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

    async def _reply(self, event: ServerEvent) -> None:
        await self._say(reply_text(self._call_id or "", event))

    async def _say(self, text: str) -> None:
        """Queues a message, waiting while the outbox is full; does nothing once nobody reads."""
        with contextlib.suppress(ChannelClosedError):
            await self._outbox.put(text)

    async def _write(self) -> None:
        """Sends what is in the outbox. A client that does not read for `send_timeout_s` loses the socket."""
        try:
            while True:
                text = await self._outbox.get()
                async with asyncio.timeout(self._limits.send_timeout_s):
                    await self._websocket.send_text(text)
        except TimeoutError:
            self._interrupt(SLOW_READER)
        except (ChannelClosedError, WebSocketDisconnect, RuntimeError):
            pass  # all is said, or nobody is there; the reading side learns of that by itself
        finally:
            self._outbox.close()

    async def _finish(self, ending: Ending, writer: asyncio.Task[None]) -> None:
        """Says what is left to say, and closes."""
        if ending.error is not None:
            await self._say(encode_error(ending.error, self._call_id))
        self._outbox.close()
        with contextlib.suppress(TimeoutError, WebSocketDisconnect, RuntimeError):
            async with asyncio.timeout(self._limits.send_timeout_s):
                await writer
        if ending.close_code is None:
            return
        patience_s = _LAST_CHANCE_S if ending is SLOW_READER else self._limits.send_timeout_s
        with contextlib.suppress(TimeoutError, WebSocketDisconnect, RuntimeError):
            async with asyncio.timeout(patience_s):
                await self._websocket.close(ending.close_code, ending.reason)
