"""The alert rules of all tenants, as they are stored."""

from __future__ import annotations

import secrets as randomness
from collections.abc import Mapping
from typing import Any

from app.delivery.alerts import AlertRule
from app.delivery.cache import TenantCache
from app.delivery.hooks import TooManyError
from app.results.documents import Document, DocumentStore
from app.telemetry.clock import Clock

KIND = "alert_rule"
"""Of the documents."""
MAX_RULES = 100


def rule_of(document: Document) -> AlertRule:
    """The rule that a document holds."""
    return AlertRule.from_body(document.key, document.value["rule"])


class RuleBook:
    """The rules of all tenants. Methods may raise `StoreAwayError`."""

    def __init__(self, documents: DocumentStore, clock: Clock, cache_s: float) -> None:
        self._documents = documents
        self._clock = clock
        self._cache: TenantCache[tuple[AlertRule, ...]] = TenantCache(self.list, clock, cache_s)

    async def known(self, tenant: str) -> tuple[AlertRule, ...]:
        """A tenant's rules as of some seconds ago; none where the store never said. Never raises."""
        return await self._cache.get(tenant) or ()

    async def list(self, tenant: str) -> tuple[AlertRule, ...]:
        """A tenant's rules, the oldest first."""
        page = await self._documents.list(tenant, KIND, limit=2 * MAX_RULES)
        oldest_first = sorted(page.items, key=lambda one: (one.value["created_at"], one.key))
        return tuple(rule_of(document) for document in oldest_first)

    async def get(self, tenant: str, rule_id: str) -> AlertRule:
        """One rule.

        Raises:
            DocumentNotFoundError: there is none.
        """
        return rule_of(await self._documents.get(tenant, KIND, rule_id))

    async def create(self, tenant: str, body: Mapping[str, Any]) -> AlertRule:
        """A new rule. body: as `AlertRule.body` has it.

        Raises:
            TooManyError: the tenant has `MAX_RULES`.
        """
        if len(await self.list(tenant)) >= MAX_RULES:
            raise TooManyError(f"expected at most {MAX_RULES} rules")
        rule = AlertRule.from_body(f"ar_{randomness.token_hex(12)}", body)
        await self._put(tenant, rule, created_at=self._clock.now(), expected_version=0)
        return rule

    async def replace(self, tenant: str, rule_id: str, body: Mapping[str, Any]) -> AlertRule:
        """Writes a rule anew.

        Raises:
            DocumentNotFoundError: there is none.
            DocumentConflictError: somebody else changed it at the same time.
        """
        held = await self._documents.get(tenant, KIND, rule_id)
        rule = AlertRule.from_body(rule_id, body)
        created_at: float = held.value["created_at"]
        await self._put(tenant, rule, created_at=created_at, expected_version=held.version)
        return rule

    async def delete(self, tenant: str, rule_id: str) -> bool:
        """Removes a rule; False where there was none."""
        removed = await self._documents.delete(tenant, KIND, rule_id)
        self._cache.forget(tenant)
        return removed

    async def _put(self, tenant: str, rule: AlertRule, *, created_at: float, expected_version: int) -> None:
        value = {"created_at": created_at, "rule": rule.body()}
        await self._documents.put(tenant, KIND, rule.id, value, expected_version=expected_version)
        self._cache.forget(tenant)
