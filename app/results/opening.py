"""Opens what a site has configured to keep results in."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any, Protocol

from app.results.documents import DocumentStore, Journal, WorkQueue
from app.results.durable import DurableOptions, DurableStore
from app.results.memory import MemoryBounds, MemoryStores
from app.results.redis import RedisOptions, RedisStores
from app.results.redis.link import RedisLink
from app.results.spool import Spool
from app.results.spool_files import Fsync, Lost, SpoolOptions
from app.results.store import CallInfo, ResultStore
from app.results.store_metrics import StoreMetrics, StoreState
from app.settings import SettingsError, StoreSettings
from app.telemetry.clock import Clock

SEGMENTS = 32
"""Files that a full spool has, about: what is refused when it is full is one of them."""
MAX_SEGMENT_BYTES = 8 * 1024 * 1024


class SpoolWatch(Protocol):
    """Who counts what the spool loses."""

    def spool_lost(self, why: Lost, entries: int, size: int) -> None:
        """So many entries of so many bytes were lost."""
        ...


class StoreWatch(StoreMetrics, SpoolWatch, Protocol):
    """Who counts everything."""


@dataclass(frozen=True, slots=True)
class Waiting:
    """How the store stands. entries, bytes: in the spool. oldest_s: how long the oldest has waited, None for none."""

    state: StoreState = StoreState.OK
    entries: int = 0
    bytes: int = 0
    oldest_s: float | None = None


def _nothing_waits() -> Waiting:
    return Waiting()


@dataclass(frozen=True, slots=True)
class Stores:
    """Everything that is kept; use it within `running`.

    waiting: how the store stands. durable: whether anything outlives the process.
    """

    results: ResultStore
    documents: DocumentStore
    queue: WorkQueue
    journal: Journal
    waiting: Callable[[], Waiting] = _nothing_waits
    redis: RedisStores | None = None
    spool: Spool | None = field(default=None)

    @property
    def durable(self) -> bool:
        """Whether what is written now is likely to be acknowledged as durable."""
        if self.redis is None or self.spool is None:
            return False
        up = self.waiting().state is StoreState.OK
        return self.redis.durable if up else self.spool.forces_to_disk

    @property
    def erasures(self) -> int:
        """Calls erased whose bytes may still lie in the store's files."""
        return 0 if self.redis is None else self.redis.results.erasures

    async def compact(self) -> bool:
        """Has the store write its files anew, without what was erased; False where it refuses."""
        return True if self.redis is None else await self.redis.compact()

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Brings what waits to the store as long as the context is open.

        Raises:
            SpoolError: the spool cannot be used.
        """
        if self.spool is None or not isinstance(self.results, DurableStore):
            yield
            return
        await self.spool.begin()
        await self.results.start()
        task = asyncio.create_task(self.results.run())
        try:
            yield
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
            await self.results.close()


def open_stores(
    settings: StoreSettings,
    clock: Clock,
    metrics: StoreWatch,
    describe: Callable[[CallInfo], Mapping[str, Any]],
) -> Stores:
    """The stores of the settings; nothing is connected yet.

    describe: makes the body of `call_started` for a call of which only records are left.

    Raises:
        SettingsError: not the URL of a store.
    """
    if settings.in_memory:
        bounds = MemoryBounds(
            max_calls=settings.max_calls,
            max_records_per_call=settings.max_records_per_call,
            feed_entries=settings.feed_entries,
            stats_ttl_s=settings.stats_ttl_s,
        )
        memory = MemoryStores(clock, bounds)
        return Stores(memory.results, memory.documents, memory.queue, memory.journal)
    options = RedisOptions(
        connect_timeout_s=settings.connect_timeout_s,
        timeout_s=settings.timeout_s,
        durable=settings.durable,
        max_records_per_call=settings.max_records_per_call,
        feed_entries=settings.feed_entries,
        stats_ttl_s=settings.stats_ttl_s,
    )
    try:
        redis = RedisStores(RedisLink(settings.url, options))
    except ValueError:
        raise SettingsError("KOWAIRO_STORE__URL: expected the URL of a Redis, or memory://") from None
    spool = Spool(settings.spool_path, spool_options(settings), clock, metrics.spool_lost)
    store = DurableStore(
        redis.results,
        spool,
        clock,
        DurableOptions(timeout_s=settings.timeout_s),
        metrics=metrics,
        describe=describe,
    )

    def waiting() -> Waiting:
        return Waiting(store.state, store.waiting, store.waiting_bytes, store.oldest_age_s)

    return Stores(store, redis.documents, redis.queue, redis.journal, waiting, redis, spool)


def spool_options(settings: StoreSettings) -> SpoolOptions:
    """How the spool works."""
    return SpoolOptions(
        max_bytes=settings.spool_max_bytes,
        segment_bytes=min(MAX_SEGMENT_BYTES, settings.spool_max_bytes // SEGMENTS),
        fsync=Fsync(settings.spool_fsync),
        interval_s=settings.spool_fsync_interval_s,
    )
