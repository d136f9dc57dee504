"""`/v1/events` and `/v1/calls/{id}/events`: what happens, as it happens, as server-sent events."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncGenerator, Callable
from enum import Enum, auto
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Header, Query, Request, Response
from starlette.responses import StreamingResponse
from starlette.types import Message, Receive, Scope, Send

from app.access.authenticator import Admission
from app.access.principal import Principal
from app.access.principal import Scope as AccessScope
from app.api import live_socket
from app.api.deps import Services, ServicesDep, requires
from app.api.live_opening import OpenedFeed, open_call, open_feed
from app.api.live_query import CallQuery, FeedQuery, once
from app.api.live_wire import GREETING, sse_event, sse_keepalive
from app.api.protocol import Problem
from app.api.queries import CallId
from app.results.store import StoreError
from app.telemetry.logs import get_logger

ABORT = "kowairo.abort"
"""The extension of `app.api.server` by which a connection is cut whose peer does not read."""

_LAST_CHANCE_S = 1.0

Viewer = Annotated[Principal, Depends(requires(AccessScope.READ_SCORES))]
LastEventId = Annotated[
    str | None, Header(alias="Last-Event-ID", max_length=32, description="The id of the last event seen.")
]

_RESPONSES: dict[int | str, dict[str, Any]] = {
    200: {"content": {"text/event-stream": {}}},
    401: {"model": Problem},
    403: {"model": Problem},
    422: {"model": Problem},
    503: {"model": Problem},
}

router = APIRouter(tags=["live"])
router.include_router(live_socket.router)


@router.get(
    "/v1/events",
    summary="What happens to all calls",
    response_class=StreamingResponse,
    responses=_RESPONSES,
    dependencies=[Depends(once)],
)
async def events(
    request: Request,
    services: ServicesDep,
    principal: Viewer,
    query: Annotated[FeedQuery, Query()],
    last_event_id: LastEventId = None,
) -> Response:
    """Server-sent events; `docs/live.md` lists them. A WebSocket at the same address gives the same as messages.

    With `from_position` or `Last-Event-ID`, first what happened from there on; what is not held any more is named.
    """
    opened = await open_feed(services, principal, query, last_event_id)
    return FeedResponse(opened, services, getattr(request.state, "admission", None))


@router.get(
    "/v1/calls/{call_id}/events",
    summary="What happens to one call",
    response_class=StreamingResponse,
    responses={**_RESPONSES, 204: {"description": "Seen to the end."}, 404: {"model": Problem}},
    dependencies=[Depends(once)],
)
async def call_events(
    request: Request,
    call_id: CallId,
    services: ServicesDep,
    principal: Viewer,
    query: Annotated[CallQuery, Query()],
    last_event_id: LastEventId = None,
) -> Response:
    """The same of one call, by `seq` of its records; it ends with the call. 204 to who has seen the end."""
    opened = await open_call(services, principal, call_id, query, last_event_id)
    if opened.seen_to_end:
        services.publisher.unsubscribe(opened.subscription)
        return Response(status_code=204)
    return FeedResponse(opened, services, getattr(request.state, "admission", None))


class _End(Enum):
    """How a feed ended."""

    TOLD = auto()
    GONE = auto()
    SLOW = auto()


class FeedResponse(StreamingResponse):
    """A live feed; gives its place back however it ends, even if it was never begun.

    admission: by which the viewer was let in; the feed ends when it no longer holds. None: it always does.
    """

    def __init__(self, opened: OpenedFeed, services: Services, admission: Admission | None) -> None:
        super().__init__(feed(opened), media_type="text/event-stream", headers={"X-Accel-Buffering": "no"})
        self._opened = opened
        self._services = services
        self._admission = admission
        self._send_timeout_s = services.settings.live.send_timeout_s

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Streams until the client goes or stops reading, the call or the service ends, or access does."""
        with self._opened.subscription, self._services.metrics.live_subscribers.track_inprogress():
            feeding = asyncio.create_task(self._stream(send))
            tasks: set[asyncio.Task[Any]] = {feeding, asyncio.create_task(_gone(receive))}
            if self._admission is not None and live_socket.may_end(self._admission):
                tasks.add(asyncio.create_task(self._services.access.ended(self._admission)))
            try:
                done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            finally:
                for task in tasks:
                    task.cancel()
                await asyncio.gather(*tasks, return_exceptions=True)
            ended = feeding.result() if feeding in done else await self._finish(send, done)
        if ended is _End.SLOW:
            get_logger(__name__).info("live_viewer_cut", reason="slow_reader")
            await _cut(scope, receive)

    async def _stream(self, send: Send) -> _End:
        """Sends all of it."""
        head: Message = {
            "type": "http.response.start",
            "status": self.status_code,
            "headers": self.raw_headers,
        }
        try:
            await self._send(send, head)
            async with contextlib.aclosing(feed(self._opened)) as chunks:
                async for chunk in chunks:
                    await self._send(send, {"type": "http.response.body", "body": chunk, "more_body": True})
            await self._send(send, {"type": "http.response.body", "body": b"", "more_body": False})
        except TimeoutError:
            return _End.SLOW
        except OSError:
            return _End.GONE
        return _End.TOLD

    async def _send(self, send: Send, message: Message) -> None:
        async with asyncio.timeout(self._send_timeout_s):
            await send(message)

    async def _finish(self, send: Send, done: set[asyncio.Task[Any]]) -> _End:
        """Ends a response that somebody else ended."""
        if any(task.result() is _End.GONE for task in done):
            return _End.GONE
        try:
            await self._send(send, {"type": "http.response.body", "body": b"", "more_body": False})
        except TimeoutError:
            return _End.SLOW
        return _End.TOLD


async def feed(opened: OpenedFeed) -> AsyncGenerator[bytes, None]:
    """A feed as server-sent text, with a comment at first and whenever nothing happened for a while."""
    view, of_call = opened.view, opened.of_call
    yield GREETING + sse_keepalive(view.mark)
    with contextlib.suppress(StoreError):  # the viewer connects again, and is told then
        async with contextlib.aclosing(view.batches()) as batches:
            async for batch in batches:
                if batch:
                    yield b"".join(sse_event(event, of_call=of_call, mark=view.mark) for event in batch)
                else:
                    yield sse_keepalive(view.mark)


async def _gone(receive: Receive) -> _End:
    """Returns when the client has gone."""
    while (await receive())["type"] != "http.disconnect":
        pass
    return _End.GONE


async def _cut(scope: Scope, receive: Receive) -> None:
    """Cuts the connection: what waits to be sent would wait for ever."""
    abort: Callable[[], None] | None = (scope.get("extensions") or {}).get(ABORT, {}).get("abort")
    if abort is not None:
        abort()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_LAST_CHANCE_S):
                await _gone(receive)
