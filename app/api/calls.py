"""`/v1/calls`: what was found out about calls, and their erasure."""

from __future__ import annotations

import contextlib
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Query, Response

from app.api.deps import Services, ServicesDep, require_key
from app.api.errors import ProblemError
from app.api.protocol import (
    CallBody,
    CallDetailBody,
    Listing,
    Problem,
    UtteranceBody,
    call_body,
    call_detail_body,
)
from app.channel import ChannelClosedError
from app.domain import UtteranceRecord
from app.results.publish import LiveEvent
from app.results.store import CallFilter, CallState, ResultStore
from app.wire.base import Pause, Resume
from app.wire.replies import record_body

PAGE_MAX = 200
_READ_CHUNK = 1_000
REST = "rest"
"""Who pauses a call when a pause is asked for here."""

Limit = Annotated[int, Query(ge=1, le=PAGE_MAX, description="Most items on the page.")]
Cursor = Annotated[str | None, Query(max_length=64, description="`next` of the page before.")]

router = APIRouter(
    prefix="/v1/calls",
    tags=["calls"],
    dependencies=[Depends(require_key)],
    responses={401: {"model": Problem}, 422: {"model": Problem}},
)
_NOT_FOUND: dict[int | str, dict[str, Any]] = {404: {"model": Problem}}


@router.get("", summary="List calls, latest first", response_model=Listing[CallBody])
async def list_calls(
    services: ServicesDep,
    line: Annotated[str | None, Query(max_length=64, description="Only calls of this line.")] = None,
    state: Annotated[CallState | None, Query(description="Only live, or only ended calls.")] = None,
    cursor: Cursor = None,
    limit: Limit = 50,
) -> dict[str, Any]:
    """One page of the calls that are held, live ones included."""
    page = await services.store.list_calls(CallFilter(line, state), cursor=cursor, limit=limit)
    return {"items": [call_body(call) for call in page.items], "next": page.next}


@router.get("/{call_id}", summary="One call", response_model=CallDetailBody, responses=_NOT_FOUND)
async def get_call(call_id: str, services: ServicesDep) -> dict[str, Any]:
    """A call with its timeline and, once it has ended, its summary."""
    call = await services.store.get_call(call_id)
    return call_detail_body(call, await _all_records(services.store, call_id))


@router.get(
    "/{call_id}/utterances",
    summary="A call's records",
    response_model=Listing[UtteranceBody],
    responses=_NOT_FOUND,
)
async def list_utterances(
    call_id: str, services: ServicesDep, cursor: Cursor = None, limit: Limit = 50
) -> dict[str, Any]:
    """One page of the call's records, in the order they were made."""
    page = await services.store.list_utterances(call_id, cursor=cursor, limit=limit)
    return {"items": [record_body(record) for record in page.items], "next": page.next}


@router.delete(
    "/{call_id}",
    summary="Erase a call",
    status_code=204,
    response_class=Response,
    responses={**_NOT_FOUND, 409: {"model": Problem}},
)
async def delete_call(call_id: str, services: ServicesDep) -> None:
    """Removes the call and everything recorded of it. A call that is still live must end first (409)."""
    await services.store.delete_call(call_id)
    services.publisher.publish(LiveEvent("call_erased", call_id, {"call_id": call_id}))


_CONTROLS: dict[int | str, dict[str, Any]] = {**_NOT_FOUND, 409: {"model": Problem}}


@router.post(
    "/{call_id}/pause",
    summary="Stop listening to a live call",
    status_code=204,
    response_class=Response,
    responses=_CONTROLS,
)
async def pause_call(call_id: str, services: ServicesDep) -> None:
    """Drops audio at the door from now on (a card number is about to be said); its time is shown as paused."""
    await _control(call_id, services, Pause(REST))


@router.post(
    "/{call_id}/resume",
    summary="Listen to a live call again",
    status_code=204,
    response_class=Response,
    responses=_CONTROLS,
)
async def resume_call(call_id: str, services: ServicesDep) -> None:
    """Takes back a pause that was asked for here; those of the carrier, the client or the keys stay."""
    await _control(call_id, services, Resume(REST))


async def _control(call_id: str, services: Services, event: Pause | Resume) -> None:
    call = services.registry.live(call_id)
    if call is not None:
        with contextlib.suppress(ChannelClosedError):
            await call.feed(event)
            return
    await services.store.get_call(call_id)
    raise ProblemError(409, "call_ended", "The call has ended", "expected a call that is live")


async def _all_records(store: ResultStore, call_id: str) -> tuple[UtteranceRecord, ...]:
    records: list[UtteranceRecord] = []
    cursor: str | None = None
    while True:
        page = await store.list_utterances(call_id, cursor=cursor, limit=_READ_CHUNK)
        records += page.items
        cursor = page.next
        if cursor is None:
            return tuple(records)
