"""One listener's queue: bounded, and exact about what it lost."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from types import TracebackType
from typing import Self, TypeAlias

from app.results.live_event import CALL_ENDS, EVERYTHING, KEPT, LiveEvent, LiveFilter, lagged_event


class SubscriptionClosedError(Exception):
    """The publisher closed, and everything that was queued has been taken."""


@dataclass(slots=True)
class Passed:
    """Records of a call, by seq, that the listener's filter kept away: nothing to tell, and no gap."""

    first: int
    last: int


Item: TypeAlias = LiveEvent | Passed


@dataclass(slots=True)
class Lost:
    """What did not fit. All of it came right before the next item.

    plain: events without a number. counted: events with one. missed_first, missed_last: their numbers (and what
    lies between). gone_first, gone_last: numbers that are done with, those that the filter kept away included.
    """

    plain: int = 0
    counted: int = 0
    missed_first: int | None = None
    missed_last: int | None = None
    gone_first: int | None = None
    gone_last: int | None = None

    def add(self, first: int, last: int, event: bool) -> None:
        """Notes numbers that come after those noted before."""
        hole = self.gone_last is not None and first > self.gone_last + 1
        if event or hole:
            missed = self.gone_last + 1 if hole and self.gone_last is not None else first
            self.missed_first = missed if self.missed_first is None else self.missed_first
            self.missed_last = last if event else first - 1
        self.counted += int(event)
        self.gone_first = first if self.gone_first is None else self.gone_first
        self.gone_last = last


@dataclass(frozen=True, slots=True)
class Taken:
    """The oldest items of a queue. lost: what came right before them and is gone."""

    items: list[Item]
    lost: Lost | None = None


class Subscription:
    """One listener's queue; a context manager, and an asynchronous iterator over its events.

    A full queue loses its oldest events and then says so. What was taken last counts as queued until more is asked
    for, so that a listener that is stuck holds no more than `capacity` events.

    Args:
        leave: called when the listener goes.
        tenant: whose events.
        call_feed: the call whose feed this is, numbered by `seq`; None for a tenant's feed, numbered by `position`.
        which: what the listener wants of it.
        capacity: events held at most.
        born: when it began, on the publisher's count.
    """

    def __init__(
        self,
        leave: Callable[[Subscription], None],
        tenant: str,
        call_feed: str | None,
        which: LiveFilter,
        capacity: int,
        born: int,
    ) -> None:
        self.tenant = tenant
        self.call_feed = call_feed
        self.which = which
        self.born = born
        self.capacity = capacity
        self._leave = leave
        self._items: deque[Item] = deque()
        self._events = 0  # in the queue, markers not counted
        self._unplaced = 0  # of these, kept ones that have no position yet
        self._in_hand = 0
        self._lost: Lost | None = None
        self._closed = False
        self._readable = asyncio.Event()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._leave(self)

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> LiveEvent:
        """The next event; `lagged` where some were lost before it."""
        while True:
            try:
                await self._something()
            except SubscriptionClosedError:
                raise StopAsyncIteration from None
            lost, self._lost = self._lost, None
            if lost is not None:
                dropped = lost.plain + lost.counted
                return lagged_event(self.tenant, dropped, lost.missed_first, lost.missed_last)
            (item,) = self._take(1).items
            if isinstance(item, LiveEvent):
                return item

    @property
    def waiting(self) -> int:
        """Events held for the listener, those in its hands included."""
        return self._events + self._in_hand

    @property
    def idle(self) -> bool:
        """Whether everything that was offered has been taken."""
        return not self._items and self._lost is None

    @property
    def lost_to(self) -> int:
        """The greatest number among what was lost and not told yet; 0 for none."""
        return 0 if self._lost is None else self._lost.gone_last or 0

    def offer(self, event: LiveEvent) -> int:
        """Takes an event if it is wanted; returns how many older ones were lost for it."""
        if self.which is EVERYTHING or self.which.admits(event):
            return self.tell(event)
        if self.call_feed is not None and event.type in CALL_ENDS:
            return self.tell(event)
        self._pass(event)
        return 0

    def tell(self, event: LiveEvent) -> int:
        """Takes an event whatever the filter; returns how many older ones were lost for it."""
        if self._closed:
            return 0
        lost = 0
        while self._events + self._in_hand >= self.capacity and self._items:
            lost += self._drop()
        self._items.append(event)
        self._events += 1
        if event.position is None and event.type in KEPT:
            self._unplaced += 1
        self._readable.set()
        return lost

    async def take(self, most: int) -> Taken:
        """The oldest items, at least one and at most so many, waiting for the first.

        Raises:
            SubscriptionClosedError: nothing will come any more.
        """
        self._in_hand = 0
        await self._something()
        # Half of what may be held at most, so that there is room for the newest while these are on their way.
        return self._take(min(most, max(1, self.capacity // 2)))

    def withdraw(self, key: tuple[str, str, int | None]) -> None:
        """Takes back a kept event without a position: the listener was told it from the store."""
        for index, item in enumerate(self._items if self._unplaced else ()):
            if isinstance(item, LiveEvent) and item.position is None and item.key == key:
                del self._items[index]
                self._left(item)
                return

    def hold(self, events: int) -> None:
        """Notes that the listener has so many events in its hands that did not come from here, until it takes some."""
        self._in_hand = events

    def close(self) -> None:
        """Ends it once what is queued was taken."""
        self._closed = True
        self._readable.set()

    async def _something(self) -> None:
        while not self._items:
            if self._closed:
                raise SubscriptionClosedError
            self._readable.clear()
            await self._readable.wait()

    def _take(self, most: int) -> Taken:
        items = [self._items.popleft() for _ in range(min(most, len(self._items)))]
        events = [item for item in items if isinstance(item, LiveEvent)]
        self._in_hand = len(events)
        for event in events:
            self._left(event)
        lost, self._lost = self._lost, None
        return Taken(items, lost)

    def _pass(self, event: LiveEvent) -> None:
        """Notes that a record was kept away. Of a tenant's feed it is enough to know how far it got."""
        if self.call_feed is None or event.seq is None or self._closed:
            return
        newest = self._items[-1] if self._items else None
        if isinstance(newest, Passed) and event.seq == newest.last + 1:
            newest.last = event.seq
        else:
            self._items.append(Passed(event.seq, event.seq))
            self._readable.set()

    def _drop(self) -> int:
        """Loses the oldest item; 1 where that was an event."""
        item = self._items.popleft()
        lost = self._lost = self._lost or Lost()
        if isinstance(item, Passed):
            lost.add(item.first, item.last, event=False)
            return 0
        self._left(item)
        span = self._span(item)
        if span is None:
            lost.plain += 1
        else:
            lost.add(*span, event=True)
        return 1

    def _left(self, event: LiveEvent) -> None:
        """An event is no longer in the queue."""
        self._events -= 1
        if event.position is None and event.type in KEPT:
            self._unplaced -= 1

    def _span(self, event: LiveEvent) -> tuple[int, int] | None:
        """The numbers that an event is about."""
        if event.type == "gap":
            return event.body["from"], event.body["to"]
        number = event.position if self.call_feed is None else event.seq
        return None if number is None else (number, number)
