"""`/v1/audit`: who looked at what; and the dependency by which other routes log their reads."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Callable, Mapping
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Query
from starlette.exceptions import HTTPException
from starlette.requests import HTTPConnection

from app.access.principal import Principal, Scope
from app.api.bodies import strict_body
from app.api.cursors import seal, unseal
from app.api.deps import PrincipalDep, Services, ServicesDep, requires
from app.api.errors import ProblemError
from app.api.paging import call_of
from app.api.privacy_bodies import AuditBody, AuditCheckBody, PseudonymBody, Whose
from app.api.protocol import Listing, Problem
from app.api.queries import PAGE_MAX, Cursor, known_query
from app.api.times import SpanDep
from app.privacy.audit import AuditFullError
from app.privacy.entries import AuditEntry, AuditQuery
from app.results.store import BadCursorError, CallNotFoundError, StoreError

AT_START = frozenset({"export", "events.subscribe"})
"""What may take long, and is logged when it begins; everything else when it is done, with how it ended."""
EVERYTHING = "*"
_PLAIN = re.compile(r"[A-Za-z0-9._~-]{1,128}")
_ACTION = r"^[a-z_]{1,32}(\.[a-z_]{1,32})?$"
_OBJECT = r"^([a-z_]{1,32}:[A-Za-z0-9._~-]{1,128}|\*)$"
_NUMBER = r"^[0-9]{1,15}$"


def audited(action: str) -> Callable[..., AsyncIterator[None]]:
    """A dependency: logs that this principal did this to what the path names.

    Use as `dependencies=[Depends(audited("calls.read"))]`. Repeats within a minute become one entry with their count.
    A request that cannot be logged is refused before anything is read (503 `audit_unavailable`).

    Args:
        action: a static name, `<what>.<verb>`.
    """

    async def log(
        connection: HTTPConnection, principal: PrincipalDep, services: ServicesDep
    ) -> AsyncIterator[None]:
        audit = services.privacy.audit
        try:
            audit.check_room()
        except AuditFullError:
            raise audit_unavailable() from None
        about = object_of(services, principal, connection)

        def note(outcome: str) -> None:
            audit.note(AuditEntry.by(principal, action, about, outcome, services.clock.now()))

        if action in AT_START:
            note("started")
            yield
            return
        try:
            yield
        except Exception as error:
            note(outcome_of(error))
            raise
        note("ok")

    return log


def object_of(services: Services, principal: Principal, connection: HTTPConnection) -> str:
    """What a request is about, as the log names it: calls as pseudonyms, what names nobody as it is."""
    named: Mapping[str, str] = {**connection.query_params, **connection.path_params}
    call_id = named.get("call_id") or call_of(named.get("utterance_id", ""))
    if call_id is not None:
        return services.privacy.secrets.pseudonym(principal.tenant, "call", call_id)
    for name, value in connection.path_params.items():
        kind = name.removesuffix("_id")
        return f"{kind}:{value}" if _PLAIN.fullmatch(str(value)) else EVERYTHING
    return EVERYTHING


def outcome_of(error: Exception) -> str:
    """How a request ended that was not answered as asked."""
    status = 500
    if isinstance(error, ProblemError):
        status = error.status
    elif isinstance(error, HTTPException):
        status = error.status_code
    elif isinstance(error, CallNotFoundError):
        status = 404
    elif isinstance(error, BadCursorError):
        status = 422
    elif isinstance(error, StoreError):
        status = 503
    return {401: "denied", 403: "denied", 404: "not_found"}.get(
        status, "refused" if status < 500 else "failed"
    )


def audit_unavailable() -> ProblemError:
    """The refusal of what cannot be logged."""
    return ProblemError(
        503,
        "audit_unavailable",
        "Nothing can be read that cannot be logged",
        "the audit log cannot be written and no more can wait; try again",
        {"Retry-After": "5"},
    )


router = APIRouter(
    prefix="/v1/audit",
    tags=["privacy"],
    dependencies=[Depends(known_query)],
    responses={
        401: {"model": Problem},
        403: {"model": Problem},
        422: {"model": Problem},
        503: {"model": Problem},
    },
)
Officer = Annotated[Principal, Depends(requires(Scope.ADMIN))]


@router.get(
    "",
    summary="Who did what, latest first",
    response_model=Listing[AuditBody],
    dependencies=[Depends(audited("audit.read"))],
)
async def list_audit(
    services: ServicesDep,
    principal: Officer,
    span: SpanDep,
    action: Annotated[str | None, Query(pattern=_ACTION, description="Only this action.")] = None,
    object: Annotated[
        str | None,
        Query(
            pattern=_OBJECT,
            description="Only on this object; `POST /v1/audit/pseudonym` names calls and subjects.",
        ),
    ] = None,
    cursor: Cursor = None,
    limit: Annotated[int, Query(ge=1, le=PAGE_MAX, description="Most items on the page.")] = 50,
) -> dict[str, Any]:
    """One page of the tenant's log. Calls and subjects are pseudonyms. A page may be short although more follow."""
    query = ("audit", action, object, span.since, span.until)
    which = AuditQuery(action, object, span.since, span.until)
    before = _number(unseal(cursor, *query))
    entries, following = await services.privacy.audit.read(
        principal.tenant, which, before=before, limit=limit
    )
    place = None if following is None else str(following)
    items = [{"number": entry.number, **entry.value} for entry in entries]
    return {"items": items, "next": seal(place, *query)}


@router.get(
    "/verify",
    summary="Whether the log is whole",
    response_model=AuditCheckBody,
    responses={404: {"model": Problem}},
)
async def verify_audit(
    services: ServicesDep,
    principal: Officer,
    after: Annotated[
        int, Query(ge=0, le=10**15, description="Begin after this entry: the `last` of an earlier answer.")
    ] = 0,
) -> dict[str, Any]:
    """Checks that no entry was changed or taken out. Long logs are checked in parts: ask again until `complete`."""
    try:
        check, complete = await services.privacy.audit.verify(principal.tenant, after=after)
    except KeyError:
        raise ProblemError(
            404, "audit_entry_not_found", "No such entry", "after: expected an entry that is held"
        ) from None
    return {
        "valid": check.broken_at is None,
        "complete": complete,
        "entries": check.entries,
        "first": check.first,
        "last": check.last,
        "head": check.head,
        "broken_at": check.broken_at,
        "why": check.why,
    }


@router.post("/pseudonym", summary="How the log names a call or a subject", response_model=PseudonymBody)
async def name_object(
    services: ServicesDep, principal: Officer, whose: Annotated[Whose, Depends(strict_body(Whose))]
) -> dict[str, str]:
    """The pseudonym by which a known call or subject is found in the log and in receipts. It is not logged who asks."""
    kind, text = ("call", whose.call_id) if whose.call_id is not None else ("subject", whose.subject)
    return {"object": services.privacy.secrets.pseudonym(principal.tenant, kind, text or "")}


def _number(place: str | None) -> int | None:
    if place is None:
        return None
    if not re.fullmatch(_NUMBER, place):
        raise BadCursorError("not a cursor of this list")
    return int(place)
