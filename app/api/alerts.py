"""`/v1/alert-rules`: when alerts are raised; `/v1/alerts`: those that were."""

from __future__ import annotations

from collections.abc import Awaitable
from typing import Annotated, Any, TypeVar

from fastapi import APIRouter, Depends, Path, Query
from starlette.responses import Response

from app.access.principal import Principal, Scope
from app.api.alert_bodies import AlertBody, RuleBody, RuleRequest, rule_body
from app.api.audit import audited
from app.api.bodies import strict_body
from app.api.cursors import seal, unseal
from app.api.deps import Services, ServicesDep, requires
from app.api.errors import ProblemError
from app.api.hooks import too_many
from app.api.protocol import Listing, Problem
from app.api.queries import CALL_ID, Cursor, Limit, known_query
from app.delivery.alerts import RuleKind
from app.delivery.desk import ALERT
from app.delivery.hooks import TooManyError
from app.results.documents import DocumentConflictError, DocumentNotFoundError
from app.results.store import BadCursorError, FeedEntry

T = TypeVar("T")

_LIST = "alerts"
_RULE = r"^ar_[0-9a-f]{24}$"
_WINDOW = 500
_WINDOWS = 20
"""At most so many windows of the feed are searched for one page."""
_BEYOND = 1 << 52

Keeper = Annotated[Principal, Depends(requires(Scope.ADMIN))]
Reader = Annotated[Principal, Depends(requires(Scope.READ_SCORES))]
RuleId = Annotated[str, Path(pattern=_RULE, description="The rule's id.")]
_NOT_FOUND: dict[int | str, dict[str, Any]] = {404: {"model": Problem}}

router = APIRouter(
    prefix="/v1",
    tags=["alerts"],
    dependencies=[Depends(known_query)],
    responses={status: {"model": Problem} for status in (401, 403, 422, 429, 503)},
)


@router.get(
    "/alert-rules",
    summary="Alert rules",
    response_model=Listing[RuleBody],
)
async def list_rules(services: ServicesDep, principal: Keeper) -> dict[str, Any]:
    """All of the tenant's, the oldest first; there are at most 100."""
    rules = await services.delivery.rules.list(principal.tenant)
    return {"items": [rule_body(rule) for rule in rules], "next": None}


@router.post(
    "/alert-rules",
    summary="Make an alert rule",
    status_code=201,
    response_model=RuleBody,
    responses={409: {"model": Problem}, 415: {"model": Problem}},
    dependencies=[Depends(audited("alert_rule.create"))],
)
async def make_rule(
    services: ServicesDep,
    principal: Keeper,
    wanted: Annotated[RuleRequest, Depends(strict_body(RuleRequest))],
    response: Response,
) -> dict[str, Any]:
    """It holds for records that are made from now on, within seconds in every process."""
    body = _checked(services, wanted)
    try:
        rule = await services.delivery.rules.create(principal.tenant, body)
    except TooManyError as error:
        raise too_many(error) from None
    response.headers["Location"] = f"/v1/alert-rules/{rule.id}"
    return rule_body(rule)


@router.get("/alert-rules/{rule_id}", summary="One alert rule", response_model=RuleBody, responses=_NOT_FOUND)
async def get_rule(rule_id: RuleId, services: ServicesDep, principal: Keeper) -> dict[str, Any]:
    """As it holds."""
    return rule_body(await _known(services.delivery.rules.get(principal.tenant, rule_id)))


@router.put(
    "/alert-rules/{rule_id}",
    summary="Replace an alert rule",
    response_model=RuleBody,
    responses={status: {"model": Problem} for status in (404, 409, 415)},
    dependencies=[Depends(audited("alert_rule.change"))],
)
async def replace_rule(
    rule_id: RuleId,
    services: ServicesDep,
    principal: Keeper,
    wanted: Annotated[RuleRequest, Depends(strict_body(RuleRequest))],
) -> dict[str, Any]:
    """Whole. In live calls it begins anew, unless only its name changed."""
    body = _checked(services, wanted)
    return rule_body(await _known(services.delivery.rules.replace(principal.tenant, rule_id, body)))


