"""Packets that carry a number, put into order: a small window per track, for wires that promise no order.

A packet waits for those before it only until `hold` later ones are there; then what is missing counts as lost. Numbers
may begin anywhere and begin again: as in RFC 3550 (appendix A.1), one packet far off is a stray, a second one beside it
is a new count.
"""

from __future__ import annotations

from collections import deque
from typing import Generic, TypeVar

Item = TypeVar("Item")

HOLD = 3
"""Packets kept back at most: 60 ms of the usual 20 ms ones."""

MAX_AHEAD = 3_000
"""Numbers further ahead than this are no hole but another count: a minute of the usual packets (RFC 3550: 3000)."""

MAX_BEHIND = 50
"""Numbers further behind than this are no late packet but another count: a second of the usual packets."""


class ReorderWindow(Generic[Item]):
    """The window of one track. Every packet comes out once, or is counted as late or as a duplicate.

    lost: numbers that were given up, in all. late: packets of such numbers that came after all, and strays.
    duplicates: packets that had been there before. restarts: how often the count began again; what was lost at that
    moment cannot be known and is not in `lost`.
    """

    __slots__ = ("_held", "_hold", "_holes", "_next", "_stray", "duplicates", "late", "lost", "restarts")

    def __init__(self, hold: int = HOLD) -> None:
        self.lost = 0
        self.late = 0
        self.duplicates = 0
        self.restarts = 0
        self._hold = hold
        self._held: dict[int, Item] = {}
        self._next: int | None = (
            None  # None: the first packets are still awaited, any of them may be the first
        )
        self._stray: tuple[int, Item] | None = None
        self._holes: deque[range] = deque(maxlen=MAX_BEHIND)

    @property
    def waiting(self) -> int:
        """Packets that are held back."""
        return len(self._held)

    def push(self, number: int, item: Item) -> list[tuple[int, Item]]:
        """Take a packet; those whose turn has come, each with how many numbers before it are lost."""
        if number == self._next and not self._held and self._stray is None:
            self._next = number + 1
            return [(0, item)]
        if self._stray is not None:
            return self._judge_stray(*self._stray, number, item)
        return self._place(number, item)

    def flush(self) -> list[tuple[int, Item]]:
        """Let out all that is held back, as if nothing before it could come any more."""
        return self._release(0)

    def close(self) -> list[tuple[int, Item]]:
        """Let out all that is held back; a stray that nothing confirmed is late. The window may go on after it."""
        if self._stray is not None:
            self._stray = None
            self.late += 1
        return self._release(0)

    def _place(self, number: int, item: Item) -> list[tuple[int, Item]]:
        reference = self._next if self._next is not None else min(self._held, default=number)
        ahead = number - reference
        if not -MAX_BEHIND <= ahead <= MAX_AHEAD:
            self._stray = (number, item)
            return []
        if number in self._held:
            self.duplicates += 1
            return []
        if self._next is not None and ahead < 0:
            if any(number in hole for hole in self._holes):
                self.late += 1
            else:
                self.duplicates += 1
            return []
        self._held[number] = item
        return self._release(self._hold)

    def _judge_stray(self, stray: int, stray_item: Item, number: int, item: Item) -> list[tuple[int, Item]]:
        """Take the packet after a stray: beside it, both begin a new count; otherwise the stray was just late."""
        if number == stray:
            self.duplicates += 1
            return []
        self._stray = None
        if abs(number - stray) > max(self._hold, 1):
            self.late += 1
            return self._place(number, item)
        released = self._release(0)
        self.restarts += 1
        self._next = None
        self._holes.clear()
        self._held.update({stray: stray_item, number: item})
        return released + self._release(self._hold)

    def _release(self, hold: int) -> list[tuple[int, Item]]:
        """Take out what is next, and give up numbers until no more than `hold` packets are held."""
        released: list[tuple[int, Item]] = []
        held = self._held
        missing = 0
        if self._next is None:
            if len(held) <= hold:
                return released
            self._next = min(held)
            # What comes from before the first packet is late, though never counted as lost.
            self._holes.append(range(self._next - MAX_BEHIND, self._next))
        while held:
            if self._next in held:
                released.append((missing, held.pop(self._next)))
                self._next += 1
                missing = 0
            elif len(held) > hold:
                first = min(held)
                missing = first - self._next
                self.lost += missing
                self._holes.append(range(self._next, first))
                self._next = first
            else:
                break
        return released
