"""`/v1/utterances`: one record by its id."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Depends, Request, Response

from app.access.principal import Principal, Scope
from app.api.audit import audited
from app.api.call_bodies import UtteranceDetailBody
from app.api.deps import ServicesDep, requires
from app.api.etags import NOT_MODIFIED, cached, call_etag, json_answer
from app.api.feedback import utterance_not_found
from app.api.paging import call_of, find_record
from app.api.protocol import Problem
from app.api.queries import known_query
from app.records import record_body
from app.results.store import CallNotFoundError

router = APIRouter(
    prefix="/v1/utterances",
    tags=["calls"],
    dependencies=[Depends(known_query)],
    responses={code: {"model": Problem} for code in (401, 403, 404, 422)},
)
Reader = Annotated[Principal, Depends(requires(Scope.READ_SCORES))]


@router.get(
    "/{utterance_id}",
    summary="One record",
    response_model=UtteranceDetailBody,
    responses=NOT_MODIFIED,
    dependencies=[Depends(audited("utterances.read"))],
)
async def get_utterance(
    request: Request, utterance_id: str, services: ServicesDep, principal: Reader
) -> Response:
    """The record of an utterance, `<call>.<leg>.<number>`, and where its call came from."""
    call_id = call_of(utterance_id)
    if call_id is None:
        raise utterance_not_found()
    try:
        call = await services.store.get_call(principal.tenant, call_id)
    except CallNotFoundError:
        raise utterance_not_found() from None
    etag = call_etag(request, services, call)
    unchanged = cached(request, etag)
    if unchanged is not None:
        return unchanged
    record = await find_record(services.store, principal.tenant, utterance_id)
    if record is None:
        raise utterance_not_found()
    return json_answer({**record_body(record), "line": call.line, "team": call.team}, etag)
