"""Webhook endpoints: where a tenant wants to be told what, and the secrets that sign it."""

from __future__ import annotations

import secrets as randomness
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from app.delivery.cache import TenantCache
from app.delivery.signing import new_secret
from app.results.documents import Document, DocumentConflictError, DocumentStore
from app.telemetry.clock import Clock

KIND = "webhook"
"""Of the documents."""
MAX_ENDPOINTS = 50
MAX_OLD_SECRETS = 2
EVENT_TYPES = ("call_started", "call_continued", "utterance", "call_ended", "call_erased", "alert")
_CHANGE_TRIES = 5


class TooManyError(Exception):
    """A tenant's bound is reached; the message names it."""


@dataclass(frozen=True, slots=True)
class Filter:
    """What an endpoint is told; None does not filter.

    types, lines and teams choose among all events. legs chooses among utterances and alerts. emotions, min_confidence
    and min_expected_cost choose among utterances; one without the figure in question (an abstention) is not told.
    """

    types: tuple[str, ...] | None = None
    lines: tuple[str, ...] | None = None
    teams: tuple[str, ...] | None = None
    legs: tuple[str, ...] | None = None
    emotions: tuple[str, ...] | None = None
    min_confidence: float | None = None
    min_expected_cost: float | None = None

    def matches(self, kind: str, body: Mapping[str, Any], *, line: str, team: str | None) -> bool:
        """Whether an event of this type and body, of a call of this line and team, is wanted."""
        if not (_among(kind, self.types) and _among(line, self.lines) and _among(team, self.teams)):
            return False
        if kind in ("utterance", "alert") and not _among(body.get("leg"), self.legs):
            return False
        return kind != "utterance" or (
            _among(body.get("emotion"), self.emotions)
            and _reaches(body.get("confidence"), self.min_confidence)
            and _reaches(body.get("expected_cost"), self.min_expected_cost)
        )

    def body(self) -> dict[str, Any]:
        """As a JSON object."""
        return {
            "types": _listed(self.types),
            "lines": _listed(self.lines),
            "teams": _listed(self.teams),
            "legs": _listed(self.legs),
            "emotions": _listed(self.emotions),
            "min_confidence": self.min_confidence,
            "min_expected_cost": self.min_expected_cost,
        }

    @classmethod
    def from_body(cls, body: Mapping[str, Any]) -> Filter:
        """The way back from `body`."""
        values: dict[str, Any] = {n: tuple(v) if isinstance(v, list) else v for n, v in body.items()}
        return cls(**values)


@dataclass(frozen=True, slots=True)
class OldSecret:
    """A secret that was replaced; it signs beside the new one until `until`, epoch seconds."""

    secret: str
    until: float


@dataclass(frozen=True, slots=True)
class WebhookEndpoint:
    """Where a tenant wants to be told.

    disabled_reason: `gone` where the endpoint answered 410, None where somebody switched it off, or it is on.
    created_at: epoch seconds.
    """

    id: str
    url: str
    secret: str
    created_at: float
    enabled: bool = True
    disabled_reason: str | None = None
    description: str = ""
    filter: Filter = field(default_factory=Filter)
    old_secrets: tuple[OldSecret, ...] = ()

    def secrets_at(self, now: float) -> tuple[str, ...]:
        """What signs now, the newest first."""
        return (self.secret, *(old.secret for old in self.old_secrets if old.until > now))

    def rotated(self, secret: str, now: float, overlap_s: float) -> WebhookEndpoint:
        """With a new secret; the old one signs for `overlap_s` more. Of older ones few are kept."""
        old = (OldSecret(self.secret, now + overlap_s), *self.old_secrets)
        kept = tuple(one for one in old if one.until > now)[:MAX_OLD_SECRETS]
        return replace(self, secret=secret, old_secrets=kept)

    def value(self) -> dict[str, Any]:
        """As it is stored, secrets included."""
        return {
            "url": self.url,
            "secret": self.secret,
            "old_secrets": [{"secret": old.secret, "until": old.until} for old in self.old_secrets],
            "created_at": self.created_at,
            "enabled": self.enabled,
            "disabled_reason": self.disabled_reason,
            "description": self.description,
            "filter": self.filter.body(),
        }


