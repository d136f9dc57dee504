"""Dead letters: deliveries that were given up, kept until somebody sends them again, and erased with their call."""

from __future__ import annotations

import contextlib
import hashlib
from collections.abc import AsyncIterator
from dataclasses import dataclass, replace
from enum import StrEnum

from app.delivery.dispatch import QUEUE, Delivery
from app.records import epoch_s
from app.results.documents import (
    Document,
    DocumentConflictError,
    DocumentNotFoundError,
    DocumentStore,
    Job,
    WorkQueue,
)
from app.results.store import Page, ResultStore, StoreError
from app.results.writes import Enqueue
from app.telemetry.clock import Clock

KIND = "dead_letter"
"""Of the documents."""
COUNTED_AT_MOST = 500
_PAGE = 200
_MARK_S = 600.0


class LetterState(StrEnum):
    """Where a dead letter is."""

    MARKED = "marked"
    """About to be written; holds nothing yet and is shown to nobody."""
    DEAD = "dead"
    QUEUED = "queued"
    """It is being sent again."""


@dataclass(frozen=True, slots=True)
class Failure:
    """Why a delivery was given up. reason: the last outcome, or `disabled`. status: of the last answer."""

    reason: str
    status: int | None = None
    detail: str | None = None


@dataclass(frozen=True, slots=True)
class DeadLetter:
    """A delivery that was given up. failed_at: epoch seconds. redrives: how often it was put back in the queue."""

    id: str
    state: LetterState
    delivery: Delivery
    call_id: str | None
    failure: Failure
    failed_at: float
    redrives: int
    version: int


