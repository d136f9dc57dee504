"""What is kept beside calls, in the process's own memory."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from app.results.documents import (
    Document,
    DocumentConflictError,
    DocumentNotFoundError,
    Job,
    JournalEntry,
)
from app.results.store import BadCursorError, Page
from app.results.writes import Enqueue
from app.telemetry.clock import Clock

DEDUPE_S = 86_400.0
"""How long a queue knows the key of work that was done."""


@dataclass(slots=True)
class _Held:
    document: Document
    expires_at: float | None


class MemoryDocuments:
    """A `DocumentStore` in memory."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._kinds: dict[tuple[str, str], dict[str, _Held]] = {}

    async def put(
        self,
        tenant: str,
        kind: str,
        key: str,
        value: Mapping[str, Any],
        *,
        ttl_s: float | None = None,
        call_id: str | None = None,
        expected_version: int | None = None,
    ) -> Document:
        """Writes a document whole; see `DocumentStore.put`."""
        held = self._fresh(tenant, kind)
        version = held[key].document.version if key in held else 0
        if expected_version is not None and version != expected_version:
            raise DocumentConflictError(f"expected version {expected_version}, found {version}")
        document = Document(key, dict(value), version + 1, call_id)
        expires_at = None if ttl_s is None else self._clock.monotonic() + ttl_s
        held[key] = _Held(document, expires_at)
        return document

    async def get(self, tenant: str, kind: str, key: str) -> Document:
        """One document; see `DocumentStore.get`."""
        try:
            return self._fresh(tenant, kind)[key].document
        except KeyError:
            raise DocumentNotFoundError(f"no {kind} of this key") from None

    async def delete(self, tenant: str, kind: str, key: str) -> bool:
        """Removes one; see `DocumentStore.delete`."""
        return self._fresh(tenant, kind).pop(key, None) is not None

    async def list(
        self,
        tenant: str,
        kind: str,
        *,
        cursor: str | None = None,
        limit: int = 100,
        call_id: str | None = None,
    ) -> Page[Document]:
        """Documents by key; see `DocumentStore.list`."""
        after = None if cursor is None else _key_of(cursor)
        held = self._fresh(tenant, kind)
        found = [
            held[key].document
            for key in sorted(held)
            if (after is None or key > after) and (call_id is None or held[key].document.call_id == call_id)
        ]
        page = found[:limit]
        return Page(tuple(page), page[-1].key.encode().hex() if len(found) > limit else None)

    def forget(self, tenant: str, call_id: str) -> None:
        """Removes every document of a call."""
        for (owner, _), held in self._kinds.items():
            if owner == tenant:
                for key in [key for key, item in held.items() if item.document.call_id == call_id]:
                    del held[key]

    def _fresh(self, tenant: str, kind: str) -> dict[str, _Held]:
        held = self._kinds.setdefault((tenant, kind), {})
        now = self._clock.monotonic()
        for key in [
            key for key, item in held.items() if item.expires_at is not None and item.expires_at <= now
        ]:
            del held[key]
        return held


@dataclass(slots=True)
class _Waiting:
    job: Job
    due_at: float


class MemoryQueue:
    """A `WorkQueue` in memory."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._queues: dict[tuple[str, str], dict[str, _Waiting]] = {}
        self._seen: dict[tuple[str, str, str], tuple[float, str | None]] = {}

    def put(self, work: Enqueue) -> bool:
        """Takes in work; False where its key is queued or was done lately."""
        now = self._clock.monotonic()
        while self._seen and next(iter(self._seen.values()))[0] <= now:
            del self._seen[next(iter(self._seen))]
        where = (work.tenant, work.queue, work.key)
        if where in self._seen:
            return False
        self._seen[where] = (now + DEDUPE_S, work.call_id)
        job = Job(work.tenant, work.queue, work.key, dict(work.payload), 0, work.call_id)
        self._jobs(work.tenant, work.queue)[work.key] = _Waiting(job, work.due_at)
        return True

    async def claim(self, tenant: str, queue: str, *, now: float, lease_s: float, limit: int) -> list[Job]:
        """Jobs that are due; see `WorkQueue.claim`."""
        waiting = self._jobs(tenant, queue)
        due = sorted((item.due_at, key) for key, item in waiting.items() if item.due_at <= now)[:limit]
        for _, key in due:
            item = waiting[key]
            item.job = replace(item.job, attempts=item.job.attempts + 1)
            item.due_at = now + lease_s
        return [waiting[key].job for _, key in due]

    async def done(self, job: Job) -> None:
        """The job is done; see `WorkQueue.done`."""
        self._jobs(job.tenant, job.queue).pop(job.key, None)

    async def postpone(self, job: Job, *, due_at: float, payload: Mapping[str, Any]) -> None:
        """The job is due later; see `WorkQueue.postpone`."""
        item = self._jobs(job.tenant, job.queue).get(job.key)
        if item is not None:
            item.due_at = due_at
            item.job = replace(item.job, payload=dict(payload))

    async def depth(self, tenant: str, queue: str) -> int:
        """How many wait; see `WorkQueue.depth`."""
        return len(self._jobs(tenant, queue))

    def forget(self, tenant: str, call_id: str) -> None:
        """Removes every job of a call, and that it was ever there."""
        for (owner, _), waiting in self._queues.items():
            if owner == tenant:
                for key in [key for key, item in waiting.items() if item.job.call_id == call_id]:
                    del waiting[key]
        for where in [
            where for where, (_, call) in self._seen.items() if where[0] == tenant and call == call_id
        ]:
            del self._seen[where]

    def _jobs(self, tenant: str, queue: str) -> dict[str, _Waiting]:
        return self._queues.setdefault((tenant, queue), {})


class MemoryJournal:
    """A `Journal` in memory."""

    def __init__(self) -> None:
        self._lists: dict[tuple[str, str], list[JournalEntry]] = {}
        self._numbers: dict[tuple[str, str], int] = {}

    async def append(
        self, tenant: str, name: str, value: Mapping[str, Any], *, expected_last: int | None = None
    ) -> int:
        """Adds an entry; see `Journal.append`."""
        last = self._numbers.get((tenant, name), 0)
        if expected_last is not None and last != expected_last:
            raise DocumentConflictError(f"expected {expected_last} to be the newest entry, found {last}")
        self._numbers[tenant, name] = last + 1
        self._lists.setdefault((tenant, name), []).append(JournalEntry(last + 1, dict(value)))
        return last + 1

    async def read(self, tenant: str, name: str, *, after: int, limit: int) -> tuple[JournalEntry, ...]:
        """Entries in order; see `Journal.read`."""
        entries = self._lists.get((tenant, name), [])
        skipped = after + 1 - entries[0].number if entries else 0
        begin = max(0, skipped)
        return tuple(entries[begin : begin + limit])

    async def last(self, tenant: str, name: str) -> JournalEntry | None:
        """The newest entry; see `Journal.last`."""
        entries = self._lists.get((tenant, name))
        return entries[-1] if entries else None

    async def trim(self, tenant: str, name: str, *, before: int) -> int:
        """Removes what is older; see `Journal.trim`."""
        entries = self._lists.get((tenant, name), [])
        kept = [entry for entry in entries if entry.number >= before]
        self._lists[tenant, name] = kept
        return len(entries) - len(kept)


def _key_of(cursor: str) -> str:
    try:
        key = bytes.fromhex(cursor).decode()
        if not key or key.encode().hex() != cursor:
            raise ValueError
        return key
    except ValueError:
        raise BadCursorError("not a cursor of this list") from None
