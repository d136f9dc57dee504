"""`/v1/webhook-endpoints`: where a tenant is told of its calls; `/v1/dead-letters`: what could not be delivered."""

from __future__ import annotations

import asyncio
import contextlib
import secrets
from collections.abc import Awaitable
from dataclasses import replace
from typing import Annotated, Any, TypeVar

from fastapi import APIRouter, Depends, Path, Query
from starlette.responses import Response

from app.access.principal import Principal, Scope
from app.api.audit import audited
from app.api.bodies import strict_body
from app.api.cursors import seal, unseal
from app.api.deps import Services, ServicesDep, requires
from app.api.errors import ProblemError
from app.api.hook_bodies import (
    EndpointBody,
    EndpointChange,
    LetterBody,
    LetterDetailBody,
    MadeEndpointBody,
    NewEndpoint,
    PingBody,
    RedriveBody,
    RedriveRequest,
    SecretRotation,
    endpoint_body,
    letter_body,
    letter_detail_body,
    made_endpoint_body,
    ping_body,
)
from app.api.protocol import Listing, Problem
from app.api.queries import Cursor, Limit, known_query
from app.delivery.hooks import TooManyError, WebhookEndpoint
from app.delivery.letters import DeadLetter
from app.delivery.sender import Message
from app.delivery.targets import TargetRefusedError, TargetUnknownError
from app.records import rfc3339
from app.results.documents import DocumentConflictError, DocumentNotFoundError

T = TypeVar("T")

PING = "ping"
REDRIVEN_AT_MOST = 1_000
_LOOKUP_S = 2.0
_LETTERS = "dead_letters"
_ENDPOINT = r"^we_[0-9a-f]{24}$"

Keeper = Annotated[Principal, Depends(requires(Scope.ADMIN))]
EndpointId = Annotated[str, Path(pattern=_ENDPOINT, description="The endpoint's id.")]
LetterId = Annotated[str, Path(pattern=r"^dl_[0-9]{13,16}_[0-9a-f]{16}$", description="The letter's id.")]

_PROBLEMS: dict[int | str, dict[str, Any]] = {
    status: {"model": Problem} for status in (401, 403, 422, 429, 503)
}
_NOT_FOUND: dict[int | str, dict[str, Any]] = {404: {"model": Problem}}
_CHANGED: dict[int | str, dict[str, Any]] = {status: {"model": Problem} for status in (404, 409, 415)}

router = APIRouter(prefix="/v1", tags=["webhooks"], dependencies=[Depends(known_query)], responses=_PROBLEMS)


@router.get("/webhook-endpoints", summary="Webhook endpoints", response_model=Listing[EndpointBody])
async def list_endpoints(services: ServicesDep, principal: Keeper) -> dict[str, Any]:
    """All of the tenant's, the oldest first; there are at most 50. Secrets are not shown."""
    now = services.clock.now()
    found = await services.delivery.hooks.list(principal.tenant)
    return {"items": [endpoint_body(endpoint, now) for endpoint in found], "next": None}


@router.post(
    "/webhook-endpoints",
    summary="Make a webhook endpoint",
    status_code=201,
    response_model=MadeEndpointBody,
    responses=_CHANGED,
    dependencies=[Depends(audited("webhook.create"))],
)
async def make_endpoint(
    services: ServicesDep,
    principal: Keeper,
    wanted: Annotated[NewEndpoint, Depends(strict_body(NewEndpoint))],
    response: Response,
) -> dict[str, Any]:
    """The secret that signs is shown in the answer and never again."""
    await _check_target(services, wanted.url)
    try:
        made = await services.delivery.hooks.create(
            principal.tenant,
            wanted.url,
            which=wanted.filter.filter(),
            enabled=wanted.enabled,
            description=wanted.description,
        )
    except TooManyError as error:
        raise too_many(error) from None
    response.headers["Location"] = f"/v1/webhook-endpoints/{made.id}"
    response.headers["Cache-Control"] = "no-store"
    return made_endpoint_body(made, services.clock.now())


@router.get(
    "/webhook-endpoints/{endpoint_id}",
    summary="One webhook endpoint",
    response_model=EndpointBody,
    responses=_NOT_FOUND,
)
async def get_endpoint(endpoint_id: EndpointId, services: ServicesDep, principal: Keeper) -> dict[str, Any]:
    """Without its secret."""
    found = await _known(services.delivery.hooks.get(principal.tenant, endpoint_id))
    return endpoint_body(found, services.clock.now())