class DeadLetters:
    """The dead letters of all tenants. Methods may raise `StoreAwayError`."""

    def __init__(
        self, documents: DocumentStore, queue: WorkQueue, store: ResultStore, clock: Clock, ttl_s: float
    ) -> None:
        self._documents = documents
        self._queue = queue
        self._store = store
        self._clock = clock
        self._ttl_s = ttl_s

    async def mark(self, job: Job, delivery: Delivery, failure: Failure) -> None:
        """The first of two steps by which a job becomes a letter: an empty document, and the job is due again.

        What is erased while a worker holds it must not come back as a letter. So the letter is only written when the
        queue has given the job out once more, and only in place of its mark: erasure removes both.
        """
        key = letter_id(delivery)
        mark = await self._documents.put(
            job.tenant,
            KIND,
            key,
            {"state": LetterState.MARKED.value},
            ttl_s=_MARK_S,
            call_id=job.call_id,
        )
        failed = {
            "reason": failure.reason,
            "status": failure.status,
            "detail": failure.detail,
            "mark": mark.version,
        }
        payload = {**delivery.payload(), "failed": failed}
        await self._queue.postpone(job, due_at=self._clock.now(), payload=payload)

    async def bury(self, job: Job, delivery: Delivery) -> bool:
        """The second step; False where the mark is gone, so that the first must be taken again."""
        failed = job.payload["failed"]
        letter = DeadLetter(
            id=letter_id(delivery),
            state=LetterState.DEAD,
            delivery=delivery,
            call_id=job.call_id,
            failure=Failure(failed["reason"], failed["status"], failed["detail"]),
            failed_at=self._clock.now(),
            redrives=0,
            version=failed["mark"],
        )
        try:
            await self._put(job.tenant, letter)
        except DocumentConflictError:
            try:
                held = await self._documents.get(job.tenant, KIND, letter.id)
            except DocumentNotFoundError:
                return False
            if held.value["state"] == LetterState.MARKED:
                return False
        await self._queue.done(job)
        return True

    async def keep(self, tenant: str, letter: DeadLetter, tries: int, failure: Failure) -> None:
        """Sending a letter again failed for good: it stays. One that was erased meanwhile stays away."""
        delivery = replace(letter.delivery, tries=letter.delivery.tries + tries)
        failed = replace(
            letter,
            state=LetterState.DEAD,
            delivery=delivery,
            failure=failure,
            failed_at=self._clock.now(),
        )
        with contextlib.suppress(DocumentConflictError):
            await self._put(tenant, failed)

    async def list(
        self, tenant: str, *, endpoint: str | None = None, cursor: str | None = None, limit: int = 50
    ) -> Page[DeadLetter]:
        """Letters in the order of their events, of one endpoint or of all. A page may be short.

        Raises:
            BadCursorError: the cursor was not given by this list.
        """
        page = await self._documents.list(tenant, KIND, cursor=cursor, limit=limit)
        letters = (letter_of(document) for document in page.items if _is_written(document))
        found = (one for one in letters if endpoint in (None, one.delivery.endpoint))
        return Page(tuple(found), page.next)

    async def get(self, tenant: str, key: str) -> DeadLetter:
        """One letter.

        Raises:
            DocumentNotFoundError: there is none.
        """
        document = await self._documents.get(tenant, KIND, key)
        if not _is_written(document):
            raise DocumentNotFoundError("no such letter yet")
        return letter_of(document)

    async def delete(self, tenant: str, key: str) -> bool:
        """Removes one; False where there was none."""
        return await self._documents.delete(tenant, KIND, key)

    async def redrive(self, tenant: str, letter: DeadLetter) -> bool:
        """Puts a letter back in the queue, all tries before it; False where it is there already, or gone.

        The job only names the letter: what is erased meanwhile is not sent. Asking again where a letter is queued makes
        sure of its job, which a fault between the two steps may have cost.
        """
        redrives = letter.redrives
        if letter.state is LetterState.DEAD:
            redrives += 1
            queued = replace(letter, state=LetterState.QUEUED, redrives=redrives)
            try:
                await self._put(tenant, queued)
            except DocumentConflictError:
                return False
        work = Enqueue(
            tenant=tenant,
            queue=QUEUE,
            key=f"{letter.id}#{redrives}",
            payload={"endpoint": letter.delivery.endpoint, "letter": letter.id, "tries": 0},
            due_at=self._clock.now(),
            call_id=letter.call_id,
        )
        (stored,) = await self._store.write([work])
        if isinstance(stored, StoreError):
            raise stored
        return not stored.duplicate

    async def redrive_all(self, tenant: str, endpoint: str, limit: int | None = None) -> int:
        """Puts the letters of an endpoint back in the queue, the oldest first; how many. limit: at most so many."""
        count = 0
        async for letter in self._of(tenant, endpoint):
            if count == limit:
                break
            count += await self.redrive(tenant, letter)
        return count

    async def delete_all(self, tenant: str, endpoint: str) -> int:
        """Removes every letter of an endpoint; how many."""
        count = 0
        async for letter in self._of(tenant, endpoint):
            count += await self.delete(tenant, letter.id)
        return count

    async def count(self, tenant: str) -> int:
        """How many are dead; `COUNTED_AT_MOST` and more are not told apart."""
        page = await self._documents.list(tenant, KIND, limit=COUNTED_AT_MOST)
        return sum(document.value["state"] == LetterState.DEAD for document in page.items)

    async def _put(self, tenant: str, letter: DeadLetter) -> None:
        """Writes a letter in place of its version.

        Raises:
            DocumentConflictError: it was changed or erased.
        """
        value = {
            "state": letter.state.value,
            "delivery": letter.delivery.payload(),
            "call_id": letter.call_id,
            "reason": letter.failure.reason,
            "status": letter.failure.status,
            "detail": letter.failure.detail,
            "failed_at": letter.failed_at,
            "redrives": letter.redrives,
        }
        await self._documents.put(
            tenant,
            KIND,
            letter.id,
            value,
            ttl_s=self._ttl_s,
            call_id=letter.call_id,
            expected_version=letter.version,
        )

    async def _of(self, tenant: str, endpoint: str) -> AsyncIterator[DeadLetter]:
        cursor: str | None = None
        while True:
            page = await self.list(tenant, endpoint=endpoint, cursor=cursor, limit=_PAGE)
            for letter in page.items:
                yield letter
            cursor = page.next
            if cursor is None:
                return


def letter_id(delivery: Delivery) -> str:
    """Where the letter of a delivery is kept: in the order of the events, and once however often it is written."""
    message = delivery.message
    moment = round(epoch_s(message.timestamp) * 1_000)
    digest = hashlib.sha256(f"{delivery.endpoint}:{message.id}".encode()).hexdigest()
    return f"dl_{moment:013d}_{digest[:16]}"


def letter_of(document: Document) -> DeadLetter:
    """The letter that a document holds."""
    value = document.value
    return DeadLetter(
        id=document.key,
        state=LetterState(value["state"]),
        delivery=Delivery.from_payload(value["delivery"]),
        call_id=value["call_id"],
        failure=Failure(value["reason"], value["status"], value["detail"]),
        failed_at=value["failed_at"],
        redrives=value["redrives"],
        version=document.version,
    )


def _is_written(document: Document) -> bool:
    return bool(document.value["state"] != LetterState.MARKED)
