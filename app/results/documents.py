"""The contract of what is kept beside calls: small JSON documents, work that is due, and journals."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from app.results.store import Page, StoreError


class DocumentNotFoundError(StoreError):
    """No such document."""


class DocumentConflictError(StoreError):
    """Somebody else changed the document meanwhile (or it is there already)."""


@dataclass(frozen=True, slots=True)
class Document:
    """A JSON object under a key. version: grows by one with every change, from 1. call_id: whose erasure removes it."""

    key: str
    value: Mapping[str, Any]
    version: int
    call_id: str | None = None


class DocumentStore(Protocol):
    """JSON objects by tenant, kind and key. Every method may raise `StoreAwayError`.

    kind: a static name (`webhook`, `feedback` …). key: any text of at most 256 characters.
    """

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
        """Writes a document whole. expected_version: what it must have now (0: must not exist); None: whatever.

        Raises:
            DocumentConflictError: it has another version.
        """
        ...

    async def get(self, tenant: str, kind: str, key: str) -> Document:
        """One document.

        Raises:
            DocumentNotFoundError: there is none.
        """
        ...

    async def delete(self, tenant: str, kind: str, key: str) -> bool:
        """Removes one; False where there was none."""
        ...

    async def list(
        self,
        tenant: str,
        kind: str,
        *,
        cursor: str | None = None,
        limit: int = 100,
        call_id: str | None = None,
    ) -> Page[Document]:
        """Documents of a kind by key (code points, ascending); of one call where `call_id` is given.

        Raises:
            BadCursorError: the cursor was not given by this store.
        """
        ...


@dataclass(frozen=True, slots=True)
class Job:
    """Queued work in somebody's hands. attempts: how often it was claimed, this time included."""

    tenant: str
    queue: str
    key: str
    payload: Mapping[str, Any]
    attempts: int
    call_id: str | None = None


class WorkQueue(Protocol):
    """Work that is due at a time, given to one worker at a time; put in by `app.results.writes.Enqueue`.

    At least once: a job whose worker dies is given out again when its lease ends. Every method may raise
    `StoreAwayError`.
    """

    async def claim(self, tenant: str, queue: str, *, now: float, lease_s: float, limit: int) -> list[Job]:
        """Jobs that are due, earliest first; nobody else gets them until `now + lease_s`."""
        ...

    async def done(self, job: Job) -> None:
        """The job is done; it goes."""
        ...

    async def postpone(self, job: Job, *, due_at: float, payload: Mapping[str, Any]) -> None:
        """The job is due again later, with another payload. A job that was erased meanwhile stays away."""
        ...

    async def depth(self, tenant: str, queue: str) -> int:
        """How many wait, those in somebody's hands included."""
        ...


@dataclass(frozen=True, slots=True)
class JournalEntry:
    """One entry. number: 1, 2, 3 … without holes."""

    number: int
    value: Mapping[str, Any]


class Journal(Protocol):
    """Lists that only grow: what is written is neither changed nor removed but by age.

    Every method may raise `StoreAwayError`.
    """

    async def append(
        self, tenant: str, name: str, value: Mapping[str, Any], *, expected_last: int | None = None
    ) -> int:
        """Adds an entry and returns its number. expected_last: the number that must be the newest.

        Raises:
            DocumentConflictError: another entry came meanwhile.
        """
        ...

    async def read(self, tenant: str, name: str, *, after: int, limit: int) -> tuple[JournalEntry, ...]:
        """Entries with numbers above `after`, in order."""
        ...

    async def last(self, tenant: str, name: str) -> JournalEntry | None:
        """The newest entry."""
        ...

    async def trim(self, tenant: str, name: str, *, before: int) -> int:
        """Removes entries with numbers below `before` (retention); how many went."""
        ...
