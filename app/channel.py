"""A bounded queue between two tasks of one event loop, with a stated policy for when it is full."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from enum import StrEnum
from typing import Generic, TypeVar

T = TypeVar("T")


class ChannelClosedError(Exception):
    """Nothing more will come out (or may go in)."""


class ChannelFullError(Exception):
    """A channel that refuses had no room."""


class Overflow(StrEnum):
    """What happens to an item that does not fit."""

    REFUSE = "refuse"
    DROP_OLDEST = "drop_oldest"


def _one(_item: object) -> float:
    return 1.0


class Channel(Generic[T]):
    """A queue of limited weight. One consumer; any number of producers, all on one event loop.

    `put` waits for room whatever the policy; `put_nowait` follows the policy. An item heavier than the
    whole channel is admitted when the channel is empty, so that nothing can wait for ever.

    Args:
        capacity: largest total weight held.
        overflow: what `put_nowait` does when an item does not fit.
        weigh: the weight of an item (default: 1 each). Asked once, when the item comes in.
    """

    def __init__(
        self, capacity: float, overflow: Overflow = Overflow.REFUSE, weigh: Callable[[T], float] = _one
    ) -> None:
        self._capacity = capacity
        self._overflow = overflow
        self._weigh = weigh
        self._items: deque[tuple[T, float]] = deque()
        self._weight = 0.0
        self._closed = False
        self._readable = asyncio.Event()
        self._writable = asyncio.Event()
        self._writable.set()

    @property
    def weight(self) -> float:
        """Total weight of what waits."""
        return self._weight

    @property
    def closed(self) -> bool:
        """True once `close` was called; what is inside can still be taken."""
        return self._closed

    def __len__(self) -> int:
        return len(self._items)

    async def put(self, item: T) -> None:
        """Puts an item in, waiting for room.

        Raises:
            ChannelClosedError: the channel was closed, before or during the wait.
        """
        weight = self._weigh(item)
        while not self._closed and not self._fits(weight):
            self._writable.clear()
            await self._writable.wait()
        self._admit(item, weight)

    def put_nowait(self, item: T) -> int:
        """Puts an item in at once and returns how many older ones were dropped for it.

        Raises:
            ChannelClosedError: the channel was closed.
            ChannelFullError: no room, and the policy is to refuse.
        """
        weight = self._weigh(item)
        dropped = 0
        while not self._closed and not self._fits(weight):
            if self._overflow is Overflow.REFUSE:
                raise ChannelFullError
            self._remove()
            dropped += 1
        self._admit(item, weight)
        return dropped

    async def get(self) -> T:
        """The oldest item, waiting for one.

        Raises:
            ChannelClosedError: the channel was closed and is empty.
        """
        return (await self.get_many(0.0))[0]

    async def get_many(self, max_weight: float) -> list[T]:
        """The oldest items up to a total weight, at least one, waiting for the first.

        Raises:
            ChannelClosedError: the channel was closed and is empty.
        """
        while not self._items:
            if self._closed:
                raise ChannelClosedError
            self._readable.clear()
            await self._readable.wait()
        taken = [self._items[0]]
        total = taken[0][1]
        self._remove()
        while self._items and total + self._items[0][1] <= max_weight:
            taken.append(self._items[0])
            total += self._items[0][1]
            self._remove()
        return [item for item, _ in taken]

    def close(self) -> None:
        """Lets nothing more in and wakes everyone who waits."""
        self._closed = True
        self._readable.set()
        self._writable.set()

    def _fits(self, weight: float) -> bool:
        return not self._items or self._weight + weight <= self._capacity

    def _admit(self, item: T, weight: float) -> None:
        if self._closed:
            raise ChannelClosedError
        self._items.append((item, weight))
        self._weight += weight
        self._readable.set()

    def _remove(self) -> None:
        _, weight = self._items.popleft()
        # Sums of floats drift: an empty channel weighs exactly nothing.
        self._weight = self._weight - weight if self._items else 0.0
        self._writable.set()
