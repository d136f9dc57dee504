"""The same feeds over WebSockets: JSON messages, one for each event."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Coroutine
from dataclasses import dataclass
from typing import Any

from fastapi import APIRouter
from starlette.websockets import WebSocket, WebSocketDisconnect

from app.access.authenticator import Admission
from app.access.credentials import chosen_subprotocol
from app.access.principal import Principal, Scope
from app.api.auth import AccessError, access_problem, access_wire_error
from app.api.deps import Services, get_services
from app.api.errors import ProblemError, draining
from app.api.live_opening import OpenedFeed, open_call, open_feed
from app.api.live_query import CallQuery, FeedQuery, read_query
from app.api.live_wire import ws_event, ws_keepalive
from app.api.registry import DrainingError
from app.api.transport import PeerGoneError, WebSocketTransport
from app.results.store import CallNotFoundError, StoreError
from app.telemetry.clock import Clock
from app.telemetry.logs import get_logger
from app.wire.base import CloseCode

MAX_MESSAGE_CHARS = 4_096
"""Of what a viewer says, which is read and ignored."""

MESSAGES_PER_S = 1.0
MESSAGES_AT_ONCE = 20
_LAST_CHANCE_S = 1.0

Opener = Callable[[Services, Principal], Awaitable[OpenedFeed]]

router = APIRouter()


@dataclass(frozen=True, slots=True)
class _Close:
    """How a socket is closed. code None: it is closed already."""

    code: CloseCode | None
    reason: str = ""


_GONE = _Close(None)
_DONE = _Close(CloseCode.DONE, "call_ended")
_DRAINING = _Close(CloseCode.DRAINING, "draining")
_SLOW = _Close(CloseCode.POLICY, "slow_reader")
_AWAY = _Close(CloseCode.OVERLOADED, "store_unavailable")
_TOO_BIG = _Close(CloseCode.TOO_BIG, "message_too_big")
_TOO_MANY = _Close(CloseCode.POLICY, "too_many_messages")
_FAILED = _Close(CloseCode.SERVER, "internal_error")


@router.websocket("/v1/events")
async def events_socket(websocket: WebSocket) -> None:
    """What happens to all calls of the tenant, `docs/live.md`."""

    async def opener(services: Services, principal: Principal) -> OpenedFeed:
        return await open_feed(services, principal, read_query(FeedQuery, websocket.query_params))

    await _serve(websocket, opener)


@router.websocket("/v1/calls/{call_id}/events")
async def call_events_socket(websocket: WebSocket, call_id: str) -> None:
    """What happens to one call, `docs/live.md`."""

    async def opener(services: Services, principal: Principal) -> OpenedFeed:
        query = read_query(CallQuery, websocket.query_params)
        return await open_call(services, principal, call_id, query)

    await _serve(websocket, opener)


def may_end(admission: Admission) -> bool:
    """Whether who was let in may not be let in any more later."""
    return admission.renewable or admission.until is not None


async def _serve(websocket: WebSocket, opener: Opener) -> None:
    services = get_services(websocket)
    try:
        admission = await services.access.admit_socket(websocket, Scope.READ_SCORES)
        opened = await opener(services, admission.principal)
    except (AccessError, ProblemError, StoreError) as error:
        await websocket.send_denial_response(_problem(error).response())
        return
    with opened.subscription, services.metrics.live_subscribers.track_inprogress():
        try:
            # A shutdown waits until the viewer was told.
            with services.registry.connection(opened.subscription.close):
                if await _accepted(websocket):
                    await LiveSocket(websocket, services, admission, opened).serve()
        except DrainingError:
            await websocket.send_denial_response(draining().response())


async def _accepted(websocket: WebSocket) -> bool:
    """Accepts the upgrade; False where the client went meanwhile."""
    try:
        await websocket.accept(subprotocol=chosen_subprotocol(websocket.scope.get("subprotocols") or ()))
    except (WebSocketDisconnect, RuntimeError):
        return False
    return True


def _problem(error: AccessError | ProblemError | StoreError) -> ProblemError:
    """Why the upgrade is refused, as HTTP."""
    if isinstance(error, AccessError):
        return access_problem(error)
    if isinstance(error, ProblemError):
        return error
    if isinstance(error, CallNotFoundError):
        return ProblemError(
            404, "call_not_found", "No such call", "no call with this id: unknown, expired or erased"
        )
    return ProblemError(
        503, "store_unavailable", "Results cannot be reached", "the result store did not answer; try again"
    )


class LiveSocket:
    """An accepted socket of a viewer."""

    def __init__(
        self, websocket: WebSocket, services: Services, admission: Admission, opened: OpenedFeed
    ) -> None:
        self._transport = WebSocketTransport(websocket)
        self._services = services
        self._admission = admission
        self._opened = opened
        self._send_timeout_s = services.settings.live.send_timeout_s

    async def serve(self) -> None:
        """Tells until the feed, the viewer or its access ends; then closes."""
        works: list[Coroutine[Any, Any, _Close]] = [self._tell(), self._listen()]
        if may_end(self._admission):
            works.append(self._access_ends())
        tasks = [asyncio.create_task(work) for work in works]
        try:
            done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
        await self._close(next(task.result() for task in tasks if task in done))

    async def _tell(self) -> _Close:
        view, of_call = self._opened.view, self._opened.of_call
        try:
            await self._send(ws_keepalive(view.mark, of_call=of_call))
            async with contextlib.aclosing(view.batches()) as batches:
                async for batch in batches:
                    for event in batch:
                        await self._send(ws_event(event))
                    if not batch:
                        await self._send(ws_keepalive(view.mark, of_call=of_call))
        except TimeoutError:
            return _SLOW
        except PeerGoneError:
            return _GONE
        except StoreError:
            return _AWAY
        except Exception:
            get_logger(__name__).exception("live_socket_failed")
            return _FAILED
        return _DONE if view.ended else _DRAINING

    async def _send(self, text: str) -> None:
        async with asyncio.timeout(self._send_timeout_s):
            await self._transport.send(text)

    async def _listen(self) -> _Close:
        """Reads what the viewer says, for its close and its limits only."""
        allowance = _Allowance(self._services.clock)
        try:
            while True:
                message = await self._transport.receive()
                if len(message) > MAX_MESSAGE_CHARS:
                    return _TOO_BIG
                if not allowance.take():
                    return _TOO_MANY
        except PeerGoneError:
            return _GONE

    async def _access_ends(self) -> _Close:
        refusal = await self._services.access.ended(self._admission)
        error = access_wire_error(AccessError(refusal))
        return _Close(error.close_code, error.code)

    async def _close(self, how: _Close) -> None:
        if how.code is None:
            return
        if how is _SLOW:
            get_logger(__name__).info("live_viewer_cut", reason=how.reason)
        patience_s = _LAST_CHANCE_S if how is _SLOW else self._send_timeout_s
        with contextlib.suppress(TimeoutError, PeerGoneError):
            async with asyncio.timeout(patience_s):
                await self._transport.close(how.code, how.reason)


class _Allowance:
    """How many messages a viewer may still say."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._left = float(MESSAGES_AT_ONCE)
        self._since = clock.monotonic()

    def take(self) -> bool:
        """Whether one more is allowed."""
        now = self._clock.monotonic()
        self._left = min(MESSAGES_AT_ONCE, self._left + (now - self._since) * MESSAGES_PER_S)
        self._since = now
        self._left -= 1
        return self._left >= 0
