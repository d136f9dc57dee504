"""Erasing a call, or everything of a subject, everywhere, so that it is finished whatever happens meanwhile.

An erasure is queued before anything of it is carried out: what is cut short by a killed process, an absent store or a
call that has not ended is taken up again by whoever comes first. What is about to be erased is counted, and the counts
are kept with the queued work, before it is erased. The receipt comes last.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from secrets import token_hex
from typing import Any

from app.access.principal import Principal
from app.privacy.audit import AuditLog
from app.privacy.entries import AuditEntry
from app.privacy.pseudonyms import PrivacySecrets
from app.privacy.receipts import ReceiptSigner
from app.privacy.traces import Found, Traces
from app.privacy.writeup import receipt_body
from app.records import rfc3339
from app.results.documents import DocumentNotFoundError, DocumentStore, Job, WorkQueue
from app.results.store import (
    CallActiveError,
    CallInfo,
    CallNotFoundError,
    Page,
    ResultStore,
    StoreAwayError,
    StoreError,
)
from app.results.writes import Enqueue, EraseCall
from app.telemetry.clock import Clock
from app.telemetry.logs import get_logger
from app.telemetry.metrics import Metrics

QUEUE = "erasure"
KIND = "erasure"
LEASE_S = 60.0
"""After so long, somebody else takes up what nobody finished."""
RETRY_S = 5.0
"""How often an erasure looks whether the call it waits for has ended, and how often absent work is looked for."""
CLAIMED = 16
MAX_ACCEPTED = 1_000

Told = Callable[[str, str, int | None, CallInfo | None], Awaitable[None]]
"""Takes the tenant, the call's id, the position of its end in the feed, and the call as it was, if it was held."""


class ErasureNotFoundError(Exception):
    """No erasure with this id: never was, or its receipt is too old."""


@dataclass(frozen=True, slots=True)
class Wish:
    """What shall be erased: a call, or everything of a subject; one of them is None. who, key_id: asked for it."""

    tenant: str
    who: str
    key_id: str
    call_id: str | None = None
    subject: str | None = None

    @property
    def of(self) -> str:
        """`call` or `subject`."""
        return "call" if self.call_id is not None else "subject"


