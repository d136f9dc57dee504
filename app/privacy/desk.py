"""The privacy room, put together: the log, erasures and retention of one service."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass

from app.privacy.audit import AuditLog
from app.privacy.entries import SERVICE, AuditEntry
from app.privacy.erase import Erasures, Told
from app.privacy.pseudonyms import PrivacySecrets
from app.privacy.retention import Bounds, Retention
from app.results.documents import DocumentStore, Journal, WorkQueue
from app.results.store import ResultStore, StoreAwayError, StoreError
from app.settings import Settings
from app.telemetry.clock import Clock
from app.telemetry.logs import get_logger
from app.telemetry.metrics import Metrics

DAY_S = 86_400.0


@dataclass(frozen=True, slots=True)
class Privacy:
    """What routes need. secrets: makes the pseudonyms that the log and receipts have in place of ids."""

    audit: AuditLog
    erasures: Erasures
    retention: Retention
    secrets: PrivacySecrets
    clock: Clock
    store: ResultStore
    sweep_s: float

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Writes the log, finishes erasures and sweeps, until the service stops."""
        async with AsyncExitStack() as stack:
            # Entered first, left last: what the others did is still logged.
            await stack.enter_async_context(self.audit.running())
            await stack.enter_async_context(self.erasures.running(self.store.tenants))
            sweeping = asyncio.create_task(self._keep_sweeping(), name="retention")
            try:
                yield
            finally:
                sweeping.cancel()
                with contextlib.suppress(asyncio.CancelledError):
                    await sweeping

    async def sweep(self, tenant: str, who: str = SERVICE, key_id: str = SERVICE) -> int:
        """Erases what is older than the tenant's policy allows, and logs how many calls that were.

        Raises:
            StoreError: it could not be finished.
        """
        gone = len(await self.retention.sweep(tenant))
        if gone:
            now = self.clock.now()
            entry = AuditEntry(tenant, who, key_id, "retention.sweep", "*", "ok", now, detail={"calls": gone})
            await self.audit.write(entry)
        return gone

    async def _keep_sweeping(self) -> None:
        log = get_logger(__name__)
        while True:
            await asyncio.sleep(self.sweep_s)
            try:
                for tenant in await self.store.tenants():
                    await self.sweep(tenant)
            except StoreAwayError:
                continue
            except StoreError:
                log.warning("retention_not_swept")


def build_privacy(
    settings: Settings,
    stores: tuple[ResultStore, DocumentStore, WorkQueue, Journal],
    clock: Clock,
    metrics: Metrics,
    *,
    owner: str,
    told: Told,
) -> Privacy:
    """The room as the settings say.

    Args:
        settings: what the site set.
        stores: calls, documents, queued work and journals.
        clock: says when.
        metrics: counts.
        owner: this process, for the feed.
        told: hears of each call that was erased, for viewers and webhooks.
    """
    own, (store, documents, queue, journal) = settings.privacy, stores
    secrets = PrivacySecrets.from_settings(
        None if own.receipt_key is None else own.receipt_key.get_secret_value(),
        None if own.digest_key is None else own.digest_key.get_secret_value(),
    )
    if secrets.ephemeral and not settings.store.in_memory:
        get_logger(__name__).warning(
            "receipt_key_missing", hint="receipts cannot be checked after this run; set a receipt key"
        )
    ttl_s = own.audit_ttl_days * DAY_S
    audit = AuditLog(
        journal, clock, metrics, ttl_s=ttl_s, capacity=own.audit_buffer, flush_s=own.audit_flush_s
    )
    bounds = Bounds(
        default_calls_s=settings.store.ttl_s,
        max_calls_s=own.max_retention_s or settings.store.ttl_s,
        feedback_s=settings.labels.ttl_s,
    )
    return Privacy(
        audit=audit,
        erasures=Erasures(
            (store, documents, queue),
            audit,
            secrets,
            clock,
            metrics,
            keep_s=ttl_s,
            owner=owner,
            told=told,
        ),
        retention=Retention(store, documents, clock, bounds, owner),
        secrets=secrets,
        clock=clock,
        store=store,
        sweep_s=own.sweep_s,
    )
