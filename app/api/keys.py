"""`/v1/keys`: API keys, made, listed, rotated and revoked by whoever has the scope `admin`.

A tenant's own administrators see and make keys of their tenant, with scopes that they have themselves; who looks after
all tenants (a plain site key, or a key of the tenant `_site`) those of every one. Keys of the keys file are not here:
the file is theirs.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from typing import Annotated, Literal

from fastapi import APIRouter, Depends, Path, Query
from pydantic import AwareDatetime, BaseModel, ConfigDict, Field
from starlette.responses import Response

from app.access.keys import SITE_TENANT, KeyFormatError, KeyRecord, known_tenant, new_key, timestamp
from app.access.principal import Principal, Scope
from app.api.audit import audited
from app.api.auth import looks_after_all
from app.api.bodies import strict_body
from app.api.cursors import seal, unseal
from app.api.deps import Services, ServicesDep, requires
from app.api.errors import ProblemError
from app.api.keydesk import KEPT_S, MAX_KEYS, TooManyKeysError
from app.api.protocol import Problem
from app.api.queries import Cursor, Limit, known_query

MAX_OVERLAP_S = int(KEPT_S)
_NAME = r"^[A-Za-z0-9 ._:@+-]{1,64}$"
_TENANT = r"^([A-Za-z0-9][A-Za-z0-9._-]{0,63}|_site)$"

AdminDep = Annotated[Principal, Depends(requires(Scope.ADMIN))]
KeyId = Annotated[str, Path(pattern=r"^[a-z2-7]{16}$", description="The part after `kw_`.")]
TenantQuery = Annotated[
    str | None, Query(pattern=_TENANT, description="Only of this tenant; yours where it is left out.")
]

router = APIRouter(
    prefix="/v1/keys",
    tags=["keys"],
    dependencies=[Depends(known_query)],
    responses={status: {"model": Problem} for status in (401, 403, 422, 429, 503)},
)


class NewKey(BaseModel):
    """A key to be made. tenant: yours where it is left out. expires_at: null for a key that is to be revoked."""

    model_config = ConfigDict(extra="forbid", strict=True)

    name: str = Field(pattern=_NAME, examples=["crm"])
    scopes: list[Scope] = Field(min_length=1, max_length=len(Scope), examples=[["read:scores"]])
    tenant: str | None = Field(default=None, pattern=_TENANT)
    expires_at: AwareDatetime | None = Field(default=None, examples=["2099-01-31T00:00:00Z"])


class Rotation(BaseModel):
    """How a key is replaced. overlap_s: how long the old one holds beside the new one."""

    model_config = ConfigDict(extra="forbid", strict=True)

    overlap_s: int = Field(default=86_400, ge=0, le=MAX_OVERLAP_S)
    expires_at: AwareDatetime | None = Field(
        default=None, description="Null: it holds as long as the old one did."
    )


class KeyBody(BaseModel):
    """What is kept of a key."""

    key_id: str
    tenant: str
    name: str
    scopes: list[Scope]
    state: Literal["valid", "expired", "revoked"]
    created_at: str
    expires_at: str | None
    revoked_at: str | None


class MadeKeyBody(KeyBody):
    """A new key. key: the key itself, shown here and never again."""

    key: str


class KeyPage(BaseModel):
    """One page of keys; `next` asks for the one after it."""

    items: list[KeyBody]
    next: str | None


@router.get("", summary="The keys of a tenant", response_model=KeyPage)
async def list_keys(
    services: ServicesDep,
    principal: AdminDep,
    tenant: TenantQuery = None,
    cursor: Cursor = None,
    limit: Limit = 50,
) -> KeyPage:
    """Keys by id, those that no longer hold included (for 30 days). Who looks after all tenants sees all of them."""
    of = tenant
    if not looks_after_all(principal):
        of = _own(principal, tenant)
    page = await services.access.desk.list(of, cursor=unseal(cursor, of), limit=limit)
    now = services.clock.now()
    return KeyPage(items=[_body(record, now) for record in page.items], next=seal(page.next, of))


@router.post(
    "",
    summary="Make a key",
    status_code=201,
    response_model=MadeKeyBody,
    dependencies=[Depends(audited("key.create"))],
    responses={409: {"model": Problem}},
)
async def make_key(
    services: ServicesDep,
    principal: AdminDep,
    wanted: Annotated[NewKey, Depends(strict_body(NewKey))],
    response: Response,
) -> MadeKeyBody:
    """The key is shown in the answer and never again; what is kept does not tell it."""
    tenant = wanted.tenant or principal.tenant
    if not looks_after_all(principal):
        tenant = _own(principal, wanted.tenant)
        _need_scopes(principal, wanted.scopes)
    elif tenant == SITE_TENANT and set(wanted.scopes) != {Scope.ADMIN}:
        raise _invalid("scopes: a key of the site's own tenant can only have `admin`, for it has no calls")
    expires_at = _seconds(wanted.expires_at)
    made = _new(services, known_tenant(tenant, site=True), wanted.name, wanted.scopes, principal, expires_at)
    return await _kept(services, made, response)


@router.get("/{key_id}", summary="One key", response_model=KeyBody, responses={404: {"model": Problem}})
async def get_key(services: ServicesDep, principal: AdminDep, key_id: KeyId) -> KeyBody:
    """What is kept of a key."""
    return _body(await _visible(services, principal, key_id), services.clock.now())


@router.post(
    "/{key_id}/rotate",
    summary="Replace a key",
    status_code=201,
    response_model=MadeKeyBody,
    dependencies=[Depends(audited("key.rotate"))],
    responses={404: {"model": Problem}, 409: {"model": Problem}},
)
async def rotate_key(
    services: ServicesDep,
    principal: AdminDep,
    key_id: KeyId,
    how: Annotated[Rotation, Depends(strict_body(Rotation))],
    response: Response,
) -> MadeKeyBody:
    """A new key of the same tenant, name and scopes; the old one goes on to hold for `overlap_s`."""
    now = services.clock.now()
    old = await _visible(services, principal, key_id)
    if _state(old, now) != "valid":
        raise ProblemError(
            409,
            "key_not_valid",
            "The key does not hold any more",
            "expected a valid key: make a new one instead",
        )
    if not looks_after_all(principal):
        _need_scopes(principal, old.scopes)
    expires_at = _seconds(how.expires_at)
    if expires_at is None and old.expires_at is not None:
        expires_at = now + old.expires_at - old.created_at
    made = _new(services, old.tenant, old.name, old.scopes, principal, expires_at)
    body = await _kept(services, made, response)
    await services.access.desk.change(key_id, lambda key: key.ending(now + how.overlap_s))
    services.access.forget(key_id)
    return body


@router.delete(
    "/{key_id}",
    summary="Revoke a key",
    status_code=204,
    dependencies=[Depends(audited("key.revoke"))],
    responses={404: {"model": Problem}},
)
async def revoke_key(services: ServicesDep, principal: AdminDep, key_id: KeyId) -> None:
    """The key no longer opens anything: at once here, and within 5 seconds in every other process."""
    await _visible(services, principal, key_id)
    await services.access.desk.revoke(key_id)
    services.access.forget(key_id)


async def _visible(services: Services, principal: Principal, key_id: str) -> KeyRecord:
    """A key that somebody may look after; one of another tenant is one that there is not."""
    record = await services.access.desk.get(key_id)
    if record is None or not (looks_after_all(principal) or record.tenant == principal.tenant):
        raise ProblemError(
            404,
            "key_not_found",
            "No such key",
            "no key with this id: unknown, long ended, or of the keys file",
        )
    return record


def _new(
    services: Services,
    tenant: str,
    name: str,
    scopes: Iterable[Scope],
    maker: Principal,
    expires_at: float | None,
) -> tuple[str, KeyRecord]:
    try:
        return new_key(
            tenant,
            name,
            scopes,
            now=services.clock.now(),
            expires_at=expires_at,
            made_by=maker.key_id,
        )
    except KeyFormatError as error:
        raise _invalid(str(error)) from None


async def _kept(services: Services, made: tuple[str, KeyRecord], response: Response) -> MadeKeyBody:
    key, record = made
    try:
        await services.access.desk.add(record)
    except TooManyKeysError:
        raise ProblemError(
            409,
            "too_many_keys",
            "The tenant has too many keys",
            f"expected at most {MAX_KEYS}, ended ones included",
        ) from None
    response.headers["Location"] = f"{router.prefix}/{record.key_id}"
    return MadeKeyBody(key=key, **_body(record, services.clock.now()).model_dump())


def _own(principal: Principal, tenant: str | None) -> str:
    if tenant not in (None, principal.tenant):
        raise ProblemError(
            403, "foreign_tenant", "The tenant is another one", "expected your own tenant, or none"
        )
    return principal.tenant


def _need_scopes(principal: Principal, scopes: Iterable[Scope]) -> None:
    """Nobody gives away what they do not have."""
    missing = [scope for scope in scopes if not principal.may(scope)]
    if missing:
        raise ProblemError(
            403,
            "missing_scope",
            "The credentials do not reach so far",
            f"expected scopes that you have yourself; you lack {', '.join(sorted(missing))}",
        )


def _body(record: KeyRecord, now: float) -> KeyBody:
    return KeyBody(
        key_id=record.key_id,
        tenant=record.tenant,
        name=record.name,
        scopes=sorted(record.scopes),
        state=_state(record, now),
        created_at=timestamp(record.created_at),
        expires_at=None if record.expires_at is None else timestamp(record.expires_at),
        revoked_at=None if record.revoked_at is None else timestamp(record.revoked_at),
    )


def _state(record: KeyRecord, now: float) -> Literal["valid", "expired", "revoked"]:
    if record.revoked_at is not None:
        return "revoked"
    return "expired" if record.expires_at is not None and now >= record.expires_at else "valid"


def _seconds(moment: datetime | None) -> float | None:
    return None if moment is None else moment.timestamp()


def _invalid(detail: str) -> ProblemError:
    return ProblemError(422, "invalid_request", "The request has a wrong value", detail)
