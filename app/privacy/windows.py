"""Repeats counted instead of written: a dashboard that polls does not flood the audit log."""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass, replace

from app.privacy.entries import AuditEntry, fresh_id
from app.telemetry.clock import Clock

WINDOW_S = 60.0
MAX_WINDOWS = 10_000


@dataclass(slots=True)
class _Window:
    entry: AuditEntry
    ends: float
    count: int = 0
    since: float = 0.0
    until: float = 0.0


class Windows:
    """What was logged within the last minute.

    The first of its kind is to be written at once, its repeats once the minute is over, as one entry with their
    count. Over `MAX_WINDOWS` kinds, the oldest minute ends early.
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._open: OrderedDict[tuple[str, ...], _Window] = OrderedDict()

    def take(self, entry: AuditEntry) -> list[AuditEntry]:
        """Counts an entry, or gives back what is to be written because of it."""
        now = self._clock.monotonic()
        window = self._open.get(entry.sameness)
        if window is not None and now < window.ends:
            window.since = window.since if window.count else entry.at
            window.until = entry.at
            window.count += 1
            return []
        written = [] if window is None else self._close(entry.sameness)
        self._open[entry.sameness] = _Window(entry, now + WINDOW_S)
        if len(self._open) > MAX_WINDOWS:
            written += self._close(next(iter(self._open)))
        return [*written, entry]

    def due(self, *, everything: bool = False) -> list[AuditEntry]:
        """Counts of minutes that are over; each that counted something is followed by another minute."""
        now = self._clock.monotonic()
        written: list[AuditEntry] = []
        for kind, window in list(self._open.items()):
            if window.ends > now and not everything:
                break
            counted = self._close(kind)
            if counted and not everything:
                self._open[kind] = _Window(window.entry, now + WINDOW_S)
            written += counted
        return written

    def _close(self, kind: tuple[str, ...]) -> list[AuditEntry]:
        window = self._open.pop(kind)
        if not window.count:
            return []
        counted = replace(window.entry, at=window.since, until=window.until, count=window.count)
        return [replace(counted, id=fresh_id())]
