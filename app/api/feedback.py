"""What people say of utterances: labels, kept for retraining with a copy of the scores, never with audio."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Query, Response

from app.access.principal import Principal, Scope
from app.api.audit import audited
from app.api.bodies import strict_body
from app.api.cursors import seal, unseal
from app.api.deps import Services, ServicesDep, requires
from app.api.errors import ProblemError
from app.api.feedback_bodies import (
    LABELLER_CHARS,
    PRINTABLE,
    FeedbackBody,
    FeedbackRequest,
    feedback_body,
    feedback_value,
)
from app.api.paging import call_of, find_record
from app.api.protocol import Listing, Problem
from app.api.queries import CALL_ID, Cursor, Limit, known_query
from app.results.documents import Document
from app.results.store import CallNotFoundError, Page

FEEDBACK = "feedback"
"""The kind of documents that labels are."""
_MAX_READS = 20

router = APIRouter(
    prefix="/v1",
    tags=["feedback"],
    dependencies=[Depends(known_query)],
    responses={401: {"model": Problem}, 403: {"model": Problem}, 422: {"model": Problem}},
)
_NOT_FOUND: dict[int | str, dict[str, Any]] = {404: {"model": Problem}}
Reader = Annotated[Principal, Depends(requires(Scope.READ_SCORES))]
Labeller = Annotated[Principal, Depends(requires(Scope.LABEL))]


@router.post(
    "/utterances/{utterance_id}/feedback",
    summary="Label an utterance",
    status_code=201,
    response_model=FeedbackBody,
    responses={
        **_NOT_FOUND,
        200: {"model": FeedbackBody, "description": "An earlier label was replaced."},
        415: {"model": Problem},
    },
)
async def give_feedback(
    utterance_id: str,
    services: ServicesDep,
    principal: Labeller,
    given: Annotated[FeedbackRequest, Depends(strict_body(FeedbackRequest))],
    response: Response,
) -> Any:
    """Keeps a person's label, with a copy of the record, for retraining. The last one of a labeller holds."""
    _check_label(services, given.label)
    labeller = _labeller(given.labeller, principal)
    tenant = principal.tenant
    record = await find_record(services.store, tenant, utterance_id)
    if record is None:
        raise utterance_not_found()
    call = await services.store.get_call(tenant, record.call_id)
    key = feedback_key(utterance_id, labeller)
    document = await services.documents.put(
        tenant,
        FEEDBACK,
        key,
        feedback_value(given, labeller, services.clock.now(), record, call),
        ttl_s=await services.privacy.retention.feedback_ttl_for(tenant, call.line),
        call_id=record.call_id,
    )
    try:
        await services.store.get_call(tenant, record.call_id)
    except CallNotFoundError:
        # The call was erased while its record was being copied: the erasure must not have missed the copy.
        await services.documents.delete(tenant, FEEDBACK, key)
        raise
    if document.version > 1:
        response.status_code = 200
    return feedback_body(document)


@router.get(
    "/utterances/{utterance_id}/feedback",
    summary="The labels of an utterance",
    dependencies=[Depends(audited("feedback.read"))],
    response_model=Listing[FeedbackBody],
    responses=_NOT_FOUND,
)
async def list_feedback_of(
    utterance_id: str, services: ServicesDep, principal: Reader, cursor: Cursor = None, limit: Limit = 50
) -> Any:
    """One page of what people said of it; also when the call's own records have expired."""
    call_id = call_of(utterance_id)
    if call_id is None:
        raise utterance_not_found()
    query = (FEEDBACK, utterance_id)
    page = await _page(
        services,
        principal.tenant,
        unseal(cursor, *query),
        limit,
        call_id=call_id,
        wanted=lambda document: document.value["utterance_id"] == utterance_id,
    )
    unlabelled = not page.items and cursor is None
    if unlabelled and await find_record(services.store, principal.tenant, utterance_id) is None:
        raise utterance_not_found()
    return {"items": [feedback_body(item) for item in page.items], "next": seal(page.next, *query)}


@router.get(
    "/feedback",
    summary="Every label",
    response_model=Listing[FeedbackBody],
    dependencies=[Depends(audited("feedback.read"))],
)
async def list_feedback(
    services: ServicesDep,
    principal: Reader,
    call_id: Annotated[str | None, Query(pattern=f"^{CALL_ID}$", description="Only of this call.")] = None,
    cursor: Cursor = None,
    limit: Limit = 50,
) -> Any:
    """One page of the labels that are kept, by utterance and labeller. `/v1/exports/feedback` gives them as a file."""
    query = (FEEDBACK, "", call_id)
    page = await _page(services, principal.tenant, unseal(cursor, *query), limit, call_id=call_id)
    return {"items": [feedback_body(item) for item in page.items], "next": seal(page.next, *query)}


@router.delete(
    "/utterances/{utterance_id}/feedback",
    summary="Take a label back",
    status_code=204,
    response_class=Response,
    responses=_NOT_FOUND,
)
async def delete_feedback(
    utterance_id: str,
    services: ServicesDep,
    principal: Labeller,
    labeller: Annotated[
        str | None,
        Query(
            max_length=LABELLER_CHARS,
            pattern=PRINTABLE,
            description="Whose label; without it, that of whoever the credentials name.",
        ),
    ] = None,
) -> None:
    """Removes one labeller's label of an utterance."""
    if call_of(utterance_id) is None:
        raise utterance_not_found()
    key = feedback_key(utterance_id, _labeller(labeller, principal))
    if not await services.documents.delete(principal.tenant, FEEDBACK, key):
        raise ProblemError(
            404, "feedback_not_found", "No such label", "no label of this utterance by this labeller"
        )


def feedback_key(utterance_id: str, labeller: str) -> str:
    """The key of a label's document: at most 256 characters, as ids of utterances have at most 155."""
    return f"{utterance_id}:{labeller}"


def utterance_not_found() -> ProblemError:
    """The answer to an utterance that is not held, or never was, or belongs to somebody else."""
    return ProblemError(
        404,
        "utterance_not_found",
        "No such utterance",
        "no utterance with this id: unknown, expired or erased",
    )


async def _page(
    services: Services,
    tenant: str,
    place: str | None,
    limit: int,
    *,
    call_id: str | None,
    wanted: Callable[[Document], bool] = lambda _: True,
) -> Page[Document]:
    """A page with something on it, unless that takes too many reads."""
    items: list[Document] = []
    for _ in range(_MAX_READS):
        page = await services.documents.list(tenant, FEEDBACK, cursor=place, limit=limit, call_id=call_id)
        items = [document for document in page.items if wanted(document)]
        place = page.next
        if items or place is None:
            break
    return Page(tuple(items), place)


def _check_label(services: Services, label: str) -> None:
    categories = services.engine.categories
    pattern = services.settings.labels.pattern
    if label in categories or (pattern is not None and re.fullmatch(pattern, label)):
        return
    also = "" if pattern is None else ", or what the site's own pattern takes"
    raise ProblemError(
        422, "unknown_label", "The label is unknown", f"label: expected one of {', '.join(categories)}{also}"
    )


def _labeller(given: str | None, principal: Principal) -> str:
    labeller = given or principal.subject
    if len(labeller) > LABELLER_CHARS or not re.search(PRINTABLE, labeller):
        raise ProblemError(
            422,
            "labeller_needed",
            "It is not clear who labels",
            f"expected `labeller`: the credentials name nobody in 1 to {LABELLER_CHARS} printable characters",
        )
    return labeller
