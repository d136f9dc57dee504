"""`/v1/retention`: how long a tenant's calls and feedback are kept."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Depends

from app.access.principal import Principal, Scope
from app.api.bodies import strict_body
from app.api.deps import Services, ServicesDep, requires
from app.api.errors import ProblemError
from app.api.privacy_bodies import RetentionBody, RetentionRequest
from app.api.protocol import Problem
from app.api.queries import known_query
from app.privacy.entries import AuditEntry
from app.privacy.retention import Periods, Policy, RetentionError

router = APIRouter(
    prefix="/v1/retention",
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


@router.get("", summary="How long calls are kept", response_model=RetentionBody)
async def get_retention(services: ServicesDep, principal: Officer) -> dict[str, Any]:
    """The tenant's policy, and what the site allows."""
    return _body(services, await services.privacy.retention.get(principal.tenant))


@router.put("", summary="Change how long calls are kept", response_model=RetentionBody)
async def put_retention(
    services: ServicesDep,
    principal: Officer,
    wish: Annotated[RetentionRequest, Depends(strict_body(RetentionRequest))],
) -> dict[str, Any]:
    """Replaces the policy. It holds for calls that end from now on; held ones that are too old now are erased.

    The change is logged before it holds.
    """
    privacy, tenant = services.privacy, principal.tenant
    policy = Policy(
        Periods(wish.calls_s, wish.feedback_s),
        {line: Periods(own.calls_s, own.feedback_s) for line, own in wish.lines.items()},
    )
    try:
        privacy.retention.check(policy)
    except RetentionError as error:
        raise ProblemError(
            422, "retention_out_of_bounds", "The site does not allow this", str(error)
        ) from None
    before = await privacy.retention.get(tenant)
    detail = {"before": before.body(), "after": policy.body()}
    now = services.clock.now()
    await privacy.audit.write(AuditEntry.by(principal, "retention.change", "*", "ok", now, detail=detail))
    await privacy.retention.put(tenant, policy)
    swept = await privacy.sweep(tenant, principal.subject, principal.key_id)
    return {**_body(services, policy), "swept": swept}


def _body(services: Services, policy: Policy) -> dict[str, Any]:
    bounds = services.privacy.retention.bounds
    return {
        **policy.body(),
        "limits": {
            "min_s": bounds.min_s,
            "calls_max_s": bounds.max_calls_s,
            "calls_default_s": bounds.default_calls_s,
            "feedback_max_s": bounds.feedback_s,
            "feedback_default_s": bounds.feedback_s,
        },
    }
