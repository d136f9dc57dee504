"""The one object the service has to do with: what follows from an event, and the deliveries of this process."""

from __future__ import annotations

import asyncio
import contextlib
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from random import Random
from typing import Any, Protocol

from prometheus_client import Counter, Gauge, Histogram

from app.delivery.alerts import Alert, AlertRule, AlertWatch
from app.delivery.config import DeliveryConfig
from app.delivery.dispatch import CALL_ERASED, Dispatcher, Event
from app.delivery.hooks import HookBook
from app.delivery.letters import DeadLetters
from app.delivery.rules import RuleBook
from app.delivery.sender import Sender
from app.delivery.targets import Resolver, SystemResolver, TargetGuard
from app.delivery.worker import Worker, WorkerParts
from app.domain import UtteranceRecord
from app.records import record_body
from app.results.documents import DocumentStore, WorkQueue
from app.results.store import CallInfo, ResultStore, StoreError
from app.results.writes import AddFeedEntry, Write
from app.telemetry.clock import Clock
from app.telemetry.logs import get_logger
from app.telemetry.tracing import NullTracer, Tracer

ALERT = "alert"
UTTERANCE = "utterance"
CALL_ENDED = "call_ended"
_MAX_WATCHES = 20_000
_REPLAYED = 200
_REPLAY_PATIENCE_S = 1.0
_SOON_S = 0.05
"""After so long what follows from an event is taken to be written; and the shortest rest between two looks."""
_COUNT_S = 60.0
_AWAY_S = 5.0

_log = get_logger(__name__)


class DeliveryMetrics(Protocol):
    """What is counted; `app.telemetry.metrics.Metrics` has it all."""

    webhook_deliveries: Counter
    webhook_delivery_seconds: Histogram
    webhook_dead_letters: Gauge
    alerts: Counter


@dataclass(frozen=True, slots=True)
class CallEvent:
    """Something other than a record. type: of the feed; body: as the feed has it; at: epoch seconds."""

    type: str
    body: Mapping[str, Any]
    at: float


@dataclass(frozen=True, slots=True)
class Stores:
    """Where everything is kept."""

    results: ResultStore
    documents: DocumentStore
    queue: WorkQueue


