"""When each of many things goes, so that finding those that are due takes no look at the others."""

from __future__ import annotations

import heapq
from collections.abc import Iterator

_SLACK = 64


class Expiries:
    """Names, each with the moment at which it goes. Iterating gives them in the order in which they came."""

    def __init__(self) -> None:
        self._at: dict[str, float] = {}
        self._heap: list[tuple[float, str]] = []  # names that went otherwise, too

    def __len__(self) -> int:
        return len(self._at)

    def __iter__(self) -> Iterator[str]:
        return iter(self._at)

    def add(self, name: str, at: float) -> None:
        """Notes a name, or another moment for one that is there."""
        self._at[name] = at
        heapq.heappush(self._heap, (at, name))
        if len(self._heap) > 2 * len(self._at) + _SLACK:
            self._heap = [(until, known) for known, until in self._at.items()]
            heapq.heapify(self._heap)

    def discard(self, name: str) -> None:
        """Forgets a name, if it is there."""
        self._at.pop(name, None)

    def erase(self, name: str) -> None:
        """Forgets a name to its last trace, which takes a look at all of them."""
        self.discard(name)
        self._heap = [(until, known) for known, until in self._at.items()]
        heapq.heapify(self._heap)

    def due(self, now: float) -> list[str]:
        """The names whose moment has come, which are forgotten."""
        found = []
        while self._heap and self._heap[0][0] <= now:
            at, name = heapq.heappop(self._heap)
            if self._at.get(name) == at:
                del self._at[name]
                found.append(name)
        return found
