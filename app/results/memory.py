"""Results in the process's own memory: bounded in calls, in records per call and in time."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import islice, takewhile
from typing import Any

from app.domain import UtteranceRecord
from app.records import record_body
from app.results.expiry import Expiries
from app.results.memory_beside import MemoryDocuments, MemoryJournal, MemoryQueue
from app.results.selection import matches, resumable
from app.results.statistics import contribution
from app.results.store import (
    BadCursorError,
    CallActiveError,
    CallExistsError,
    CallFilter,
    CallInfo,
    CallNotFoundError,
    CallState,
    FeedEntry,
    FeedRange,
    NotResumableError,
    Page,
    RecordRange,
    StatBucket,
    StatKey,
    StatSums,
    Stored,
    StoreError,
)
from app.results.writes import (
    AddFeedEntry,
    AddMetadata,
    AppendRecord,
    CloseCall,
    Enqueue,
    EraseCall,
    OpenCall,
    Write,
)
from app.telemetry.clock import Clock

ERASED = "call_erased"


@dataclass(frozen=True, slots=True)
class MemoryBounds:
    """How much is held, by tenant. ttl_s: of an ended call unless its `CloseCall` says otherwise."""

    max_calls: int = 2_000
    max_records_per_call: int = 2_000
    feed_entries: int = 100_000
    stats_ttl_s: float = 90 * 86_400.0


class MemoryStores:
    """Everything that is kept, without a service behind it; gone with the process."""

    def __init__(self, clock: Clock, bounds: MemoryBounds | None = None) -> None:
        self.documents = MemoryDocuments(clock)
        self.queue = MemoryQueue(clock)
        self.journal = MemoryJournal()
        self.results = MemoryStore(clock, bounds or MemoryBounds(), self.documents, self.queue)


@dataclass(slots=True)
class _Entry:
    number: int
    info: CallInfo
    records: deque[UtteranceRecord]
    last_seq: int = 0
    told: list[int] = field(default_factory=list)
    expires_at: float | None = None
    stats: dict[tuple[int, StatKey], StatSums] = field(default_factory=dict)


@dataclass(slots=True)
class _Tenant:
    feed: deque[FeedEntry]
    calls: dict[str, _Entry] = field(default_factory=dict)
    ended: Expiries = field(default_factory=Expiries)
    opened: int = 0
    position: int = 0
    version: int = 0
    feed_keys: dict[str, str] = field(default_factory=dict)  # of which call each is
    stats: dict[tuple[int, StatKey], StatSums] = field(default_factory=dict)


class MemoryStore:
    """A `ResultStore` in memory.

    An ended call expires as its `CloseCall` said. Over `max_calls` the call that ended first goes; a live call never
    does. Over `max_records_per_call` a call's oldest records go, and its `dropped` says how many.
    """

    def __init__(
        self, clock: Clock, bounds: MemoryBounds, documents: MemoryDocuments, queue: MemoryQueue
    ) -> None:
        self._clock = clock
        self._bounds = bounds
        self._documents = documents
        self._queue = queue
        self._tenants: dict[str, _Tenant] = {}
        self._owners: dict[str, float] = {}

    async def write(self, writes: Sequence[Write]) -> list[Stored | StoreError]:
        """Carries out changes in order; see `ResultStore.write`."""
        answers: list[Stored | StoreError] = []
        for write in writes:
            try:
                answers.append(self._carry_out(write))
            except StoreError as error:
                answers.append(error)
        return answers

    async def list_calls(
        self, tenant: str, which: CallFilter, *, cursor: str | None, limit: int
    ) -> Page[CallInfo]:
        """Calls, latest start first; see `ResultStore.list_calls`."""
        place = self._fresh(tenant)
        before = _number(cursor)
        entries: Iterable[_Entry] = reversed(place.calls.values())
        wanted = (
            entry
            for entry in entries
            if (before is None or entry.number < before) and matches(entry.info, which)
        )
        found = list(islice(wanted, limit + 1))
        page = found[:limit]
        more = str(page[-1].number) if len(found) > limit else None
        return Page(tuple(entry.info for entry in page), more)

    async def get_call(self, tenant: str, call_id: str) -> CallInfo:
        """One call; see `ResultStore.get_call`."""
        return self._entry(tenant, call_id).info

    async def list_records(self, tenant: str, call_id: str, *, from_seq: int, limit: int) -> RecordRange:
        """The records of a call; see `ResultStore.list_records`."""
        entry = self._entry(tenant, call_id)
        wanted = (record for record in entry.records if (record.seq or 0) >= from_seq)
        items = tuple(record for record, _ in zip(wanted, range(limit), strict=False))
        first = (entry.records[0].seq or 0) if entry.records else entry.last_seq + 1
        return RecordRange(items, first, entry.last_seq)

    async def resume_call(
        self, tenant: str, call_id: str, *, secret_digest: str, owner: str, now: float
    ) -> CallInfo:
        """Makes a call that broke off live again; see `ResultStore.resume_call`."""
        entry = self._entry(tenant, call_id)
        info = entry.info
        if not resumable(info, secret_digest, now):
            raise NotResumableError(f"call {call_id} cannot be taken up again")
        place = self._tenants[tenant]
        place.ended.discard(call_id)
        entry.expires_at = None
        entry.info = replace(
            info,
            state=CallState.ACTIVE,
            outcome=None,
            ended_at=None,
            summary=None,
            owner=owner,
            resume_until=None,
        )
        self._changed(place, entry)
        return entry.info

    async def calls_of_subject(self, tenant: str, subject: str) -> tuple[str, ...]:
        """Ids of the calls of a subject; see `ResultStore.calls_of_subject`."""
        calls = self._fresh(tenant).calls
        return tuple(call_id for call_id, entry in calls.items() if entry.info.subject == subject)

    async def read_feed(self, tenant: str, *, after: int, limit: int) -> FeedRange:
        """Entries of the feed; see `ResultStore.read_feed`."""
        place = self._fresh(tenant)
        newest_first = takewhile(lambda entry: entry.position > after, reversed(place.feed))
        items = tuple(reversed(list(newest_first)))[:limit]
        first = place.feed[0].position if place.feed else place.position + 1
        return FeedRange(items, first, place.position)

    async def version(self, tenant: str) -> int:
        """A number that grows with every change; see `ResultStore.version`."""
        return self._fresh(tenant).version

    async def stats(self, tenant: str, *, since: float, until: float) -> list[StatBucket]:
        """Every bucket of a time; see `ResultStore.stats`."""
        place = self._fresh(tenant)
        oldest = self._clock.now() - self._bounds.stats_ttl_s
        place.stats = {where: sums for where, sums in place.stats.items() if where[0] >= oldest}
        found = [
            StatBucket(start, key, sums)
            for (start, key), sums in place.stats.items()
            if since <= start < until
        ]
        return sorted(found, key=lambda bucket: (bucket.start, str(bucket.key)))

    async def tenants(self) -> tuple[str, ...]:
        """Every tenant that has something."""
        return tuple(sorted(self._tenants))

    async def heartbeat(self, owner: str, ttl_s: float) -> None:
        """Notes that an owner lives."""
        self._owners[owner] = self._clock.monotonic() + ttl_s

    async def orphans(self, tenant: str) -> tuple[CallInfo, ...]:
        """Live calls whose owner's heartbeat has stopped."""
        now = self._clock.monotonic()
        live = {owner for owner, until in self._owners.items() if until > now}
        infos = (entry.info for entry in self._fresh(tenant).calls.values())
        return tuple(info for info in infos if info.state is CallState.ACTIVE and info.owner not in live)

    async def ping(self) -> None:
        """Always succeeds."""

    async def close(self) -> None:
        """Nothing is held open."""

    def _carry_out(self, write: Write) -> Stored:
        match write:
            case OpenCall():
                return self._open(write)
            case AppendRecord():
                return self._append(write)
            case AddMetadata():
                entry = self._entry(write.tenant, write.call_id)
                entry.info = replace(entry.info, metadata={**entry.info.metadata, **write.values})
                self._changed(self._tenants[write.tenant], entry)
                return Stored()
            case CloseCall():
                return self._close(write)
            case AddFeedEntry():
                return self._add(write)
            case Enqueue():
                return Stored(duplicate=not self._queue.put(write))
            case EraseCall():
                return self._erase(write)

    def _open(self, write: OpenCall) -> Stored:
        call = write.call
        place = self._fresh(call.tenant)
        known = place.calls.get(call.call_id)
        if known is not None:
            same = (known.info.owner, known.info.started_at) == (call.owner, call.started_at)
            if same and call.owner:
                return Stored(duplicate=True)
            raise CallExistsError(f"call {call.call_id} is known already")
        self._make_room(place, self._bounds.max_calls - 1)
        place.opened += 1
        entry = _Entry(place.opened, call, deque(maxlen=self._bounds.max_records_per_call))
        place.calls[call.call_id] = entry
        self._changed(place, entry)
        return Stored(position=self._tell(place, "call_started", call.call_id, write.body, call.owner))

    def _append(self, write: AppendRecord) -> Stored:
        record = write.record
        entry = self._entry(write.tenant, record.call_id)
        place = self._tenants[write.tenant]
        if record.seq is None:
            raise ValueError("expected a record with its seq")
        if record.seq <= entry.last_seq:
            return Stored(duplicate=True)
        skipped = record.seq - entry.last_seq - 1
        dropped = skipped + int(len(entry.records) == self._bounds.max_records_per_call)
        entry.records.append(record)
        entry.last_seq = record.seq
        entry.info = replace(entry.info, utterances=record.seq, dropped=entry.info.dropped + dropped)
        self._count(place, entry, record)
        self._changed(place, entry)
        body = record_body(record)
        return Stored(position=self._tell(place, "utterance", record.call_id, body, write.owner, record.seq))

    def _close(self, write: CloseCall) -> Stored:
        entry = self._entry(write.tenant, write.call_id)
        if entry.info.state is CallState.ENDED:
            return Stored(duplicate=True)
        place = self._tenants[write.tenant]
        entry.info = replace(
            entry.info,
            state=CallState.ENDED,
            outcome=write.outcome,
            ended_at=write.ended_at,
            summary=None if write.summary is None else dict(write.summary),
            resume_until=write.resume_until,
        )
        entry.expires_at = self._clock.monotonic() + write.ttl_s
        place.ended.add(write.call_id, entry.expires_at)
        self._changed(place, entry)
        position = self._tell(place, "call_ended", write.call_id, write.body, write.owner)
        self._make_room(place, self._bounds.max_calls)
        return Stored(position=position)

    def _add(self, write: AddFeedEntry) -> Stored:
        place = self._fresh(write.tenant)
        if write.key in place.feed_keys:
            return Stored(duplicate=True)
        place.feed_keys[write.key] = write.call_id
        if len(place.feed_keys) > self._bounds.feed_entries:
            del place.feed_keys[next(iter(place.feed_keys))]
        return Stored(position=self._tell(place, write.type, write.call_id, write.body, write.owner))

    def _erase(self, write: EraseCall) -> Stored:
        place = self._fresh(write.tenant)
        entry = place.calls.get(write.call_id)
        if entry is not None and entry.info.state is CallState.ACTIVE:
            raise CallActiveError(f"call {write.call_id} has not ended")
        self._documents.forget(write.tenant, write.call_id)
        self._queue.forget(write.tenant, write.call_id)
        for key in [key for key, call_id in place.feed_keys.items() if call_id == write.call_id]:
            del place.feed_keys[key]
        known = entry is not None or any(
            told.call_id == write.call_id and told.type != ERASED for told in place.feed
        )
        if not known:
            return Stored(duplicate=True)
        if entry is not None:
            for where, sums in entry.stats.items():
                self._uncount(place, where, sums)
            place.ended.erase(write.call_id)
            self._forget(place, write.call_id)
        for index, told in enumerate(place.feed):
            if told.call_id == write.call_id:
                place.feed[index] = FeedEntry(told.position, ERASED, write.call_id, {})
        place.version += 1
        body = {"call_id": write.call_id}
        return Stored(position=self._tell(place, ERASED, write.call_id, body, write.owner))

    def _tell(
        self,
        place: _Tenant,
        kind: str,
        call_id: str,
        body: Mapping[str, Any],
        origin: str,
        seq: int | None = None,
    ) -> int:
        place.position += 1
        place.feed.append(FeedEntry(place.position, kind, call_id, dict(body), seq, origin))
        if call_id in place.calls and kind != ERASED:
            place.calls[call_id].told.append(place.position)
        return place.position

    def _count(self, place: _Tenant, entry: _Entry, record: UtteranceRecord) -> None:
        added = contribution(record, entry.info.line, entry.info.team)
        if added is not None:
            start, key, sums = added
            for book in (place.stats, entry.stats):
                book[start, key] = book.get((start, key), StatSums()) + sums

    def _uncount(self, place: _Tenant, where: tuple[int, StatKey], sums: StatSums) -> None:
        left = place.stats.pop(where, StatSums()) + sums.negated()
        if left.n > 0:
            place.stats[where] = left

    def _changed(self, place: _Tenant, entry: _Entry) -> None:
        place.version += 1
        entry.info = replace(entry.info, version=entry.info.version + 1)

    def _entry(self, tenant: str, call_id: str) -> _Entry:
        try:
            return self._fresh(tenant).calls[call_id]
        except KeyError:
            raise CallNotFoundError(f"call {call_id} is not known") from None

    def _fresh(self, tenant: str) -> _Tenant:
        """The tenant's place, without what has expired."""
        place = self._tenants.get(tenant)
        if place is None:
            place = _Tenant(deque(maxlen=self._bounds.feed_entries))
            self._tenants[tenant] = place
            return place
        now = self._clock.monotonic()
        for call_id in place.ended.due(now):
            self._forget(place, call_id)
        return place

    def _make_room(self, place: _Tenant, calls: int) -> None:
        while len(place.calls) > calls and place.ended:
            self._forget(place, next(iter(place.ended)))

    def _forget(self, place: _Tenant, call_id: str) -> None:
        entry = place.calls.pop(call_id)
        for position in entry.told:
            index = position - place.feed[0].position
            if index >= 0:
                place.feed[index] = FeedEntry(position, ERASED, call_id, {})
        place.ended.discard(call_id)
        place.version += 1


def _number(cursor: str | None) -> int | None:
    if cursor is None:
        return None
    if not cursor.isascii() or not cursor.isdigit() or len(cursor) > 18:
        raise BadCursorError("not a cursor of this list")
    return int(cursor)