class DeliveryDesk:
    """Webhooks and alerts of one process.

    owner: this process, as in the store's writes. resolver: looks up the names of targets. tracer: makes a span of
    each attempt.
    """

    def __init__(
        self,
        stores: Stores,
        config: DeliveryConfig,
        clock: Clock,
        metrics: DeliveryMetrics,
        *,
        owner: str = "",
        resolver: Resolver | None = None,
        rng: Random | None = None,
        tracer: Tracer | None = None,
    ) -> None:
        self.config = config
        self.hooks = HookBook(stores.documents, clock, config.cache_s)
        self.rules = RuleBook(stores.documents, clock, config.cache_s)
        self.letters = DeadLetters(
            stores.documents, stores.queue, stores.results, clock, config.dead_letter_ttl_s
        )
        own = SystemResolver()
        self._own_resolver = own if resolver is None else None
        self.guard = TargetGuard(config, resolver or own)
        self.sender = Sender(config, self.guard, clock)
        tracer = tracer or NullTracer()
        dispatcher = Dispatcher(self.hooks, clock, tracer)
        self.worker = Worker(
            WorkerParts(
                stores.results, stores.queue, self.hooks, self.letters, dispatcher, self.sender, tracer
            ),
            config,
            clock,
            metrics,
            rng or Random(),
        )
        self._stores = stores
        self._clock = clock
        self._metrics = metrics
        self._owner = owner
        self._dispatcher = dispatcher
        self._watches: OrderedDict[tuple[str, str], AlertWatch] = OrderedDict()
        self._closing = False
        self._nudged = False
        self._counted_at = float("-inf")

    async def follow_ups(self, tenant: str, call: CallInfo, what: UtteranceRecord | CallEvent) -> list[Write]:
        """What must be written beside a record or an event of a call: alerts for the feed, work for webhooks.

        Best written together with it, so that neither is there without the other. To be asked once for each record, in
        order, at the process that works the call. Never raises, and waits for the store for a second at most.
        """
        if isinstance(what, CallEvent):
            if what.type in (CALL_ENDED, CALL_ERASED):
                self._watches.pop((tenant, call.call_id), None)
            unique = f"{what.type}:{round(what.at * 1_000)}"
            return await self._deliveries(tenant, call, what, unique)
        at = self._clock.now() if what.created_at is None else what.created_at
        event = CallEvent(UTTERANCE, record_body(what), at)
        writes = await self._deliveries(tenant, call, event, str(what.seq or what.utterance_id))
        for alert in await self._alerts(tenant, call, what):
            self._metrics.alerts.labels(alert.rule.kind.value).inc()
            body = alert.body()
            writes.append(AddFeedEntry(tenant, ALERT, call.call_id, alert.id, body, self._owner))
            unique = f"{ALERT}:{alert.rule.id}:{alert.seq}"
            writes += await self._deliveries(tenant, call, CallEvent(ALERT, body, at), unique)
        return writes

    async def run(self) -> None:
        """Delivers, for all tenants, until `close` is called or it is cancelled; then ends what is under way."""
        async with self.sender.connections_kept():
            try:
                while not self._closing:
                    pause_s = await self._turn()
                    await self._pause(pause_s)
            finally:
                await self.worker.drain(self.config.drain_s)
                if self._own_resolver is not None:
                    self._own_resolver.close()

    def close(self) -> None:
        """Makes `run` end. What is queued is delivered by another process, or after the next start."""
        self._closing = True
        self.worker.freed.set()

    async def count_letters(self) -> None:
        """Publishes how many dead letters there are, over all tenants.

        Raises:
            StoreAwayError: the store does not answer.
        """
        tenants = await self._stores.results.tenants()
        self._metrics.webhook_dead_letters.set(sum([await self.letters.count(one) for one in tenants]))

    async def _turn(self) -> float:
        """One look at the queue; how long to rest after it."""
        self.worker.freed.clear()
        try:
            await self.worker.look()
            now = self._clock.monotonic()
            if now - self._counted_at >= _COUNT_S:
                self._counted_at = now
                await self.count_letters()
        except StoreError:
            _log.warning("webhook_store_away")
            return max(_AWAY_S, self.config.poll_s)
        except Exception:
            # Whatever is wrong, the next look may do better; without this there would be none.
            _log.exception("webhook_worker_failed")
            return max(_AWAY_S, self.config.poll_s)
        return min(self.config.poll_s, max(_SOON_S, self.worker.parked_for_s))

    async def _pause(self, seconds: float) -> None:
        if self._closing:
            return
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self.worker.freed.wait()

    async def _deliveries(self, tenant: str, call: CallInfo, event: CallEvent, unique: str) -> list[Write]:
        found: Sequence[Write] = await self._dispatcher.writes_for(
            tenant, Event(event.type, call.call_id, call.line, call.team, event.body, unique, event.at)
        )
        if found:
            self.nudge(tenant)
        return list(found)

    def nudge(self, tenant: str) -> None:
        """Something is or will be queued for a tenant: the worker looks soon, rather than when its pause is over."""
        self.worker.expect(tenant)
        if not self._nudged:
            self._nudged = True
            asyncio.get_running_loop().call_later(_SOON_S, self._nudge_now)

    def _nudge_now(self) -> None:
        self._nudged = False
        self.worker.freed.set()

    async def _alerts(self, tenant: str, call: CallInfo, record: UtteranceRecord) -> list[Alert]:
        rules = await self.rules.known(tenant)
        key = (tenant, call.call_id)
        watch = self._watches.get(key)
        if watch is None:
            watch = self._watches[key] = AlertWatch(call.line, call.team)
            if len(self._watches) > _MAX_WATCHES:
                self._watches.popitem(last=False)
            if rules and record.seq is not None and record.seq > 1:
                await self._replay(tenant, watch, record, rules)
        self._watches.move_to_end(key)
        return watch.on_record(record, rules)

    async def _replay(
        self, tenant: str, watch: AlertWatch, record: UtteranceRecord, rules: Sequence[AlertRule]
    ) -> None:
        """Brings the watch of a call that another process worked before to where that process was."""
        seq = record.seq or 1
        try:
            async with asyncio.timeout(_REPLAY_PATIENCE_S):
                held = await self._stores.results.list_records(
                    tenant, record.call_id, from_seq=max(1, seq - _REPLAYED), limit=_REPLAYED
                )
        except (StoreError, TimeoutError):
            return
        for earlier in held.items:
            if earlier.seq is not None and earlier.seq < seq:
                watch.on_record(earlier, rules)