@router.delete(
    "/alert-rules/{rule_id}",
    summary="Remove an alert rule",
    status_code=204,
    response_class=Response,
    responses=_NOT_FOUND,
    dependencies=[Depends(audited("alert_rule.delete"))],
)
async def delete_rule(rule_id: RuleId, services: ServicesDep, principal: Keeper) -> None:
    """Alerts that it raised stay."""
    if not await services.delivery.rules.delete(principal.tenant, rule_id):
        raise _rule_not_found()


@router.get(
    "/alerts",
    summary="Alerts, latest first",
    response_model=Listing[AlertBody],
    dependencies=[Depends(audited("alerts.read"))],
)
async def list_alerts(
    services: ServicesDep,
    principal: Reader,
    call_id: Annotated[str | None, Query(pattern=f"^{CALL_ID}$", description="Only of this call.")] = None,
    kind: Annotated[RuleKind | None, Query(description="Only of rules of this kind.")] = None,
    rule_id: Annotated[str | None, Query(pattern=_RULE, description="Only of this rule.")] = None,
    cursor: Cursor = None,
    limit: Limit = 50,
) -> dict[str, Any]:
    """From the tenant's feed, as far back as it goes. A page may be short although more follow; `next` tells."""
    query = (_LIST, call_id, kind, rule_id)
    wanted = {"call_id": call_id, "kind": kind, "rule_id": rule_id}
    wanted = {name: value for name, value in wanted.items() if value is not None}
    place = unseal(cursor, *query)
    upto = await _newest(services, principal.tenant) if place is None else _position(place)
    found, left = await _search(services, principal.tenant, wanted, upto, limit)
    items = [{"position": entry.position, **entry.body} for entry in found]
    return {"items": items, "next": seal(None if left is None else str(left), *query)}


async def _search(
    services: Services, tenant: str, wanted: dict[str, Any], upto: int, limit: int
) -> tuple[list[FeedEntry], int | None]:
    """The latest alerts at positions up to `upto`, and up to where others may lie."""
    found: list[FeedEntry] = []
    for _ in range(_WINDOWS):
        after = max(0, upto - _WINDOW)
        window = await services.store.read_feed(tenant, after=after, limit=upto - after)
        for entry in reversed(window.items):
            if entry.position > upto or entry.type != ALERT:
                continue
            if all(entry.body.get(name) == value for name, value in wanted.items()):
                found.append(entry)
                if len(found) == limit:
                    return found, entry.position - 1 if entry.position > window.first else None
        upto = after
        if upto < window.first:
            return found, None
    return found, upto


async def _newest(services: Services, tenant: str) -> int:
    return (await services.store.read_feed(tenant, after=_BEYOND, limit=1)).last


def _position(place: str) -> int:
    if not place.isascii() or not place.isdigit() or len(place) > len(str(_BEYOND)):
        raise BadCursorError("not a cursor of this list")
    return int(place)


def _checked(services: Services, wanted: RuleRequest) -> dict[str, Any]:
    """The rule, if the head in service knows its emotion: a misspelt one would never raise anything."""
    body = wanted.plain()
    categories = services.engine.categories
    emotion = body.get("emotion")
    if emotion is not None and emotion not in categories:
        detail = f"emotion: expected one of {', '.join(categories)}"
        raise ProblemError(422, "unknown_emotion", "The emotion is unknown", detail)
    return body


def _rule_not_found() -> ProblemError:
    return ProblemError(
        404, "alert_rule_not_found", "No such alert rule", "no rule with this id: unknown or removed"
    )


async def _known(work: Awaitable[T]) -> T:
    try:
        return await work
    except DocumentNotFoundError:
        raise _rule_not_found() from None
    except DocumentConflictError:
        detail = "somebody else changed it at the same time; try again"
        raise ProblemError(409, "conflict", "It was changed meanwhile", detail) from None