@router.patch(
    "/webhook-endpoints/{endpoint_id}",
    summary="Change a webhook endpoint",
    response_model=EndpointBody,
    responses=_CHANGED,
    dependencies=[Depends(audited("webhook.change"))],
)
async def change_endpoint(
    endpoint_id: EndpointId,
    services: ServicesDep,
    principal: Keeper,
    change: Annotated[EndpointChange, Depends(strict_body(EndpointChange))],
) -> dict[str, Any]:
    """What is queued for it goes to the new URL; while it is disabled, what is due becomes dead letters."""
    if change.url is not None:
        await _check_target(services, change.url)
    work = services.delivery.hooks.change(
        principal.tenant, endpoint_id, lambda endpoint: _changed(endpoint, change)
    )
    return endpoint_body(await _known(work), services.clock.now())


@router.delete(
    "/webhook-endpoints/{endpoint_id}",
    summary="Remove a webhook endpoint",
    status_code=204,
    response_class=Response,
    responses=_NOT_FOUND,
    dependencies=[Depends(audited("webhook.delete"))],
)
async def delete_endpoint(endpoint_id: EndpointId, services: ServicesDep, principal: Keeper) -> None:
    """Also what is queued for it, and its dead letters."""
    if not await services.delivery.hooks.delete(principal.tenant, endpoint_id):
        raise endpoint_not_found()
    await services.delivery.letters.delete_all(principal.tenant, endpoint_id)


@router.post(
    "/webhook-endpoints/{endpoint_id}/rotate",
    summary="Replace an endpoint's secret",
    response_model=MadeEndpointBody,
    responses=_CHANGED,
    dependencies=[Depends(audited("webhook.rotate"))],
)
async def rotate_secret(
    endpoint_id: EndpointId,
    services: ServicesDep,
    principal: Keeper,
    how: Annotated[SecretRotation, Depends(strict_body(SecretRotation))],
    response: Response,
) -> dict[str, Any]:
    """The new secret is shown here and never again. For a while deliveries carry the old one's signature, too."""
    desk = services.delivery
    overlap_s = desk.config.rotation_overlap_s if how.overlap_s is None else float(how.overlap_s)
    rotated = await _known(desk.hooks.rotate(principal.tenant, endpoint_id, overlap_s))
    response.headers["Cache-Control"] = "no-store"
    return made_endpoint_body(rotated, services.clock.now())


@router.post(
    "/webhook-endpoints/{endpoint_id}/test",
    summary="Send a ping now",
    response_model=PingBody,
    responses=_NOT_FOUND,
    dependencies=[Depends(audited("webhook.test"))],
)
async def ping_endpoint(endpoint_id: EndpointId, services: ServicesDep, principal: Keeper) -> dict[str, Any]:
    """One attempt with an event of type `ping`, also while the endpoint is disabled; says what became of it."""
    found = await _known(services.delivery.hooks.get(principal.tenant, endpoint_id))
    now = services.clock.now()
    message = Message(f"msg_{secrets.token_hex(16)}", PING, rfc3339(now), {"endpoint_id": found.id})
    attempt = await services.delivery.sender.send(found.url, found.secrets_at(now), message)
    return ping_body(attempt)


@router.get(
    "/dead-letters",
    summary="Deliveries that were given up",
    response_model=Listing[LetterBody],
    dependencies=[Depends(audited("dead_letters.list"))],
)
async def list_letters(
    services: ServicesDep,
    principal: Keeper,
    endpoint_id: Annotated[str | None, Query(pattern=_ENDPOINT, description="Only of this endpoint.")] = None,
    cursor: Cursor = None,
    limit: Limit = 50,
) -> dict[str, Any]:
    """In the order of their events. A page may be short although more follow; `next` tells."""
    query = (_LETTERS, endpoint_id)
    page = await services.delivery.letters.list(
        principal.tenant, endpoint=endpoint_id, cursor=unseal(cursor, *query), limit=limit
    )
    return {"items": [letter_body(letter) for letter in page.items], "next": seal(page.next, *query)}


@router.post(
    "/dead-letters/redrive",
    summary="Send an endpoint's dead letters again",
    status_code=202,
    response_model=RedriveBody,
    responses=_CHANGED,
    dependencies=[Depends(audited("dead_letters.redrive"))],
)
async def redrive_letters(
    services: ServicesDep,
    principal: Keeper,
    whose: Annotated[RedriveRequest, Depends(strict_body(RedriveRequest))],
) -> dict[str, Any]:
    """At most 1,000 in one request, the oldest first."""
    await _check_enabled(services, principal.tenant, whose.endpoint_id)
    count = await services.delivery.letters.redrive_all(principal.tenant, whose.endpoint_id, REDRIVEN_AT_MOST)
    services.delivery.nudge(principal.tenant)
    return {"redriven": count, "more": count == REDRIVEN_AT_MOST}


