"""What a process does beside its calls: it says that it lives, and ends the calls of processes that do not."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from app.api.deps import Services
from app.api.recorder import closing
from app.results.publish import LiveEvent
from app.results.store import CallInfo, Stored, StoreError
from app.telemetry.logs import get_logger

INTERRUPTED = "interrupted"
"""How a call ended whose process was killed."""

COMPACT_EVERY_S = 60.0
"""Rewriting its files costs the store some work."""

LIVES = 3
"""Heartbeats that may be missed."""


@asynccontextmanager
async def housekeeping(services: Services) -> AsyncIterator[None]:
    """Runs while the context is open."""
    task = asyncio.create_task(_run(services))
    try:
        yield
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def _run(services: Services) -> None:
    every_s = services.settings.store.heartbeat_s
    log = get_logger(__name__)
    beats, compaction = 0, Compaction(services)
    while True:
        try:
            await compaction.look()
            await services.store.heartbeat(services.owner, LIVES * every_s)
            beats += 1
            # After a store's outage every process must have had the time to say that it lives.
            if beats > LIVES:
                for tenant in await services.store.tenants():
                    await end_orphans(services, tenant)
        except StoreError:
            beats = 0
            log.debug("housekeeping_waits", exc_info=True)
        await asyncio.sleep(every_s)


class Compaction:
    """Has what was erased leave the store's files too; at most once in `COMPACT_EVERY_S`."""

    def __init__(self, services: Services) -> None:
        self._services = services
        self._done = 0
        self._at = float("-inf")

    async def look(self) -> None:
        """Compacts, where calls were erased since the last time, or an erasure ended (its wish was queued till then).

        Raises:
            StoreError: the store does not answer.
        """
        stores, now = self._services.stores, self._services.clock.monotonic()
        erased = stores.erasures + self._services.privacy.erasures.finished
        if erased != self._done and now - self._at >= COMPACT_EVERY_S and await stores.compact():
            self._done, self._at = erased, now


async def end_orphans(services: Services, tenant: str) -> int:
    """Ends the live calls whose process is gone; they may be taken up again for a while. Returns how many."""
    orphans = await services.store.orphans(tenant)
    for call in orphans:
        await _end(services, call)
    return len(orphans)


async def _end(services: Services, call: CallInfo) -> None:
    _, close = await closing(services, call, INTERRUPTED, None)
    (answer,) = await services.store.write([close])
    if isinstance(answer, Stored) and not answer.duplicate:
        services.metrics.calls.labels(INTERRUPTED).inc()
        get_logger(__name__).warning("call_interrupted", call_id=call.call_id)
        event = LiveEvent("call_ended", call.call_id, close.body, call.tenant, call.line, answer.position)
        services.publisher.publish(event)
