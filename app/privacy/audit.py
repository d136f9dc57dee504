"""Who looked at what, erased what and changed which rule: a log per tenant that only grows.

Reads wait in memory and are written in batches; erasures and changes of rules wait until they are written. Calls and
subjects appear as pseudonyms only (`app.privacy.pseudonyms`), so that erasing a call leaves nothing of it here.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections import deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from app.privacy.chain import START, TRIM, ChainCheck, link
from app.privacy.entries import SERVICE, AuditEntry, AuditQuery
from app.privacy.windows import Windows
from app.records import epoch_s
from app.results.documents import DocumentConflictError, Journal, JournalEntry
from app.results.store import StoreAwayError, StoreError
from app.telemetry.clock import Clock
from app.telemetry.logs import get_logger
from app.telemetry.metrics import Metrics

NAME = "audit"
ATTEMPTS = 100
BLOCK = 500
TRIM_EVERY_S = 3_600.0


class AuditFullError(Exception):
    """Too much waits to be written: what cannot be logged must not be read."""


class AuditLog:
    """The log of every tenant.

    Args:
        journal: where it is kept.
        clock: says when.
        metrics: entries written, waiting and refused.
        ttl_s: how long entries are kept.
        capacity: entries that may wait in memory while the store is away.
        flush_s: between two batches.
    """

    def __init__(
        self,
        journal: Journal,
        clock: Clock,
        metrics: Metrics,
        *,
        ttl_s: float,
        capacity: int = 10_000,
        flush_s: float = 1.0,
    ) -> None:
        self._journal = journal
        self._clock = clock
        self._metrics = metrics
        self._ttl_s = ttl_s
        self._capacity = capacity
        self._flush_s = flush_s
        self._waiting: deque[AuditEntry] = deque()
        self._windows = Windows(clock)
        self._writing = asyncio.Lock()
        self._ends: dict[str, tuple[int, str]] = {}
        self._log = get_logger(__name__)

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Writes what waits every `flush_s` seconds, and everything at the end."""
        task = asyncio.create_task(self._keep_writing(), name="audit-log")
        try:
            yield
        finally:
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task
            await self.flush(everything=True)
            if self._waiting:
                self._log.error("audit_entries_lost", count=len(self._waiting))

    @property
    def waiting(self) -> int:
        """Entries that are not written yet."""
        return len(self._waiting)

    def check_room(self) -> None:
        """Before something is read that must be logged.

        Raises:
            AuditFullError: nothing more can wait.
        """
        if len(self._waiting) >= self._capacity:
            self._metrics.audit_refused.inc()
            raise AuditFullError

    def note(self, entry: AuditEntry) -> None:
        """Logs a read, soon. Repeats within a minute become one entry with their count."""
        self._wait(self._windows.take(entry))

    async def write(self, entry: AuditEntry) -> tuple[int, str]:
        """Logs an erasure or a change of rules, now; returns the entry's number and hash.

        Raises:
            StoreAwayError: it could not be written.
            DocumentConflictError: too many others write to the same log.
        """
        async with self._writing:
            return await self._append(entry)

    async def flush(self, *, everything: bool = False) -> None:
        """Writes what waits, in order. everything: also counts that are still being taken."""
        self._wait(self._windows.due(everything=everything))
        async with self._writing:
            while self._waiting:
                try:
                    await self._append(self._waiting[0])
                except StoreAwayError:
                    break
                except StoreError:
                    self._log.warning("audit_entry_not_written")
                    break
                self._waiting.popleft()
        self._metrics.audit_waiting.set(len(self._waiting))

    async def read(
        self, tenant: str, which: AuditQuery, *, before: int | None, limit: int, scan: int = 20 * BLOCK
    ) -> tuple[list[JournalEntry], int | None]:
        """Entries, latest first, with numbers below `before`; and the `before` of the page after it.

        At most `scan` entries are looked through, so a page may be short although more follow.
        """
        await self.flush()
        last = await self._journal.last(tenant, NAME)
        end = (0 if last is None else last.number + 1) if before is None else before
        found: list[JournalEntry] = []
        floor = max(0, end - scan)
        while end > 1:
            begin = max(floor, end - 1 - BLOCK)
            block = await self._journal.read(tenant, NAME, after=begin, limit=end - 1 - begin)
            for entry in reversed([entry for entry in block if entry.number < end]):
                if which.matches(entry.value):
                    found.append(entry)
                    if len(found) == limit:
                        return found, entry.number if entry.number > 1 else None
            if not block or begin == 0:
                return found, None
            end = begin + 1
            if begin == floor:
                return found, end
        return found, None

    async def verify(self, tenant: str, *, after: int = 0, limit: int = 50_000) -> tuple[ChainCheck, bool]:
        """Checks the chain after an entry; and whether the check reached the end.

        Raises:
            KeyError: the entry `after` is not held.
        """
        await self.flush()
        check = ChainCheck()
        if after:
            held = await self._journal.read(tenant, NAME, after=after - 1, limit=1)
            if not held or held[0].number != after:
                raise KeyError(after)
            check.begin_after(held[0])
        while check.entries < limit:
            block = await self._journal.read(tenant, NAME, after=check.last or 0, limit=BLOCK)
            if not all(check.take(entry) for entry in block):
                return check, True
            if len(block) < BLOCK:
                check.finish()
                return check, True
        return check, False

    async def trim(self, tenant: str) -> int:
        """Lets entries go that are older than they may be; how many went."""
        oldest = self._clock.now() - self._ttl_s
        gone: JournalEntry | None = None
        while True:
            after = 0 if gone is None else gone.number
            block = await self._journal.read(tenant, NAME, after=after, limit=BLOCK)
            old = [entry for entry in block if epoch_s(entry.value["at"]) < oldest]
            gone = old[-1] if old else gone
            if len(old) < BLOCK:
                break
        if gone is None:
            return 0
        detail = {"before": gone.number + 1, "hash": gone.value["hash"]}
        await self.write(
            AuditEntry(tenant, SERVICE, SERVICE, TRIM, "*", "ok", self._clock.now(), detail=detail)
        )
        return await self._journal.trim(tenant, NAME, before=gone.number + 1)

    def _wait(self, entries: list[AuditEntry]) -> None:
        self._waiting.extend(entries)
        self._metrics.audit_waiting.set(len(self._waiting))

    async def _append(self, entry: AuditEntry) -> tuple[int, str]:
        body = entry.body()
        for _ in range(ATTEMPTS):
            end = self._ends.pop(entry.tenant, None)
            if end is None:
                last = await self._journal.last(entry.tenant, NAME)
                end = (0, START) if last is None else (last.number, str(last.value["hash"]))
                # A store that went away in the middle may have written it.
                if last is not None and last.value["id"] == entry.id:
                    return end
            number = end[0] + 1
            value = link(number, body, end[1])
            with contextlib.suppress(DocumentConflictError):
                await self._journal.append(entry.tenant, NAME, value, expected_last=end[0])
                self._ends[entry.tenant] = (number, value["hash"])
                self._metrics.audit_entries.inc()
                return number, value["hash"]
        raise DocumentConflictError("too many writers of one audit log")

    async def _keep_writing(self) -> None:
        trimmed = self._clock.monotonic()
        while True:
            await asyncio.sleep(self._flush_s)
            await self.flush()
            if self._clock.monotonic() - trimmed >= TRIM_EVERY_S:
                trimmed = self._clock.monotonic()
                await self._trim_all()

    async def _trim_all(self) -> None:
        for tenant in list(self._ends):
            with contextlib.suppress(StoreError):
                await self.trim(tenant)
