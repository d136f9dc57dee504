"""Documents, due work and journals in Redis."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from app.results.documents import (
    Document,
    DocumentConflictError,
    DocumentNotFoundError,
    Job,
    JournalEntry,
)
from app.results.redis.link import RedisLink
from app.results.redis.naming import key_from_cursor, key_to_cursor, meta_key, milliseconds, quoted
from app.results.redis.text import dumps, loads
from app.results.store import Page

_JOURNAL_STEP = 1_000


class RedisDocuments:
    """A `DocumentStore` in Redis."""

    def __init__(self, link: RedisLink) -> None:
        self._link = link

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
        asked = (
            quoted(kind),
            key,
            dumps(value),
            "" if call_id is None else call_id,
            "" if ttl_s is None else milliseconds(ttl_s),
            "" if expected_version is None else expected_version,
        )
        said, version = await self._link.one(self._link.write(meta_key(tenant), "put", *asked))
        if said == "conflict":
            raise DocumentConflictError(f"expected version {expected_version}, found {version}")
        return Document(key, dict(value), version, call_id)

    async def get(self, tenant: str, kind: str, key: str) -> Document:
        """One document; see `DocumentStore.get`."""
        answer = await self._link.one(self._link.rest(meta_key(tenant), "document", quoted(kind), key))
        if not answer:
            raise DocumentNotFoundError(f"no {kind} of this key")
        return _document(key, *answer)

    async def delete(self, tenant: str, kind: str, key: str) -> bool:
        """Removes one; see `DocumentStore.delete`."""
        return await self._link.count(self._link.rest(meta_key(tenant), "delete", quoted(kind), key)) == 1

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
        low = "-" if cursor is None else f"({key_from_cursor(cursor)}"
        of = "" if call_id is None else f"={call_id}"
        found: list[Document] = []
        more = True
        while more and len(found) <= limit:
            asked = (quoted(kind), low, limit + 1 - len(found), of)
            left, seen, items = await self._link.one(self._link.rest(meta_key(tenant), "documents", *asked))
            found += [_document(*item) for item in items]
            more, low = left == 1, f"({seen}"
        page = found[:limit]
        return Page(tuple(page), key_to_cursor(page[-1].key) if len(found) > limit and page else None)


class RedisQueue:
    """A `WorkQueue` in Redis."""

    def __init__(self, link: RedisLink) -> None:
        self._link = link

    async def claim(self, tenant: str, queue: str, *, now: float, lease_s: float, limit: int) -> list[Job]:
        """Jobs that are due; see `WorkQueue.claim`."""
        asked = (quoted(queue), repr(float(now)), repr(float(now + lease_s)), max(0, limit))
        jobs = await self._link.one(self._link.rest(meta_key(tenant), "claim", *asked))
        return [
            Job(tenant, queue, key, loads(payload), attempts, call_id or None)
            for key, payload, attempts, call_id in jobs
        ]

    async def done(self, job: Job) -> None:
        """The job is done; see `WorkQueue.done`."""
        await self._link.one(self._link.rest(meta_key(job.tenant), "done", quoted(job.queue), job.key))

    async def postpone(self, job: Job, *, due_at: float, payload: Mapping[str, Any]) -> None:
        """The job is due later; see `WorkQueue.postpone`."""
        kept = milliseconds(self._link.options.queue_ttl_s)
        asked = (quoted(job.queue), job.key, repr(float(due_at)), dumps(payload), kept)
        await self._link.one(self._link.rest(meta_key(job.tenant), "postpone", *asked))

    async def depth(self, tenant: str, queue: str) -> int:
        """How many wait; see `WorkQueue.depth`."""
        return await self._link.count(self._link.rest(meta_key(tenant), "depth", quoted(queue)))


class RedisJournal:
    """A `Journal` in Redis; it has no time to live, only `trim` shortens it."""

    def __init__(self, link: RedisLink) -> None:
        self._link = link

    async def append(
        self, tenant: str, name: str, value: Mapping[str, Any], *, expected_last: int | None = None
    ) -> int:
        """Adds an entry; see `Journal.append`."""
        asked = (quoted(name), dumps(value), "" if expected_last is None else expected_last)
        said, number = await self._link.one(self._link.write(meta_key(tenant), "journal_append", *asked))
        if said == "conflict":
            raise DocumentConflictError(f"expected {expected_last} to be the newest entry, found {number}")
        return int(number)

    async def read(self, tenant: str, name: str, *, after: int, limit: int) -> tuple[JournalEntry, ...]:
        """Entries in order; see `Journal.read`."""
        found: list[JournalEntry] = []
        while True:
            step = max(0, min(_JOURNAL_STEP, limit - len(found)))
            asked = (quoted(name), max(0, after), step)
            entries = await self._link.one(self._link.rest(meta_key(tenant), "journal_read", *asked))
            found += [JournalEntry(number, loads(text)) for number, text in entries]
            if len(entries) < step or len(found) >= limit:
                return tuple(found)
            after = found[-1].number

    async def last(self, tenant: str, name: str) -> JournalEntry | None:
        """The newest entry; see `Journal.last`."""
        answer = await self._link.one(self._link.rest(meta_key(tenant), "journal_last", quoted(name)))
        return None if answer is None else JournalEntry(int(answer[0]), loads(answer[1]))

    async def trim(self, tenant: str, name: str, *, before: int) -> int:
        """Removes what is older; see `Journal.trim`."""
        gone = 0
        while True:
            asked = (quoted(name), before, _JOURNAL_STEP)
            went = await self._link.count(self._link.rest(meta_key(tenant), "journal_trim", *asked))
            gone += went
            if went < _JOURNAL_STEP:
                return gone


def _document(key: str, text: str, version: str, call_id: str) -> Document:
    return Document(key, loads(text), int(version), call_id or None)
