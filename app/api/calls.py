"""`/v1/calls`: what was found out about calls. Their erasure is in `app.api.erasures`."""

from __future__ import annotations

import contextlib
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Query, Request, Response

from app.access.principal import Principal, Scope
from app.api.audit import audited
from app.api.call_bodies import CallReportBody, RecordListing, call_report_body, record_listing
from app.api.cursors import seal, unseal
from app.api.deps import Services, ServicesDep, requires
from app.api.errors import ProblemError
from app.api.etags import NOT_MODIFIED, cached, call_etag, json_answer, list_etag
from app.api.paging import all_records, filled_page
from app.api.protocol import CallBody, Listing, Problem, call_body
from app.api.queries import (
    NAME,
    CallId,
    Cursor,
    Limit,
    LineFilter,
    SeqNumber,
    TeamFilter,
    bad_query,
    known_query,
)
from app.api.times import SpanDep
from app.channel import ChannelClosedError
from app.results.store import BadCursorError, CallFilter, CallState
from app.wire.base import Pause, Resume

REST = "rest"
"""Who pauses a call when a pause is asked for here."""

Reader = Annotated[Principal, Depends(requires(Scope.READ_SCORES))]
Ingester = Annotated[Principal, Depends(requires(Scope.INGEST))]

router = APIRouter(
    prefix="/v1/calls",
    tags=["calls"],
    dependencies=[Depends(known_query)],
    responses={401: {"model": Problem}, 403: {"model": Problem}, 422: {"model": Problem}},
)
_NOT_FOUND: dict[int | str, dict[str, Any]] = {404: {"model": Problem}}


async def call_filter(
    span: SpanDep,
    line: LineFilter = None,
    state: Annotated[CallState | None, Query(description="Only live, or only ended calls.")] = None,
    team: TeamFilter = None,
    outcome: Annotated[str | None, Query(pattern=NAME, description="Only calls that ended so.")] = None,
) -> CallFilter:
    """The filters of the list. `since` and `until` bound the start of a call."""
    return CallFilter(line, state, team, outcome, span.since, span.until)


@router.get(
    "",
    summary="List calls, latest first",
    response_model=Listing[CallBody],
    responses=NOT_MODIFIED,
    dependencies=[Depends(audited("calls.read"))],
)
async def list_calls(
    request: Request,
    services: ServicesDep,
    principal: Reader,
    which: Annotated[CallFilter, Depends(call_filter)],
    cursor: Cursor = None,
    limit: Limit = 50,
) -> Response:
    """One page of the calls that are held, live ones included. Poll it with `If-None-Match`: a 304 is cheap."""
    etag = await list_etag(request, services, principal)
    unchanged = cached(request, etag)
    if unchanged is not None:
        return unchanged
    query = ("calls", which.line, which.state, which.team, which.outcome, which.since, which.until)
    page = await filled_page(services.store, principal.tenant, which, unseal(cursor, *query), limit)
    items = [call_body(call) for call in page.items]
    return json_answer({"items": items, "next": seal(page.next, *query)}, etag)


@router.get(
    "/{call_id}",
    summary="One call",
    dependencies=[Depends(audited("calls.read"))],
    response_model=CallReportBody,
    responses=_NOT_FOUND | NOT_MODIFIED,
)
async def get_call(request: Request, call_id: CallId, services: ServicesDep, principal: Reader) -> Response:
    """A call with its timeline, what each leg comes to and, once it has ended, its summary."""
    call = await services.store.get_call(principal.tenant, call_id)
    etag = call_etag(request, services, call)
    unchanged = cached(request, etag)
    if unchanged is not None:
        return unchanged
    records = await all_records(services.store, principal.tenant, call_id)
    return json_answer(call_report_body(call, records), etag)


@router.get(
    "/{call_id}/utterances",
    summary="A call's records",
    dependencies=[Depends(audited("utterances.read"))],
    response_model=RecordListing,
    responses=_NOT_FOUND | NOT_MODIFIED,
)
async def list_utterances(
    request: Request,
    call_id: CallId,
    services: ServicesDep,
    principal: Reader,
    from_seq: SeqNumber = None,
    cursor: Cursor = None,
    limit: Limit = 50,
) -> Response:
    """One page of the call's records, in the order they were made.

    `from_seq` begins at that number (instead of a cursor); `gaps` names exactly what is not held any more.
    """
    call = await services.store.get_call(principal.tenant, call_id)
    etag = call_etag(request, services, call)
    unchanged = cached(request, etag)
    if unchanged is not None:
        return unchanged
    if cursor is not None and from_seq is not None:
        raise bad_query("from_seq", "expected either a cursor or a number to begin with")
    query = ("utterances", call_id)
    begin = from_seq or _seq_of(unseal(cursor, *query))
    found = await services.store.list_records(principal.tenant, call_id, from_seq=begin, limit=limit)
    body, following = record_listing(found, begin, limit)
    place = None if following is None else str(following)
    return json_answer({**body, "next": seal(place, *query)}, etag)


_CONTROLS: dict[int | str, dict[str, Any]] = {**_NOT_FOUND, 409: {"model": Problem}}


@router.post(
    "/{call_id}/pause",
    summary="Stop listening to a live call",
    status_code=204,
    response_class=Response,
    responses=_CONTROLS,
)
async def pause_call(call_id: CallId, services: ServicesDep, principal: Ingester) -> None:
    """Drops audio at the door from now on (a card number is about to be said); its time is shown as paused."""
    await _control(principal.tenant, call_id, services, Pause(REST))


@router.post(
    "/{call_id}/resume",
    summary="Listen to a live call again",
    status_code=204,
    response_class=Response,
    responses=_CONTROLS,
)
async def resume_call(call_id: CallId, services: ServicesDep, principal: Ingester) -> None:
    """Takes back a pause that was asked for here; those of the carrier, the client or the keys stay."""
    await _control(principal.tenant, call_id, services, Resume(REST))


async def _control(tenant: str, call_id: CallId, services: Services, event: Pause | Resume) -> None:
    call = services.registry.live(tenant, call_id)
    if call is not None:
        with contextlib.suppress(ChannelClosedError):
            await call.feed(event)
            return
    await services.store.get_call(tenant, call_id)
    raise ProblemError(409, "call_ended", "The call has ended", "expected a call that is live")


def _seq_of(place: str | None) -> int:
    if place is None:
        return 1
    if not place.isascii() or not place.isdigit() or len(place) > 15:
        raise BadCursorError("not a cursor of this list")
    return int(place)
