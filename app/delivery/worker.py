"""Works off what is queued for webhooks: several at a time, each endpoint within its bound, until done or given up.

A job is in one process's hands while its lease lasts; whoever dies holding it loses it to another. So everything here
may happen twice, and receivers tell repeats by `webhook-id`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, replace
from random import Random
from typing import Protocol

from prometheus_client import Counter, Histogram

from app.delivery.config import DeliveryConfig
from app.delivery.dispatch import QUEUE, Delivery, Dispatcher, event_of
from app.delivery.hooks import HookBook, WebhookEndpoint
from app.delivery.lanes import Lanes, Place
from app.delivery.letters import DeadLetter, DeadLetters, Failure
from app.delivery.retries import next_delay_s
from app.delivery.sender import Attempt, Outcome, Sender
from app.results.documents import DocumentNotFoundError, Job, WorkQueue
from app.results.store import ResultStore, StoreError
from app.telemetry.clock import Clock
from app.telemetry.logs import get_logger
from app.telemetry.tracing import Stage, Tracer, extract

DISABLED = "disabled"
"""Why a delivery is given up whose endpoint is switched off."""
_LEASE_SLACK_S = 30.0
_BATCH = 32
_MAX_ROUNDS = 100
"""Claims of one tenant in one look, so that a long backlog of one does not keep the others waiting."""
_TENANTS_S = 10.0
_IDLE_S = 30.0
"""How often the queue of a tenant without endpoints is looked at."""

_log = get_logger(__name__)


class WorkerMetrics(Protocol):
    """What the worker counts."""

    webhook_deliveries: Counter
    webhook_delivery_seconds: Histogram


@dataclass(frozen=True, slots=True)
class WorkerParts:
    """What the worker works with."""

    store: ResultStore
    queue: WorkQueue
    hooks: HookBook
    letters: DeadLetters
    dispatcher: Dispatcher
    sender: Sender
    tracer: Tracer


class Worker:
    """The deliveries of one process."""

    def __init__(
        self, parts: WorkerParts, config: DeliveryConfig, clock: Clock, metrics: WorkerMetrics, rng: Random
    ) -> None:
        self._parts = parts
        self._config = config
        self._clock = clock
        self._metrics = metrics
        self._rng = rng
        self._lanes = Lanes(config.max_per_endpoint, rng)
        self._busy: dict[asyncio.Task[None], str] = {}
        self._tenants: list[str] = []
        self._tenants_at = float("-inf")
        self._idle_until: dict[str, float] = {}
        self._next_parked = float("inf")
        self.freed = asyncio.Event()
        """Set when an attempt ended, so that there may be room for another."""

    @property
    def busy(self) -> int:
        """Attempts under way."""
        return len(self._busy)

    @property
    def parked_for_s(self) -> float:
        """Seconds until the first of what the last look parked is due; infinite where it parked nothing."""
        return self._next_parked - self._clock.now()

    def expect(self, tenant: str) -> None:
        """Something was or is about to be queued for this tenant: the next look takes it in."""
        self._idle_until.pop(tenant, None)
        if tenant not in self._tenants:
            self._tenants.append(tenant)

    async def look(self) -> int:
        """Claims what is due, as far as there is room, and starts it; how many jobs were claimed.

        Raises:
            StoreAwayError: the store does not answer.
        """
        claimed = 0
        self._next_parked = float("inf")
        for tenant in await self._tenants_to_ask():
            if self._room(tenant) <= 0:
                continue
            found = await self._look_at(tenant)
            claimed += found
            if not found and await self._parts.hooks.known(tenant) == ():
                self._idle_until[tenant] = self._clock.monotonic() + _IDLE_S
        return claimed

    async def settle(self) -> None:
        """Returns when nothing is under way."""
        while self._busy:
            await asyncio.wait(list(self._busy))

    async def drain(self, timeout_s: float) -> None:
        """Waits for what is under way, then gives it up: its leases end, and others take it."""
        if not self._busy:
            return
        _, late = await asyncio.wait(list(self._busy), timeout=timeout_s)
        for task in late:
            task.cancel()
        if late:
            await asyncio.wait(late)

    async def _tenants_to_ask(self) -> Sequence[str]:
        """Those whose turn it is, beginning with another one every time."""
        now = self._clock.monotonic()
        if now - self._tenants_at >= _TENANTS_S:
            named = await self._parts.store.tenants()
            self._tenants = list(dict.fromkeys([*self._tenants, *named]))
            self._tenants_at = now
        self._tenants = self._tenants[1:] + self._tenants[:1]
        return [tenant for tenant in self._tenants if self._idle_until.get(tenant, 0.0) <= now]

    def _room(self, tenant: str) -> int:
        """How many more may be started for a tenant: where there are several, none takes all places."""
        free = self._config.max_parallel - len(self._busy)
        if len(self._tenants) < 2:
            return free
        own = sum(owner == tenant for owner in self._busy.values())
        return min(free, max(1, self._config.max_parallel // 2) - own)

    async def _look_at(self, tenant: str) -> int:
        claimed = 0
        for _ in range(_MAX_ROUNDS):
            limit = min(self._room(tenant), _BATCH)
            if limit <= 0:
                break
            jobs = await self._parts.queue.claim(
                tenant,
                QUEUE,
                now=self._clock.now(),
                lease_s=self._config.timeout_s + _LEASE_SLACK_S,
                limit=limit,
            )
            for job in jobs:
                await self._start(job)
            claimed += len(jobs)
            if len(jobs) < limit:
                break
        return claimed

    async def _start(self, job: Job) -> None:
        place = (job.tenant, str(job.payload.get("endpoint", "")))
        if not self._lanes.enter(place):
            due_at = self._lanes.park(place, self._clock.now())
            self._next_parked = min(self._next_parked, due_at)
            await self._parts.queue.postpone(job, due_at=due_at, payload=job.payload)
            return
        task = asyncio.create_task(self._work(job, place))
        self._busy[task] = job.tenant
        task.add_done_callback(self._ended)

    def _ended(self, task: asyncio.Task[None]) -> None:
        del self._busy[task]
        self.freed.set()

    async def _work(self, job: Job, place: Place) -> None:
        try:
            await self._handle(job, place)
        except StoreError:
            # The lease ends by itself, and the job is given out again.
            _log.warning("webhook_store_away")
        except Exception:
            _log.exception("webhook_failed")
        finally:
            self._lanes.leave(place)

    async def _handle(self, job: Job, place: Place) -> None:
        if "event" in job.payload:
            await self._choose_endpoints(job)
            return
        letter = await self._letter_of(job)
        if letter is None and "letter" in job.payload:
            await self._parts.queue.done(job)  # erased, or removed by hand
            return
        delivery = (
            Delivery.from_payload(job.payload)
            if letter is None
            else replace(letter.delivery, tries=job.payload["tries"])
        )
        endpoint = await self._endpoint_of(job.tenant, delivery.endpoint)
        if endpoint is None:
            await self._drop(job, letter)
        elif "failed" in job.payload:
            if not await self._parts.letters.bury(job, delivery):
                failed = job.payload["failed"]
                failure = Failure(failed["reason"], failed["status"], failed["detail"])
                await self._parts.letters.mark(job, delivery, failure)
        elif not endpoint.enabled:
            await self._give_up(job, letter, delivery, Failure(DISABLED, detail="the endpoint is disabled"))
        else:
            await self._attempt(job, letter, delivery, endpoint, place)

    async def _choose_endpoints(self, job: Job) -> None:
        """The second half of what `Dispatcher.writes_for` could not do."""
        endpoints = await self._parts.hooks.list(job.tenant)
        writes = self._parts.dispatcher.for_endpoints(job.tenant, event_of(job.payload), endpoints)
        for stored in await self._parts.store.write(writes) if writes else ():
            if isinstance(stored, StoreError):
                raise stored
        await self._parts.queue.done(job)

    async def _letter_of(self, job: Job) -> DeadLetter | None:
        if "letter" not in job.payload:
            return None
        try:
            return await self._parts.letters.get(job.tenant, job.payload["letter"])
        except DocumentNotFoundError:
            return None

    async def _endpoint_of(self, tenant: str, endpoint_id: str) -> WebhookEndpoint | None:
        """The endpoint, None where it was deleted. What is remembered may be old, so bad news is made sure of."""
        known = await self._parts.hooks.known(tenant) or ()
        for endpoint in known:
            if endpoint.id == endpoint_id and endpoint.enabled:
                return endpoint
        try:
            return await self._parts.hooks.get(tenant, endpoint_id)
        except DocumentNotFoundError:
            return None

    async def _drop(self, job: Job, letter: DeadLetter | None) -> None:
        if letter is not None:
            await self._parts.letters.delete(job.tenant, letter.id)
        await self._parts.queue.done(job)

    async def _attempt(
        self,
        job: Job,
        letter: DeadLetter | None,
        delivery: Delivery,
        endpoint: WebhookEndpoint,
        place: Place,
    ) -> None:
        secrets = endpoint.secrets_at(self._clock.now())
        parent = extract(job.payload.get("trace"))
        with self._parts.tracer.span(Stage.DELIVERY, parent=parent, kind="consumer") as span:
            attempt = await self._parts.sender.send(endpoint.url, secrets, delivery.message)
            span.set(outcome=attempt.outcome.value, tries=delivery.tries)
        self._metrics.webhook_deliveries.labels(attempt.outcome.value).inc()
        self._metrics.webhook_delivery_seconds.observe(attempt.seconds)
        delivered = attempt.outcome is Outcome.DELIVERED
        self._lanes.learn(place, failed=not delivered, seconds=attempt.seconds)
        if delivered:
            await self._drop(job, letter)
            return
        delivery = replace(delivery, tries=delivery.tries + 1)
        if attempt.outcome is Outcome.GONE:
            await self._disable(job.tenant, endpoint.id)
        elif await self._try_later(job, delivery, attempt):
            return
        await self._give_up(job, letter, delivery, _failure(attempt))

    async def _try_later(self, job: Job, delivery: Delivery, attempt: Attempt) -> bool:
        delay_s = next_delay_s(self._config.retry_s, delivery.tries, self._rng, attempt.retry_after_s)
        if delay_s is None:
            return False
        payload = {**job.payload, "tries": delivery.tries}
        await self._parts.queue.postpone(job, due_at=self._clock.now() + delay_s, payload=payload)
        return True

    async def _give_up(
        self, job: Job, letter: DeadLetter | None, delivery: Delivery, failure: Failure
    ) -> None:
        if letter is None:
            await self._parts.letters.mark(job, delivery, failure)
            return
        await self._parts.letters.keep(job.tenant, letter, delivery.tries, failure)
        await self._parts.queue.done(job)

    async def _disable(self, tenant: str, endpoint_id: str) -> None:
        try:
            await self._parts.hooks.change(
                tenant, endpoint_id, lambda one: replace(one, enabled=False, disabled_reason="gone")
            )
        except DocumentNotFoundError:
            return
        _log.warning("webhook_endpoint_gone")


def _failure(attempt: Attempt) -> Failure:
    return Failure(attempt.outcome.value, attempt.status, attempt.detail)
