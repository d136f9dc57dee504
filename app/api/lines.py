"""`/v1/lines`: line profiles, listed, exported, imported, frozen and reset."""

from __future__ import annotations

from collections.abc import Awaitable
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Path
from pydantic import BaseModel

from app.access.principal import Principal, Scope
from app.api.bodies import strict_body
from app.api.cursors import seal, unseal
from app.api.deps import Services, ServicesDep, requires
from app.api.errors import ProblemError
from app.api.privacy_bodies import ProfileBody
from app.api.protocol import LineBody, Listing, Problem
from app.api.queries import NAME, Cursor, Limit, known_query
from app.inference.line_profile import LineProfile, ProfileError
from app.lines import FrozenBySettingsError, LineNotFoundError
from app.privacy.entries import AuditEntry

_LIST = "lines"
_DETAIL_CHARS = 200

router = APIRouter(
    prefix="/v1/lines",
    tags=["lines"],
    dependencies=[Depends(known_query)],
    responses={401: {"model": Problem}, 403: {"model": Problem}, 422: {"model": Problem}},
)
Reader = Annotated[Principal, Depends(requires(Scope.READ_STATS))]
Keeper = Annotated[Principal, Depends(requires(Scope.ADMIN))]
Line = Annotated[str, Path(pattern=NAME, description="The line's name.")]
_NOT_FOUND: dict[int | str, dict[str, Any]] = {404: {"model": Problem}}
_CHANGED: dict[int | str, dict[str, Any]] = {**_NOT_FOUND, 409: {"model": Problem}, 503: {"model": Problem}}


@router.get("", summary="Line profiles", response_model=Listing[LineBody])
async def list_lines(
    services: ServicesDep, principal: Reader, cursor: Cursor = None, limit: Limit = 50
) -> dict[str, Any]:
    """One page of the lines that were ever heard, by name. A profile holds nothing about a person."""
    page = await services.lines.page(principal.tenant, cursor=unseal(cursor, _LIST), limit=limit)
    items = [services.engine.line_body(profile) for profile in page.items]
    return {"items": items, "next": seal(page.next, _LIST)}


@router.get("/{line}", summary="One line", response_model=LineBody, responses=_NOT_FOUND)
async def get_line(line: Line, services: ServicesDep, principal: Reader) -> dict[str, Any]:
    """How much a line's profile holds, and how far it is from the population."""
    return services.engine.line_body(await _known(services.lines.get(principal.tenant, line)))


@router.get("/{line}/profile", summary="Export a profile", response_model=ProfileBody, responses=_NOT_FOUND)
async def export_profile(line: Line, services: ServicesDep, principal: Reader) -> dict[str, Any]:
    """Everything the profile is, to be kept or imported elsewhere (`PUT`, or `score --profile` on the command line)."""
    profile = await _known(services.lines.get(principal.tenant, line))
    return profile.to_json(services.engine.parts.profiles.model)


@router.put(
    "/{line}/profile",
    summary="Import a profile",
    response_model=LineBody,
    responses={**_CHANGED, 415: {"model": Problem}},
)
async def import_profile(
    line: Line,
    services: ServicesDep,
    principal: Keeper,
    given: Annotated[ProfileBody, Depends(strict_body(ProfileBody))],
) -> dict[str, Any]:
    """Puts an exported profile in the place of the line's; what processes learned meanwhile is dropped."""
    return await _change(
        services,
        principal,
        "line.import",
        line,
        services.lines.install(principal.tenant, line, _plain(given)),
    )


@router.post("/{line}/freeze", summary="Stop a line's learning", response_model=LineBody, responses=_CHANGED)
async def freeze(line: Line, services: ServicesDep, principal: Keeper) -> dict[str, Any]:
    """The profile stays as it is. Other processes hear of it within seconds; what they learn until then is dropped."""
    work = services.lines.set_frozen(principal.tenant, line, True)
    return await _change(services, principal, "line.freeze", line, work)


@router.post("/{line}/unfreeze", summary="Let a line learn", response_model=LineBody, responses=_CHANGED)
async def unfreeze(line: Line, services: ServicesDep, principal: Keeper) -> dict[str, Any]:
    """Goes on where the profile stopped. A line that the settings freeze stays frozen (409)."""
    work = services.lines.set_frozen(principal.tenant, line, False)
    return await _change(services, principal, "line.unfreeze", line, work)


@router.post(
    "/{line}/reset", summary="Forget what a line learned", response_model=LineBody, responses=_CHANGED
)
async def reset(line: Line, services: ServicesDep, principal: Keeper) -> dict[str, Any]:
    """The line learns anew from nothing, also where it was frozen."""
    return await _change(
        services, principal, "line.reset", line, services.lines.reset(principal.tenant, line)
    )


async def _change(
    services: Services, principal: Principal, action: str, line: str, work: Awaitable[LineProfile]
) -> dict[str, Any]:
    profile = await _known(work)
    now = services.clock.now()
    await services.privacy.audit.write(AuditEntry.by(principal, action, f"line:{line}", "ok", now))
    return services.engine.line_body(profile)


async def _known(work: Awaitable[LineProfile]) -> LineProfile:
    try:
        return await work
    except LineNotFoundError:
        raise ProblemError(
            404, "line_not_found", "No such line", "expected a line on which a call was scored"
        ) from None
    except FrozenBySettingsError:
        raise ProblemError(
            409,
            "line_frozen_by_settings",
            "The settings freeze this line",
            "expected a line without profile_frozen in KOWAIRO_LINES",
        ) from None
    except ProfileError as error:
        detail = str(error)[:_DETAIL_CHARS]
        raise ProblemError(422, "invalid_profile", "The profile cannot be used", detail) from None


def _plain(given: BaseModel) -> dict[str, Any]:
    return given.model_dump()