@router.get(
    "/dead-letters/{letter_id}",
    summary="One dead letter",
    response_model=LetterDetailBody,
    responses=_NOT_FOUND,
    dependencies=[Depends(audited("dead_letters.read"))],
)
async def get_letter(letter_id: LetterId, services: ServicesDep, principal: Keeper) -> dict[str, Any]:
    """With what was to be delivered."""
    return letter_detail_body(await _letter(services, principal, letter_id))


@router.post(
    "/dead-letters/{letter_id}/redrive",
    summary="Send a dead letter again",
    status_code=202,
    response_model=LetterBody,
    responses={404: {"model": Problem}, 409: {"model": Problem}},
    dependencies=[Depends(audited("dead_letters.redrive"))],
)
async def redrive_letter(letter_id: LetterId, services: ServicesDep, principal: Keeper) -> dict[str, Any]:
    """With all tries before it; asked again while it is queued nothing happens. Once delivered, it is gone."""
    letter = await _letter(services, principal, letter_id)
    await _check_enabled(services, principal.tenant, letter.delivery.endpoint)
    await services.delivery.letters.redrive(principal.tenant, letter)
    services.delivery.nudge(principal.tenant)
    return letter_body(await _letter(services, principal, letter_id))


@router.delete(
    "/dead-letters/{letter_id}",
    summary="Remove a dead letter",
    status_code=204,
    response_class=Response,
    responses=_NOT_FOUND,
    dependencies=[Depends(audited("dead_letters.delete"))],
)
async def delete_letter(letter_id: LetterId, services: ServicesDep, principal: Keeper) -> None:
    """One that is being sent again is not sent any more, unless that is under way."""
    if not await services.delivery.letters.delete(principal.tenant, letter_id):
        raise letter_not_found()


def too_many(error: TooManyError) -> ProblemError:
    """The refusal of one more than a tenant may have."""
    return ProblemError(409, "limit_reached", "The tenant has as many as it may have", str(error))


def endpoint_not_found() -> ProblemError:
    """The answer to an endpoint that is not there."""
    return ProblemError(
        404, "endpoint_not_found", "No such webhook endpoint", "no endpoint with this id: unknown or removed"
    )


def letter_not_found() -> ProblemError:
    """The answer to a letter that is not there."""
    detail = "no letter with this id: unknown, delivered, expired or erased"
    return ProblemError(404, "dead_letter_not_found", "No such dead letter", detail)


def _changed(endpoint: WebhookEndpoint, change: EndpointChange) -> WebhookEndpoint:
    if change.url is not None:
        endpoint = replace(endpoint, url=change.url)
    if change.enabled is not None:
        endpoint = replace(endpoint, enabled=change.enabled, disabled_reason=None)
    if change.description is not None:
        endpoint = replace(endpoint, description=change.description)
    if change.filter is not None:
        endpoint = replace(endpoint, filter=change.filter.filter())
    return endpoint


async def _check_target(services: Services, url: str) -> None:
    """Refuses a URL that no delivery would go to, as far as that can be known now."""
    guard = services.delivery.guard
    try:
        target = guard.parse(url)
        # A name that is not known yet is fine: every attempt checks again.
        with contextlib.suppress(TargetUnknownError, TimeoutError):
            async with asyncio.timeout(_LOOKUP_S):
                await guard.addresses(target.host, target.port)
    except TargetRefusedError as error:
        raise ProblemError(422, "target_refused", "Deliveries may not go there", f"url: {error}") from None


async def _check_enabled(services: Services, tenant: str, endpoint_id: str) -> None:
    endpoint = await _known(services.delivery.hooks.get(tenant, endpoint_id))
    if not endpoint.enabled:
        detail = "expected an endpoint that is enabled: enable it, then try again"
        raise ProblemError(409, "endpoint_disabled", "The endpoint is disabled", detail)


async def _letter(services: Services, principal: Principal, letter_id: str) -> DeadLetter:
    try:
        return await services.delivery.letters.get(principal.tenant, letter_id)
    except DocumentNotFoundError:
        raise letter_not_found() from None


async def _known(work: Awaitable[T]) -> T:
    try:
        return await work
    except DocumentNotFoundError:
        raise endpoint_not_found() from None
    except DocumentConflictError:
        detail = "somebody else changed it at the same time; try again"
        raise ProblemError(409, "conflict", "It was changed meanwhile", detail) from None
