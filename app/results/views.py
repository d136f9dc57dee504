"""What one viewer is told: first what the store holds from a number on, then what happens, without hole or repetition.

A view subscribes before it reads the store, and drops what it told already. Whatever it cannot tell it names: `gap`
for what is not held any more, `lagged` for what a slow viewer lost, `reset` where the numbers begin anew.
"""

from __future__ import annotations

import asyncio
from abc import ABC, abstractmethod
from collections.abc import AsyncGenerator, Callable, Sequence
from dataclasses import dataclass

from app.results.live_event import LiveEvent, LiveFilter, gap_event, lagged_event
from app.results.store import ResultStore
from app.results.subscription import Item, Lost, Passed, Subscription, SubscriptionClosedError, Taken

AT_ONCE = 32
"""Events handed on in one go."""


@dataclass(frozen=True, slots=True)
class ViewPage:
    """What the store holds from a number on, as events in order. first, last: the oldest held and the newest ever.

    whole: nothing follows that is held.
    """

    events: Sequence[LiveEvent]
    first: int
    last: int
    whole: bool

    def complete_from(self, number: int, number_of: Callable[[LiveEvent], int | None]) -> bool:
        """Whether every number from this one on is held, as far as the page reaches."""
        for event in self.events:
            if number_of(event) != number:
                return False
            number += 1
        return not self.whole or number > self.last


@dataclass(frozen=True, slots=True)
class ViewOptions:
    """keepalive_s: an empty batch comes whenever nothing happened for so long. page: read from the store at a time.

    on_missed: told how many numbers were named as gaps.
    """

    keepalive_s: float = 15.0
    page: int = 200
    on_missed: Callable[[int], None] = lambda _: None


class View(ABC):
    """One viewer. `open`, then iterate over `batches`, once.

    Args:
        store: what is held.
        subscription: entered already, so that nothing falls between the store and it.
        which: what is wanted; `subscription` has the same filter.
        since: the number to begin with; None for what happens from now on.
        options: how it is told.

    Attributes:
        ended: True after the end of a call's feed; False where the service shuts down.
    """

    def __init__(
        self,
        store: ResultStore,
        subscription: Subscription,
        which: LiveFilter,
        since: int | None,
        options: ViewOptions,
    ) -> None:
        self._store = store
        self._subscription = subscription
        self._tenant = subscription.tenant
        self._which = which
        self._since = since
        self._options = options
        # A page counts as queued while it is told: a viewer that is stuck holds no more than its queue may.
        self._limit = min(options.page, max(1, subscription.capacity // 2))
        self._next = since or 0  # 0: not known yet
        self._page: ViewPage | None = None
        self.ended = False

    @property
    def mark(self) -> int | None:
        """The number up to which everything was told or named, so that a viewer can resume after it."""
        return self._next - 1 if self._next else None

    @abstractmethod
    async def open(self) -> None:
        """Reads as much as tells whether the feed can be given.

        Raises:
            StoreError: it cannot.
        """

    async def batches(self) -> AsyncGenerator[list[LiveEvent], None]:
        """Everything there is to tell, in order; an empty batch when nothing happened for a while.

        Raises:
            StoreError: what was asked for cannot be read any more; the viewer may resume.
        """
        if self._page is not None:
            async for batch in self._replayed(self._page):
                yield batch
        batch = self._after_replay()
        if batch:
            yield batch
        while not self.ended:
            try:
                async with asyncio.timeout(self._options.keepalive_s):
                    taken = await self._subscription.take(AT_ONCE)
            except TimeoutError:
                self._when_idle()
                yield []
            except SubscriptionClosedError:
                return
            else:
                async for batch in self._live(taken):
                    yield batch

    @abstractmethod
    async def _read(self, number: int) -> ViewPage:
        """What the store holds from a number on."""

    @abstractmethod
    def _resumed(self, page: ViewPage, since: int) -> LiveEvent:
        """What the viewer is told first, when it begins with a number."""

    @abstractmethod
    def _after_replay(self) -> list[LiveEvent]:
        """What is told between what was held and what happens."""

    @abstractmethod
    def _number(self, event: LiveEvent) -> int | None:
        """By what the feed is numbered."""

    def _follows(self, item: Item) -> int | None:
        """What comes before this number has been told by the time of the item; None where it has no number."""
        return item.first if isinstance(item, Passed) else self._number(item)

    @abstractmethod
    def _told(self, item: Item) -> list[LiveEvent]:
        """The item as it is told, if it was not told before."""

    @abstractmethod
    def _fill_to(self, last: int) -> AsyncGenerator[list[LiveEvent], None]:
        """What did not come by itself, up to a number."""

    @abstractmethod
    def _held(self, event: LiveEvent) -> None:
        """The event is told as the store holds it."""

    @abstractmethod
    def _when_idle(self) -> None:
        """Everything that was taken is about to be told."""

    async def _replayed(self, page: ViewPage) -> AsyncGenerator[list[LiveEvent], None]:
        """The page and those after it, until the rest comes from the subscription."""
        yield [self._resumed(page, self._since or 0)]
        while True:
            self._subscription.hold(len(page.events))
            before = self._next
            batch = self._of_page(page)
            if batch:
                yield batch
            nothing_new = self._next == before
            if page.whole and (nothing_new or self._subscription.lost_to < self._next):
                return
            page = await self._read(self._next)

    async def _live(self, taken: Taken) -> AsyncGenerator[list[LiveEvent], None]:
        if taken.lost is not None:
            async for batch in self._after_loss(taken.lost):
                yield batch
        batch = []
        for item in taken.items:
            first = self._follows(item)
            if first is not None and 0 < self._next < first:
                if batch:
                    yield batch
                    batch = []
                async for found in self._fill_to(first - 1):
                    yield found
            batch += self._told(item)
            if self.ended:
                break
        self._when_idle()
        if batch:
            yield batch

    def _of_page(self, page: ViewPage, upto: int | None = None) -> list[LiveEvent]:
        """The events of a page from the next number on, with the holes named; as far as a number, if one is given."""
        batch: list[LiveEvent] = []
        for event in page.events:
            number = self._number(event)
            if number is None or number < self._next:
                continue
            if upto is not None and number > upto:
                break
            batch += self._gap_to(number - 1)
            self._next = number + 1
            self._held(event)
            if self._which.admits(event):
                batch.append(event)
        if page.whole or (upto is not None and page.events and self._reaches(page, upto)):
            batch += self._gap_to(page.last if upto is None else upto)
        return batch

    def _reaches(self, page: ViewPage, number: int) -> bool:
        return (self._number(page.events[-1]) or 0) > number

    def _gap_to(self, last: int) -> list[LiveEvent]:
        """Names what is missing up to a number; nothing, where nothing is."""
        if not self._next or last < self._next:
            return []
        gap = gap_event(self._tenant, self._next, last)
        self._options.on_missed(last - self._next + 1)
        self._next = last + 1
        return [gap]

    async def _after_loss(self, lost: Lost) -> AsyncGenerator[list[LiveEvent], None]:
        """Says what the viewer lost, but for what came from the store meanwhile."""
        first, last, counted = lost.missed_first, lost.missed_last, lost.counted
        if lost.gone_first is not None and lost.gone_last is not None:
            async for batch in self._fill_to(lost.gone_first - 1):
                yield batch
            if first is not None and last is not None:
                first = max(first, self._next)
                counted = min(counted, max(last - first + 1, 0))
                first, last = (None, None) if last < first else (first, last)
            self._next = max(self._next, lost.gone_last + 1)
        if lost.plain + counted or first is not None:
            yield [lagged_event(self._tenant, lost.plain + counted, first, last)]
