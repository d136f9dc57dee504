"""Results in the process's own memory: bounded in calls, in records per call and in time."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from app.domain import UtteranceRecord
from app.results.store import (
    BadCursorError,
    CallActiveError,
    CallExistsError,
    CallFilter,
    CallInfo,
    CallNotFoundError,
    CallState,
    Page,
)
from app.telemetry.clock import Clock


@dataclass(slots=True)
class _Entry:
    number: int
    info: CallInfo
    records: deque[UtteranceRecord]
    expires_at: float | None = field(default=None)


class MemoryStore:
    """A `ResultStore` without a service behind it; everything is gone with the process.

    A call expires `ttl_s` after it ended. Over `max_calls` the call that ended first goes; a live call never
    does. Over `max_records_per_call` a call's oldest records go, and its `dropped` says how many.
    """

    def __init__(self, clock: Clock, *, max_calls: int, max_records_per_call: int, ttl_s: float) -> None:
        self._clock = clock
        self._max_calls = max_calls
        self._max_records = max_records_per_call
        self._ttl_s = ttl_s
        self._entries: dict[str, _Entry] = {}
        self._ended: dict[str, None] = {}  # in the order they ended, which is the order they expire
        self._opened = 0

    async def open_call(self, call: CallInfo) -> None:
        """Registers a live call; see `ResultStore.open_call`."""
        self._expire()
        if call.call_id in self._entries:
            raise CallExistsError(f"call {call.call_id} is known already")
        self._make_room(self._max_calls - 1)
        self._opened += 1
        self._entries[call.call_id] = _Entry(self._opened, call, deque(maxlen=self._max_records))

    async def append(self, record: UtteranceRecord) -> None:
        """Adds a record to its call; see `ResultStore.append`."""
        entry = self._entry(record.call_id)
        full = len(entry.records) == self._max_records
        entry.records.append(record)
        entry.info = replace(
            entry.info, utterances=entry.info.utterances + 1, dropped=entry.info.dropped + int(full)
        )

    async def add_metadata(self, call_id: str, values: Mapping[str, Any]) -> None:
        """Adds to a call's metadata; see `ResultStore.add_metadata`."""
        entry = self._entry(call_id)
        entry.info = replace(entry.info, metadata={**entry.info.metadata, **values})

    async def close_call(
        self, call_id: str, *, outcome: str, ended_at: float, summary: Mapping[str, Any]
    ) -> None:
        """Marks a call as ended; see `ResultStore.close_call`."""
        entry = self._entry(call_id)
        entry.info = replace(
            entry.info, state=CallState.ENDED, outcome=outcome, ended_at=ended_at, summary=dict(summary)
        )
        entry.expires_at = self._clock.monotonic() + self._ttl_s
        self._ended[call_id] = None
        self._make_room(self._max_calls)

    async def list_calls(self, which: CallFilter, *, cursor: str | None, limit: int) -> Page[CallInfo]:
        """Calls, latest start first; see `ResultStore.list_calls`."""
        self._expire()
        before = _number(cursor)
        entries: Iterable[_Entry] = reversed(self._entries.values())
        found = [
            entry
            for entry in entries
            if (before is None or entry.number < before) and _matches(entry.info, which)
        ]
        more = len(found) > limit
        page = found[:limit]
        return Page(tuple(entry.info for entry in page), str(page[-1].number) if more else None)

    async def get_call(self, call_id: str) -> CallInfo:
        """One call; see `ResultStore.get_call`."""
        return self._entry(call_id).info

    async def list_utterances(self, call_id: str, *, cursor: str | None, limit: int) -> Page[UtteranceRecord]:
        """The records of a call; see `ResultStore.list_utterances`."""
        entry = self._entry(call_id)
        first = entry.info.dropped
        start = max(_number(cursor) or 0, first)
        items = tuple(entry.records)[start - first : start - first + limit]
        end = start + len(items)
        return Page(items, str(end) if end < entry.info.utterances else None)

    async def delete_call(self, call_id: str) -> None:
        """Erases a call; see `ResultStore.delete_call`."""
        if self._entry(call_id).info.state is CallState.ACTIVE:
            raise CallActiveError(f"call {call_id} has not ended")
        self._forget(call_id)

    async def ping(self) -> None:
        """Always succeeds."""

    def _entry(self, call_id: str) -> _Entry:
        self._expire()
        try:
            return self._entries[call_id]
        except KeyError:
            raise CallNotFoundError(f"call {call_id} is not known") from None

    def _expire(self) -> None:
        now = self._clock.monotonic()
        while self._ended:
            oldest = next(iter(self._ended))
            expires_at = self._entries[oldest].expires_at
            if expires_at is None or expires_at > now:
                return
            self._forget(oldest)

    def _make_room(self, calls: int) -> None:
        while len(self._entries) > calls and self._ended:
            self._forget(next(iter(self._ended)))

    def _forget(self, call_id: str) -> None:
        del self._entries[call_id]
        self._ended.pop(call_id, None)


def _matches(info: CallInfo, which: CallFilter) -> bool:
    return (which.line is None or info.line == which.line) and (
        which.state is None or info.state is which.state
    )


def _number(cursor: str | None) -> int | None:
    if cursor is None:
        return None
    if not cursor.isascii() or not cursor.isdigit() or len(cursor) > 18:
        raise BadCursorError("not a cursor of this list")
    return int(cursor)
