"""A privacy room on memory stores that can be made to be away, and calls to put into it."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine
from dataclasses import dataclass, field, replace
from typing import Any, TypeVar

from app.access.principal import Principal, Scope
from app.domain import Leg
from app.privacy.audit import AuditLog
from app.privacy.erase import Erasures
from app.privacy.pseudonyms import PrivacySecrets
from app.privacy.retention import Bounds, Retention
from app.results.memory import MemoryStores
from app.results.store import CallInfo, StoreAwayError, Stored, StoreError
from app.results.writes import AddFeedEntry, AppendRecord, CloseCall, Enqueue, OpenCall, Write
from app.telemetry.metrics import Metrics
from tests.support.clock import FakeClock
from tests.support.records import make_record

T = TypeVar("T")

BOUNDS = Bounds(default_calls_s=86_400, max_calls_s=30 * 86_400, feedback_s=365 * 86_400)
OFFICER = Principal("default", "officer@site", frozenset(Scope), "k1")


def run(work: Coroutine[Any, Any, T]) -> T:
    """Runs a coroutine."""
    return asyncio.run(work)


async def until(look: Callable[[], Awaitable[bool]], seconds: float = 30.0) -> None:
    """Waits until something is so."""
    async with asyncio.timeout(seconds):
        while not await look():  # noqa: ASYNC110 (what is waited for has no event)
            await asyncio.sleep(0)


class Away:
    """Stands before a store: says that it is away while it is told to, or once after some calls."""

    def __init__(self, behind: Any) -> None:
        self.behind = behind
        self.away = False
        self.until_away: int | None = None
        self.spool: list[Write] | None = None

    def __getattr__(self, name: str) -> Any:
        reached = getattr(self.behind, name)
        if not asyncio.iscoroutinefunction(reached):
            return reached

        async def call(*args: Any, **kwargs: Any) -> Any:
            if self.until_away is not None:
                self.until_away -= 1
                self.away = self.away or self.until_away < 0
            if self.away and name == "write" and self.spool is not None:
                self.spool += args[0]
                return [Stored(waiting=True) for _ in args[0]]
            if self.away:
                raise StoreAwayError
            return await reached(*args, **kwargs)

        return call

    async def comes_back(self) -> None:
        """It is there again, and what was spooled is carried out."""
        self.away, self.until_away = False, None
        spooled, self.spool = self.spool or [], None
        if spooled:
            await self.behind.write(spooled)


@dataclass
class Room:
    """The parts of a privacy room."""

    clock: FakeClock = field(default_factory=FakeClock)
    told: list[tuple[str, str]] = field(default_factory=list)
    audit_ttl_s: float = 400 * 86_400.0
    capacity: int = 100
    bounds: Bounds = BOUNDS

    def __post_init__(self) -> None:
        self.memory = MemoryStores(self.clock)
        self.store = Away(self.memory.results)
        self.documents = Away(self.memory.documents)
        self.queue = Away(self.memory.queue)
        self.journal = Away(self.memory.journal)
        self.metrics = Metrics()
        self.secrets = PrivacySecrets.from_settings(None, None)
        self.audit, self.erasures = self.process()
        self.retention = Retention(self.store, self.documents, self.clock, self.bounds, "p1")

    def process(self) -> tuple[AuditLog, Erasures]:
        """What another process of the same site has of it."""
        audit = AuditLog(
            self.journal,
            self.clock,
            self.metrics,
            ttl_s=self.audit_ttl_s,
            capacity=self.capacity,
            flush_s=0.001,
        )
        erasures = Erasures(
            (self.store, self.documents, self.queue),
            audit,
            self.secrets,
            self.clock,
            self.metrics,
            keep_s=1_000.0,
            owner="p1",
            told=self.note_erased,
        )
        return audit, erasures

    async def note_erased(self, tenant: str, call_id: str, _at: int | None, _call: CallInfo | None) -> None:
        """Hears of a call that is gone."""
        self.told.append((tenant, call_id))

    def set_away(self, away: bool) -> None:
        """Everything goes away, or comes back, together."""
        for place in (self.store, self.documents, self.queue, self.journal):
            place.away = away

    async def write(self, *writes: Write) -> None:
        """Changes that succeed."""
        for answer in await self.memory.results.write(writes):
            assert not isinstance(answer, StoreError), answer

    async def call(
        self,
        call_id: str,
        *,
        records: int = 2,
        subject: str | None = None,
        line: str = "default",
        ended: bool = True,
        tenant: str = "default",
    ) -> None:
        """A call with everything that can belong to one."""
        info = CallInfo(
            call_id,
            line,
            (Leg.CUSTOMER,),
            self.clock.now(),
            metadata={"number": f"+49-{call_id}", "agent": "zoe"},
            tenant=tenant,
            subject=subject,
            owner="p1",
        )
        made = [
            replace(make_record(call_id, n), seq=n, created_at=self.clock.now())
            for n in range(1, records + 1)
        ]
        await self.write(
            OpenCall(info, {"call_id": call_id}),
            *(AppendRecord(tenant, record) for record in made),
            AddFeedEntry(tenant, "alert", call_id, f"alert-{call_id}", {"call_id": call_id}),
            Enqueue(tenant, "webhooks", f"hook-{call_id}", {"body": call_id}, self.clock.now(), call_id),
        )
        for number, kind in enumerate(("feedback", "dead_letter", "feedback")):
            value = {"about": call_id, "subject": subject}
            await self.memory.documents.put(tenant, kind, f"{call_id}-{number}", value, call_id=call_id)
        if ended:
            await self.end(call_id, tenant=tenant)

    async def end(self, call_id: str, *, tenant: str = "default", ttl_s: float = 86_400.0) -> None:
        """Ends a call."""
        now = self.clock.now()
        await self.write(CloseCall(tenant, call_id, "completed", now, {"s": 1}, {"call_id": call_id}, ttl_s))

    async def held(self, *call_ids: str) -> list[str]:
        """Which of these calls are held."""
        calls = self.memory.results._fresh("default").calls
        return [call_id for call_id in call_ids if call_id in calls]
