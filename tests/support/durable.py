"""A durable store over a flaky one, and changes to put into it."""

from __future__ import annotations

from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path

from app.domain import Leg
from app.results.durable import DurableOptions, DurableStore
from app.results.spool_files import SpoolOptions
from app.results.store import CallInfo, ResultStore, Stored, StoreError
from app.results.store_metrics import Refused, StoreState
from app.results.writes import AppendRecord, CloseCall, OpenCall, Write
from tests.support.clock import FakeClock
from tests.support.flaky import FlakyStore
from tests.support.records import make_record
from tests.support.spools import Losses, open_spool

TENANT = "acme"
BIG = SpoolOptions()
PATIENT = DurableOptions(timeout_s=60.0)


def opening(call_id: str = "a", owner: str = "me", started_at: float = 1.0) -> OpenCall:
    """A call begins."""
    call = CallInfo(
        call_id,
        "line",
        (Leg.CUSTOMER,),
        started_at,
        metadata={"name": "Jane Roe"},
        tenant=TENANT,
        owner=owner,
        resume="digest",
    )
    return OpenCall(call, {"call_id": call_id})


def record(seq: int, call_id: str = "a", owner: str = "me") -> AppendRecord:
    """A record of a call."""
    made = replace(make_record(call_id, seq), seq=seq, created_at=1_700_000_000.0 + seq, detail="Jane Roe")
    return AppendRecord(TENANT, made, owner)


def closing(call_id: str = "a", resume_until: float | None = None) -> CloseCall:
    """A call ends."""
    body = {"call_id": call_id, "name": "Jane Roe"}
    return CloseCall(
        TENANT, call_id, "completed", 9.0, {"name": "Jane Roe"}, body, 3_600.0, resume_until, "me"
    )


@dataclass
class Counts:
    """A `StoreMetrics` that remembers."""

    states: list[StoreState] = field(default_factory=list)
    refusals: Counter[Refused] = field(default_factory=Counter)
    spooled: int = 0
    done: int = 0
    entries: int = 0

    def state(self, state: StoreState) -> None:
        """Remembers."""
        self.states.append(state)

    def spool(self, entries: int, size: int) -> None:
        """Remembers."""
        self.entries = entries
        assert size >= 0

    def held(self, entries: int) -> None:
        """Remembers."""
        self.spooled += entries

    def carried_out(self, entries: int) -> None:
        """Remembers."""
        self.done += entries

    def refused(self, why: Refused, entries: int) -> None:
        """Remembers."""
        self.refusals[why] += entries


class Bench:
    """A durable store over a flaky one, in a directory."""

    def __init__(self, base: Path) -> None:
        self.base = base
        self.clock = FakeClock()
        self.inner = FlakyStore(self.clock)
        self.counts = Counts()
        self.losses = Losses()

    @asynccontextmanager
    async def store(
        self, options: DurableOptions = PATIENT, spool: SpoolOptions = BIG
    ) -> AsyncIterator[DurableStore]:
        """A process with the store; closed at the end."""
        self.clock.advance(1)
        files = await open_spool(self.base, spool, clock=self.clock, on_lost=self.losses)
        store = DurableStore(self.inner, files, self.clock, options, metrics=self.counts)
        as_store: ResultStore = store
        assert as_store is store
        await store.start()
        try:
            yield store
        finally:
            await store.close()

    async def seqs(self, call_id: str = "a") -> list[int | None]:
        """Sequence numbers of the records that the store behind holds."""
        page = await self.inner.memory.list_records(TENANT, call_id, from_seq=0, limit=10_000)
        return [one.seq for one in page.items]

    async def feed(self) -> list[tuple[str, str, int | None]]:
        """Types, calls and sequence numbers of the feed of the store behind."""
        page = await self.inner.memory.read_feed(TENANT, after=0, limit=100_000)
        return [(entry.type, entry.call_id, entry.seq) for entry in page.items]


async def ask(store: DurableStore, *writes: Write) -> list[Stored]:
    """Writes what must be taken."""
    answers = await store.write(writes)
    taken = [answer for answer in answers if isinstance(answer, Stored)]
    assert len(taken) == len(writes), answers
    return taken


async def refusals(store: DurableStore, *writes: Write) -> list[type[StoreError] | None]:
    """Writes, and by what each was refused."""
    answers = await store.write(writes)
    return [type(answer) if isinstance(answer, StoreError) else None for answer in answers]