class Erasures:
    """Carries erasures out.

    Args:
        store: calls. documents: receipts, and what belongs to calls. queue: erasures that are not finished.
        audit: is told, and waited for. secrets: makes pseudonyms. signer: signs receipts.
        clock: says when. metrics: erasures carried out.
        keep_s: how long receipts are kept. told: hears of each call that is gone, for viewers and webhooks.
        owner: this process, for the feed.

    finished: erasures that this process brought to an end; what they were about is queued until then.
    """

    def __init__(
        self,
        stores: tuple[ResultStore, DocumentStore, WorkQueue],
        audit: AuditLog,
        secrets: PrivacySecrets,
        clock: Clock,
        metrics: Metrics,
        *,
        keep_s: float,
        owner: str,
        told: Told,
    ) -> None:
        self._store, self._documents, self._queue = stores
        self._audit = audit
        self._secrets = secrets
        self.signer = ReceiptSigner(secrets.seed, ephemeral=secrets.ephemeral)
        self._clock = clock
        self._metrics = metrics
        self._keep_s = keep_s
        self._owner = owner
        self._told = told
        self._traces = Traces(self._store, self._documents)
        self._accepted: dict[tuple[str, str], dict[str, Any]] = {}
        self.finished = 0
        self._log = get_logger(__name__)

    @asynccontextmanager
    async def running(self, tenants: Callable[[], Awaitable[Sequence[str]]]) -> AsyncIterator[None]:
        """Takes up what is not finished, every `RETRY_S` seconds, of every tenant."""
        task = asyncio.create_task(self._keep_working(tenants), name="erasures")
        try:
            yield
        finally:
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task

    async def erase(
        self,
        principal: Principal,
        *,
        call_id: str | None = None,
        subject: str | None = None,
        when_ended: bool = False,
        must_exist: bool = False,
    ) -> dict[str, Any]:
        """Erases a call or everything of a subject; one of the two is given.

        Args:
            principal: who asks.
            call_id: the call.
            subject: the subject, whose live calls are erased as soon as they have ended.
            when_ended: do so with a live call, too, instead of refusing.
            must_exist: refuse a call of which nothing is held.

        Returns:
            The erasure: finished, with its receipt, or `pending`.

        Raises:
            CallActiveError: the call is live.
            CallNotFoundError: nothing is held of it.
            StoreAwayError: the store is away, and nothing can be put down for later.
        """
        wish = Wish(principal.tenant, principal.subject, principal.key_id, call_id, subject)
        try:
            if call_id is not None:
                await self._admit(wish.tenant, call_id, when_ended, must_exist)
        except StoreAwayError:
            self._log.warning("erasure_waits_for_the_store")
        job = self._job(wish)
        if await self._queued(job):
            return await self._first_try(job)
        return self._accept(job)

    async def get(self, tenant: str, erasure_id: str) -> dict[str, Any]:
        """One erasure; while the store is away, one that was accepted by this process.

        Raises:
            ErasureNotFoundError: there is none.
            StoreAwayError: nothing is known of it here.
        """
        accepted = self._accepted.get((tenant, erasure_id))
        try:
            return dict((await self._documents.get(tenant, KIND, erasure_id)).value)
        except (DocumentNotFoundError, StoreAwayError) as error:
            if accepted is not None:
                return accepted
            if isinstance(error, StoreAwayError):
                raise
            raise ErasureNotFoundError from None

    async def page(self, tenant: str, *, cursor: str | None, limit: int) -> Page[dict[str, Any]]:
        """Erasures, latest first.

        Raises:
            BadCursorError: the cursor was not given by this list.
        """
        page = await self._documents.list(tenant, KIND, cursor=cursor, limit=limit)
        return Page(tuple(dict(item.value) for item in page.items), page.next)

    async def work(self, tenant: str) -> None:
        """Takes up a tenant's erasures that are due.

        Raises:
            StoreAwayError: the store is away.
        """
        jobs = await self._queue.claim(tenant, QUEUE, now=self._clock.now(), lease_s=LEASE_S, limit=CLAIMED)
        for job in jobs:
            try:
                await self._carry_out(job)
            except StoreAwayError:
                raise
            except StoreError:
                self._log.warning("erasure_not_finished", attempts=job.attempts)

    async def _admit(self, tenant: str, call_id: str, when_ended: bool, must_exist: bool) -> None:
        found = await self._traces.of_call(tenant, call_id)
        if found.live and not when_ended:
            raise CallActiveError("the call has not ended")
        if must_exist and not found.anything:
            raise CallNotFoundError("nothing is held of the call")

    def _job(self, wish: Wish) -> Job:
        now = self._clock.now()
        # Keys are listed in ascending order, and the latest shall come first.
        key = f"{(1 << 44) - int(now * 1000):011x}{token_hex(8)}"
        payload: dict[str, Any] = {
            "who": wish.who,
            "key_id": wish.key_id,
            "call_id": wish.call_id,
            "subject": wish.subject,
            "requested_at": now,
            "found": {},
        }
        return Job(wish.tenant, QUEUE, key, payload, 1)

    async def _queued(self, job: Job) -> bool:
        """Puts an erasure down before anything of it is carried out; False where the store is away."""
        due_at = self._clock.now() + LEASE_S
        [answer] = await self._store.write([Enqueue(job.tenant, QUEUE, job.key, job.payload, due_at)])
        if isinstance(answer, StoreError):
            raise answer
        return not answer.waiting

    async def _first_try(self, job: Job) -> dict[str, Any]:
        try:
            return await self._carry_out(job)
        except StoreError:
            return self._accept(job)

    def _accept(self, job: Job) -> dict[str, Any]:
        """An erasure that will be carried out later."""
        wish, now = _wish(job), self._clock.now()
        view = self._view(job, waits_for="store")
        if len(self._accepted) >= MAX_ACCEPTED:
            del self._accepted[next(iter(self._accepted))]
        self._accepted[job.tenant, job.key] = view
        self._audit.note(
            AuditEntry(job.tenant, wish.who, wish.key_id, "erase", self._object(wish), "accepted", now)
        )
        return view

    async def _carry_out(self, job: Job) -> dict[str, Any]:
        """All that can be erased now; the receipt, once nothing is left."""
        wish = _wish(job)
        found, waiting = await self._find(job, wish)
        payload = {**job.payload, "found": {call_id: counts.body() for call_id, counts in found.items()}}
        await self._queue.postpone(job, due_at=self._clock.now() + LEASE_S, payload=payload)
        await self._erase(job.tenant, list(found))
        if waiting:
            view = self._view(job, waits_for="call_end", erased=len(found), waiting=len(waiting))
            await self._documents.put(job.tenant, KIND, job.key, view, ttl_s=self._keep_s)
            await self._queue.postpone(job, due_at=self._clock.now() + RETRY_S, payload=payload)
            return view
        return await self._finish(job, wish, found)

    async def _find(self, job: Job, wish: Wish) -> tuple[dict[str, Found], list[str]]:
        """What is to be erased now, with its counts, that of earlier tries included; and calls that are live."""
        found = {call_id: Found.from_body(body) for call_id, body in job.payload["found"].items()}
        requested_at = float(job.payload["requested_at"])
        ids = (
            [wish.call_id]
            if wish.call_id is not None
            else await self._traces.calls_of(wish.tenant, wish.subject or "")
        )
        waiting: list[str] = []
        for call_id in ids:
            traces = await self._traces.of_call(wish.tenant, call_id)
            if wish.subject is not None and traces.started_at > requested_at:
                continue  # begun after the wish: another matter
            if traces.live:
                waiting.append(call_id)
            elif traces.anything or call_id not in found:
                found[call_id] = found.get(call_id, Found()).at_least(traces)
        return found, waiting

    async def _erase(self, tenant: str, call_ids: Sequence[str]) -> None:
        """Erases calls and looks whether they are gone.

        Raises:
            StoreError: something is left.
        """
        for call_id in call_ids:
            known = await self._known(tenant, call_id)
            [answer] = await self._store.write([EraseCall(tenant, call_id, self._owner)])
            if isinstance(answer, StoreError):
                raise answer
            if answer.waiting:
                raise StoreAwayError("the erasure waits in the spool")
            left = await self._traces.of_call(tenant, call_id)
            if left.anything:
                raise StoreError("something of the call is left")
            if not answer.duplicate:
                await self._told(tenant, call_id, answer.position, known)

    async def _known(self, tenant: str, call_id: str) -> CallInfo | None:
        """The call, where it is held."""
        try:
            return await self._store.get_call(tenant, call_id)
        except CallNotFoundError:
            return None

    async def _finish(self, job: Job, wish: Wish, found: Mapping[str, Found]) -> dict[str, Any]:
        now = self._clock.now()
        entry = AuditEntry(
            job.tenant, wish.who, wish.key_id, "erase", self._object(wish), "ok", now, id=job.key
        )
        number, digest = await self._audit.write(entry)
        pseudonyms = [self._secrets.pseudonym(job.tenant, "call", call_id) for call_id in found]
        body = receipt_body(
            self._view(job),
            found=list(found.values()),
            calls=pseudonyms,
            completed_at=now,
            audit={"number": number, "hash": digest},
        )
        view = self._view(job, erased=len(found), receipt=self.signer.sign(body))
        await self._documents.put(job.tenant, KIND, job.key, view, ttl_s=self._keep_s)
        await self._queue.done(job)
        self.finished += 1
        self._accepted.pop((job.tenant, job.key), None)
        self._metrics.erasures.inc()
        return view

    def _view(
        self,
        job: Job,
        *,
        waits_for: str | None = None,
        erased: int = 0,
        waiting: int = 0,
        receipt: dict[str, Any] | None = None,
    ) -> dict[str, Any]:
        """An erasure as everybody may see it."""
        wish = _wish(job)
        return {
            "id": job.key,
            "status": "pending" if receipt is None else "done",
            "waits_for": waits_for,
            "of": wish.of,
            "object": self._object(wish),
            "requested_at": rfc3339(float(job.payload["requested_at"])),
            "requested_by": {"who": wish.who, "key_id": wish.key_id},
            "calls_erased": erased,
            "calls_waiting": waiting,
            "receipt": receipt,
        }

    def _object(self, wish: Wish) -> str:
        text = wish.call_id if wish.call_id is not None else wish.subject
        return self._secrets.pseudonym(wish.tenant, wish.of, text or "")

    async def _keep_working(self, tenants: Callable[[], Awaitable[Sequence[str]]]) -> None:
        while True:
            await asyncio.sleep(RETRY_S)
            try:
                known = {*await tenants(), *(tenant for tenant, _ in self._accepted)}
                for tenant in sorted(known):
                    await self.work(tenant)
            except StoreAwayError:
                continue
            except StoreError:
                self._log.warning("erasures_not_worked")


def _wish(job: Job) -> Wish:
    payload = job.payload
    return Wish(job.tenant, payload["who"], payload["key_id"], payload["call_id"], payload["subject"])
