"""Carries out the changes that waited in a spool, in order, and mends what the store forgot meanwhile."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, TypeAlias

from app.results.asker import Answer, Asker
from app.results.codec import CallKey, CodecError, call_key, decode
from app.results.known import KnownCalls
from app.results.spool import Spool
from app.results.spool_files import Entry
from app.results.store import (
    CallExistsError,
    CallInfo,
    CallNotFoundError,
    StoreAwayError,
    Stored,
    StoreError,
)
from app.results.store_metrics import Refused, StoreMetrics
from app.results.writes import AddMetadata, AppendRecord, CloseCall, EraseCall, OpenCall, Write
from app.telemetry.logs import get_logger

Describe: TypeAlias = Callable[[CallInfo], Mapping[str, Any]]
"""Makes the body of `call_started`."""

ERASED = "erased"
"""The outcome of a call of which nothing waits any more but that it ended, and then its erasure."""

_OF_A_CALL = (OpenCall, AppendRecord, AddMetadata, CloseCall)


class CallErasedError(CallNotFoundError):
    """The call was erased; nothing brings it back."""


class Replayer:
    """Carries out what waits.

    A call that the store no longer knows, although changes of it wait, is opened again: as this process opened it, or
    as one of its records tells. Not if the feed says that it was erased.

    Args:
        asker: the store behind.
        spool: where changes wait.
        known: the calls of this process.
        describe: makes the body of `call_started` for a call that nobody here opened.
        metrics: told what was done and what was refused.
    """

    def __init__(
        self, asker: Asker, spool: Spool, known: KnownCalls, describe: Describe, metrics: StoreMetrics
    ) -> None:
        self._asker = asker
        self._spool = spool
        self._known = known
        self._describe = describe
        self._metrics = metrics
        self._erased: dict[str, tuple[set[str], int]] = {}
        self._refused: Counter[Refused] = Counter()
        self._done = 0
        self._log = get_logger(__name__)

    async def batch(self, limit: int, go_on: Callable[[], bool] = lambda: True) -> None:
        """Carries out the next changes, at most `limit`, while it may `go_on`.

        What was not committed when this fails comes again.

        Raises:
            StoreAwayError: the store went away.
            SpoolError: the disk refuses.
        """
        self._refused, self._done = Counter(), 0
        entries = await self._spool.peek(limit)
        if not entries:
            return
        before: Entry | None = None
        last = entries[-1]
        for group in groups(self._readable(entries)):
            if before is not None and any(isinstance(write, EraseCall) for _, write in group):
                await self._spool.commit(before)  # carried out again after an erasure, they would undo it
            await self._carry_out(group)
            before = group[-1][0]
            if not go_on():
                last = before
                break
        await self._spool.commit(last)
        self._metrics.carried_out(self._done)
        for why, count in self._refused.items():
            self._metrics.refused(why, count)

    async def reopen(self, key: CallKey, writes: Sequence[Write]) -> list[Answer]:
        """Opens a call again that the store forgot, and carries out changes of it.

        Raises:
            StoreAwayError: the store is away; some of it may have been done.
        """
        if await self._was_erased(key):
            return [CallErasedError(f"call {key[1]} was erased")] * len(writes)
        opening = self._known.opening(key) or self._opening_from(writes)
        if opening is None:
            return [CallNotFoundError(f"call {key[1]} is not known")] * len(writes)
        answer = (await self._asker.write([opening]))[0]
        if isinstance(answer, StoreAwayError):
            raise answer
        if isinstance(answer, StoreError):
            return [answer] * len(writes)
        self._log.warning("call_opened_again")
        return await self._asker.write(writes)

    def _readable(self, entries: Iterable[Entry]) -> Iterator[tuple[Entry, Write]]:
        for entry in entries:
            try:
                yield entry, decode(entry.payload)
            except CodecError:
                self._refused[Refused.UNREADABLE] += 1

    async def _carry_out(self, group: Sequence[tuple[Entry, Write]]) -> None:
        """Raises StoreAwayError, after which all of it has to be carried out again."""
        mine = [(entry, write) for entry, write in group if not self._known.is_disowned(write)]
        forgotten: dict[CallKey, list[Write]] = {}
        answers = await self._asker.write([write for _, write in mine])
        for (entry, write), answer in zip(mine, answers, strict=True):
            key = call_key(write)
            if isinstance(answer, CallNotFoundError) and key is not None and isinstance(write, _OF_A_CALL):
                if isinstance(write, CloseCall) and write.outcome == ERASED:
                    continue  # it never came so far
                forgotten.setdefault(key, []).append(write)
            elif isinstance(answer, CallExistsError) and isinstance(write, OpenCall):
                await self._disown(entry, write)
            else:
                self._count(write, answer)
        for key, writes in forgotten.items():
            for write, answer in zip(writes, await self.reopen(key, writes), strict=True):
                self._count(write, answer)

    def _count(self, write: Write, answer: Answer) -> None:
        if isinstance(answer, StoreAwayError):
            raise answer
        if isinstance(answer, Stored):
            self._done += 1
            self._known.carried_out(write)
            return
        self._refused[why_refused(answer)] += 1
        self._log.warning("write_refused", write=type(write).__name__, error=type(answer).__name__)

    async def _disown(self, entry: Entry, opening: OpenCall) -> None:
        """Somebody else has the id: nothing of this call may be mixed with theirs."""
        key = call_key(opening)

        def change(payload: bytes) -> bytes | None:
            try:
                write = decode(payload)
            except CodecError:
                return payload
            return None if call_key(write) == key and isinstance(write, _OF_A_CALL) else payload

        self._known.disown(opening)
        self._refused[Refused.EXISTS] += await self._spool.rewrite(change, entry.source)
        self._log.warning("write_refused", write="OpenCall", error="CallExistsError")

    async def _was_erased(self, key: CallKey) -> bool:
        tenant, call_id = key
        erased, after = self._erased.get(tenant, (set(), 0))
        self._erased[tenant] = erased, await self._asker.note_erased(tenant, after, erased)
        return call_id in erased

    def _opening_from(self, writes: Iterable[Write]) -> OpenCall | None:
        """How a call may have been opened of which only records are left."""
        for write in writes:
            if isinstance(write, AppendRecord):
                record = write.record
                info = CallInfo(
                    call_id=record.call_id,
                    line=record.line_profile.id,
                    legs=(record.leg,),
                    started_at=max((record.created_at or 0.0) - record.end_s, 0.0),
                    tenant=write.tenant,
                    owner=write.owner,
                )
                return OpenCall(info, self._describe(info))
        return None


def why_refused(error: StoreError) -> Refused:
    """The word for it."""
    if isinstance(error, CallExistsError):
        return Refused.EXISTS
    if isinstance(error, CallErasedError):
        return Refused.ERASED
    return Refused.UNKNOWN if isinstance(error, CallNotFoundError) else Refused.REJECTED


def groups(changes: Iterable[tuple[Entry, Write]]) -> Iterator[list[tuple[Entry, Write]]]:
    """Changes in stretches that can be asked for at once.

    What follows the opening or the erasure of a call depends on how that went, and comes in a later stretch.
    """
    group: list[tuple[Entry, Write]] = []
    decisive: set[CallKey] = set()
    for entry, write in changes:
        key = call_key(write)
        if key is not None and key in decisive:
            yield group
            group, decisive = [], set()
        group.append((entry, write))
        if key is not None and isinstance(write, OpenCall | EraseCall):
            decisive.add(key)
    if group:
        yield group
