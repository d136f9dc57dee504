"""`/v1/exports`: calls, records and labels as files, sent while they are read."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable, Sequence
from datetime import UTC, datetime
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Query
from starlette.responses import StreamingResponse

from app.access.principal import Principal, Scope
from app.api.audit import audited
from app.api.calls import call_filter
from app.api.deps import Services, ServicesDep, requires
from app.api.export_stream import ExportLease, ExportResponse, pieces
from app.api.feedback import FEEDBACK
from app.api.feedback_bodies import LABEL_CHARS, PRINTABLE, feedback_body
from app.api.paging import record_pages
from app.api.protocol import Problem
from app.api.queries import LineFilter, TeamFilter, known_query
from app.api.times import Span, SpanDep
from app.domain import Leg
from app.records import epoch_s
from app.results.documents import DocumentStore
from app.results.export import Column, ExportFormat, Row, make_encoder
from app.results.export_rows import (
    CALL_COLUMNS,
    FEEDBACK_COLUMNS,
    UTTERANCE_COLUMNS,
    call_row,
    feedback_row,
    utterance_row,
)
from app.results.store import CallFilter, CallInfo, CallNotFoundError, ResultStore

READ_ROWS = 200

router = APIRouter(
    prefix="/v1/exports",
    tags=["exports"],
    dependencies=[Depends(known_query)],
    responses={code: {"model": Problem} for code in (401, 403, 422, 429, 503)},
)
Reader = Annotated[Principal, Depends(requires(Scope.READ_SCORES))]
Form = Annotated[ExportFormat, Query(alias="format", description="Which kind of file.")]
_FILES: dict[int | str, dict[str, Any]] = {
    200: {
        "description": "The file, in chunks; without the last chunk it is not whole.",
        "content": {
            form.media_type: {"schema": {"type": "string", "format": "binary"}} for form in ExportFormat
        },
    }
}

Pages = AsyncIterator[Sequence[Row]]


@router.get(
    "/utterances",
    summary="Records as a file",
    response_class=StreamingResponse,
    responses=_FILES,
    dependencies=[Depends(audited("export"))],
)
async def export_utterances(
    services: ServicesDep,
    principal: Reader,
    which: Annotated[CallFilter, Depends(call_filter)],
    form: Form = ExportFormat.JSONL,
    leg: Annotated[Leg | None, Query(description="Only of this side.")] = None,
) -> ExportResponse:
    """The records of every call that matches, latest call first; `since` and `until` bound the start of a call."""
    rows = utterance_rows(services.store, principal.tenant, which, leg)
    return await _export(services, principal, "utterances", form, UTTERANCE_COLUMNS, rows)


@router.get(
    "/calls",
    summary="Calls as a file",
    response_class=StreamingResponse,
    responses=_FILES,
    dependencies=[Depends(audited("export"))],
)
async def export_calls(
    services: ServicesDep,
    principal: Reader,
    which: Annotated[CallFilter, Depends(call_filter)],
    form: Form = ExportFormat.JSONL,
) -> ExportResponse:
    """Every call that matches, latest first, with its metadata and summary."""
    rows = call_rows(services.store, principal.tenant, which)
    return await _export(services, principal, "calls", form, CALL_COLUMNS, rows)


@router.get(
    "/feedback",
    summary="Labels as a file",
    response_class=StreamingResponse,
    responses=_FILES,
    dependencies=[Depends(audited("export"))],
)
async def export_feedback(
    services: ServicesDep,
    principal: Reader,
    span: SpanDep,
    form: Form = ExportFormat.JSONL,
    line: LineFilter = None,
    team: TeamFilter = None,
    label: Annotated[
        str | None, Query(max_length=LABEL_CHARS, pattern=PRINTABLE, description="Only this label.")
    ] = None,
) -> ExportResponse:
    """Labels with the scores, model and line profile they are about, for retraining; times bound the labelling."""
    wanted = {"line": line, "team": team, "label": label}
    rows = feedback_rows(services.documents, principal.tenant, wanted, span)
    return await _export(services, principal, "feedback", form, FEEDBACK_COLUMNS, rows)


async def _export(
    services: Services,
    principal: Principal,
    what: str,
    form: ExportFormat,
    columns: Sequence[Column],
    rows: Pages,
) -> ExportResponse:
    lease = ExportLease(services.documents, principal.tenant, services.clock)
    await lease.take()
    parts = pieces(make_encoder(form, columns), rows, lease)
    try:
        # Before any header is sent, so that a store that is away is still a problem and not a broken file.
        first = await anext(parts)
    except BaseException:
        await lease.give_back()
        raise
    moment = datetime.fromtimestamp(services.clock.now(), UTC).strftime("%Y%m%dT%H%M%SZ")
    return ExportResponse(
        first,
        parts,
        lease,
        what=what,
        media_type=form.media_type,
        file_name=f"kowairo-{what}-{moment}.{form.value}",
        stall_timeout_s=services.settings.exports.stall_timeout_s,
    )


async def utterance_rows(store: ResultStore, tenant: str, which: CallFilter, leg: Leg | None) -> Pages:
    """Records by call, page by page; a call that expires or is erased meanwhile is left out from there on."""
    async for calls in _call_pages(store, tenant, which):
        waiting: list[Row] = []
        for call in calls:
            try:
                async for records in record_pages(store, tenant, call.call_id, READ_ROWS):
                    waiting += [utterance_row(item, call) for item in records if leg in (None, item.leg)]
                    if len(waiting) >= READ_ROWS:
                        yield waiting
                        waiting = []
            except CallNotFoundError:
                continue
        yield waiting


async def call_rows(store: ResultStore, tenant: str, which: CallFilter) -> Pages:
    """Calls, page by page."""
    async for calls in _call_pages(store, tenant, which):
        yield [call_row(call) for call in calls]


async def feedback_rows(
    documents: DocumentStore, tenant: str, wanted: dict[str, str | None], span: Span
) -> Pages:
    """Labels whose members are as wanted, page by page."""
    place: str | None = None
    while True:
        page = await documents.list(tenant, FEEDBACK, cursor=place, limit=READ_ROWS)
        bodies = (feedback_body(document) for document in page.items)
        yield [
            feedback_row(body)
            for body in bodies
            if all(ask in (None, body[name]) for name, ask in wanted.items())
            and span.holds(epoch_s(body["labelled_at"]))
        ]
        place = page.next
        if place is None:
            return


async def _call_pages(
    store: ResultStore, tenant: str, which: CallFilter
) -> AsyncIterator[Iterable[CallInfo]]:
    place: str | None = None
    while True:
        page = await store.list_calls(tenant, which, cursor=place, limit=READ_ROWS)
        yield page.items
        place = page.next
        if place is None:
            return
