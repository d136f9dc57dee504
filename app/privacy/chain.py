"""The audit log as a chain: each entry carries the hash of the one before, so that none can be changed or taken out.

What leaves by age leaves from the beginning, and an entry at the end says up to where, with the hash of the last one
that left. What a chain cannot show is that its newest entries were cut off: for that, receipts of erasures name the
number and the hash of an entry.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from app.privacy.canonical import canonical
from app.results.documents import JournalEntry

START = "0" * 64
"""What the first entry names as the hash of the one before."""
TRIM = "audit.trim"
"""The action of an entry that says what left by age."""


def link(number: int, body: Mapping[str, Any], previous: str) -> dict[str, Any]:
    """An entry's body with the hash of the entry before and its own.

    Raises:
        ValueError: the body has no canonical form.
    """
    linked = {**body, "previous": previous}
    return {**linked, "hash": _hash(number, linked)}


def _hash(number: int, linked: Mapping[str, Any]) -> str:
    return hashlib.sha256(canonical({**linked, "number": number})).hexdigest()


@dataclass(slots=True)
class ChainCheck:
    """Checks entries in order, some at a time. broken_at: the first entry that does not fit; why: what is wrong."""

    entries: int = 0
    first: int | None = None
    last: int | None = None
    head: str | None = None
    broken_at: int | None = None
    why: str | None = None
    _anchor: str | None = None
    _trims: set[tuple[int, str]] = field(default_factory=set)

    def begin_after(self, entry: JournalEntry) -> None:
        """Goes on after an entry that was checked before."""
        self.last, self.head = entry.number, str(entry.value.get("hash"))

    def take(self, entry: JournalEntry) -> bool:
        """Checks the next entry; False where the chain is broken."""
        value = dict(entry.value)
        own = value.pop("hash", None)
        previous = str(value.get("previous"))
        if self.last is None:
            self._anchor = previous
        elif entry.number != self.last + 1:
            return self._broken(entry.number, "entries before it are missing")
        elif previous != self.head:
            return self._broken(entry.number, "it does not follow the entry before it")
        try:
            fits = own == _hash(entry.number, value)
        except ValueError:
            fits = False
        if not fits:
            return self._broken(entry.number, "it was changed")
        self.first = entry.number if self.first is None else self.first
        self.last, self.head = entry.number, str(own)
        self.entries += 1
        if value.get("action") == TRIM:
            detail = value.get("detail") or {}
            self._trims.add((int(detail.get("before", 0)), str(detail.get("hash"))))
        return True

    def finish(self) -> bool:
        """After the last entry: whether what is missing at the beginning left by age."""
        if self.broken_at is None and self._anchor is not None and self.first is not None:
            whole = self.first == 1 and self._anchor == START
            if not whole and (self.first, self._anchor) not in self._trims:
                return self._broken(self.first, "entries before it are missing")
        return self.broken_at is None

    def _broken(self, number: int, why: str) -> bool:
        self.broken_at, self.why = number, why
        return False