def endpoint_of(document: Document) -> WebhookEndpoint:
    """The endpoint that a document holds."""
    value = document.value
    return WebhookEndpoint(
        id=document.key,
        url=value["url"],
        secret=value["secret"],
        created_at=value["created_at"],
        enabled=value["enabled"],
        disabled_reason=value["disabled_reason"],
        description=value["description"],
        filter=Filter.from_body(value["filter"]),
        old_secrets=tuple(OldSecret(old["secret"], old["until"]) for old in value["old_secrets"]),
    )


class HookBook:
    """The endpoints of all tenants. Methods may raise `StoreAwayError`."""

    def __init__(self, documents: DocumentStore, clock: Clock, cache_s: float) -> None:
        self._documents = documents
        self._clock = clock
        self._cache: TenantCache[tuple[WebhookEndpoint, ...]] = TenantCache(self.list, clock, cache_s)

    async def known(self, tenant: str) -> tuple[WebhookEndpoint, ...] | None:
        """A tenant's endpoints as of some seconds ago; None where the store never said. Never raises."""
        return await self._cache.get(tenant)

    async def list(self, tenant: str) -> tuple[WebhookEndpoint, ...]:
        """A tenant's endpoints, the oldest first."""
        page = await self._documents.list(tenant, KIND, limit=2 * MAX_ENDPOINTS)
        return tuple(sorted(map(endpoint_of, page.items), key=lambda one: (one.created_at, one.id)))

    async def get(self, tenant: str, endpoint_id: str) -> WebhookEndpoint:
        """One endpoint.

        Raises:
            DocumentNotFoundError: there is none.
        """
        return endpoint_of(await self._documents.get(tenant, KIND, endpoint_id))

    async def create(
        self, tenant: str, url: str, *, which: Filter, enabled: bool = True, description: str = ""
    ) -> WebhookEndpoint:
        """A new endpoint with a secret of its own; the URL was checked.

        Raises:
            TooManyError: the tenant has `MAX_ENDPOINTS`.
        """
        if len(await self.list(tenant)) >= MAX_ENDPOINTS:
            raise TooManyError(f"expected at most {MAX_ENDPOINTS} endpoints")
        endpoint = WebhookEndpoint(
            id=f"we_{randomness.token_hex(12)}",
            url=url,
            secret=new_secret(),
            created_at=self._clock.now(),
            enabled=enabled,
            description=description,
            filter=which,
        )
        await self._documents.put(tenant, KIND, endpoint.id, endpoint.value(), expected_version=0)
        self._cache.forget(tenant)
        return endpoint

    async def change(
        self, tenant: str, endpoint_id: str, edit: Callable[[WebhookEndpoint], WebhookEndpoint]
    ) -> WebhookEndpoint:
        """Changes an endpoint; `edit` may be called again where somebody else changes it meanwhile.

        Raises:
            DocumentNotFoundError: there is none.
            DocumentConflictError: others changed it all the time.
        """
        for _ in range(_CHANGE_TRIES):
            document = await self._documents.get(tenant, KIND, endpoint_id)
            endpoint = edit(endpoint_of(document))
            try:
                await self._documents.put(
                    tenant, KIND, endpoint_id, endpoint.value(), expected_version=document.version
                )
            except DocumentConflictError:
                continue
            self._cache.forget(tenant)
            return endpoint
        raise DocumentConflictError("others changed the endpoint meanwhile")

    async def rotate(self, tenant: str, endpoint_id: str, overlap_s: float) -> WebhookEndpoint:
        """Gives an endpoint a new secret; the old one signs too for `overlap_s`.

        Raises:
            DocumentNotFoundError: there is none.
        """
        secret, now = new_secret(), self._clock.now()
        return await self.change(tenant, endpoint_id, lambda one: one.rotated(secret, now, overlap_s))

    async def delete(self, tenant: str, endpoint_id: str) -> bool:
        """Removes an endpoint; False where there was none."""
        removed = await self._documents.delete(tenant, KIND, endpoint_id)
        self._cache.forget(tenant)
        return removed


def _among(value: Any, wanted: tuple[str, ...] | None) -> bool:
    return wanted is None or value in wanted


def _reaches(value: float | None, bound: float | None) -> bool:
    return bound is None or (value is not None and value >= bound)


def _listed(values: tuple[str, ...] | None) -> list[str] | None:
    return None if values is None else list(values)
