"""`/v1/events`: what happens, as it happens, as server-sent events."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Annotated

import orjson
from fastapi import APIRouter, Depends, Query
from starlette.responses import StreamingResponse
from starlette.types import Receive, Scope, Send

from app.api.deps import Services, ServicesDep, require_key
from app.api.errors import ProblemError
from app.api.protocol import Problem
from app.results.publish import LiveEvent, Subscription, TooManySubscribersError

KEEPALIVE = b": still here\n\n"

router = APIRouter(prefix="/v1", tags=["live"], dependencies=[Depends(require_key)])


@router.get(
    "/events",
    summary="The live feed",
    response_class=StreamingResponse,
    responses={200: {"content": {"text/event-stream": {}}}, 401: {"model": Problem}, 503: {"model": Problem}},
)
async def events(
    services: ServicesDep,
    call_id: Annotated[str | None, Query(max_length=128, description="Only this call.")] = None,
) -> StreamingResponse:
    """Server-sent events as they happen; read `/v1/calls` for what was before.

    Types: call_started, speech_start, interim, utterance, line_event, warning, dtmf, call_paused, call_resumed,
    call_ended, call_erased, and lagged, which says how many events a slow reader lost.
    """
    try:
        subscription = services.publisher.subscribe(call_id)
    except TooManySubscribersError as error:
        services.metrics.sheds.labels("subscriber").inc()
        raise ProblemError(
            503, "too_many_feeds", "No more live feeds", str(error), {"Retry-After": "10"}
        ) from None
    return FeedResponse(subscription, services)


class FeedResponse(StreamingResponse):
    """A live feed; gives its place back however it ends, even if it was never begun."""

    def __init__(self, subscription: Subscription, services: Services) -> None:
        keepalive_s = services.settings.live.keepalive_s
        super().__init__(
            feed(subscription, keepalive_s),
            media_type="text/event-stream",
            headers={"X-Accel-Buffering": "no"},
        )
        self._subscription = subscription
        self._gauge = services.metrics.live_subscribers

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Streams until the client goes or the service ends."""
        with self._subscription, self._gauge.track_inprogress():
            await super().__call__(scope, receive, send)


async def feed(subscription: Subscription, keepalive_s: float) -> AsyncIterator[bytes]:
    """A subscription as server-sent text, with a comment whenever nothing happened for `keepalive_s`."""
    yield KEEPALIVE
    while True:
        try:
            async with asyncio.timeout(keepalive_s):
                event = await anext(subscription)
        except TimeoutError:
            yield KEEPALIVE
        except StopAsyncIteration:
            return
        else:
            yield encode_event(event)


def encode_event(event: LiveEvent) -> bytes:
    """One event as server-sent text."""
    return b"event: " + event.type.encode() + b"\ndata: " + orjson.dumps(dict(event.body)) + b"\n\n"
