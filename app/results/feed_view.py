"""A tenant's feed, numbered by `position`."""

from __future__ import annotations

from collections.abc import AsyncGenerator

from app.results.live_event import LiveEvent, LiveFilter, entry_event
from app.results.publish import Publisher
from app.results.store import ResultStore, StoreError
from app.results.subscription import Item, Passed, Subscription
from app.results.views import View, ViewOptions, ViewPage

MAX_AHEAD = 1_000
"""Events remembered that a viewer got from the store before this process came so far in the feed."""


class FeedView(View):
    """A viewer of a tenant's calls; the feed ends with the service."""

    def __init__(
        self,
        store: ResultStore,
        subscription: Subscription,
        which: LiveFilter,
        since: int | None,
        options: ViewOptions,
        *,
        publisher: Publisher,
    ) -> None:
        super().__init__(store, subscription, which, since, options)
        self._publisher = publisher
        self._reset = False
        # Told from the store before this process came so far in the feed.
        self._ahead: set[tuple[str, str, int | None]] = set()

    async def open(self) -> None:
        """See `View.open`."""
        try:
            await self._publisher.ready(self._tenant)
        except StoreError:
            if self._since is not None:
                raise
            return
        if self._since is None:
            told = self._publisher.told(self._tenant)
            self._next = 0 if told is None else told + 1
            return
        self._page = page = await self._read(self._since)
        if self._since > page.last + 1:
            self._reset = True
            self._next = page.last + 1

    async def _read(self, number: int) -> ViewPage:
        found = await self._store.read_feed(self._tenant, after=number - 1, limit=self._limit)
        events = [entry_event(self._tenant, entry) for entry in found.items]
        whole = not events or found.items[-1].position == found.last
        return ViewPage(events, found.first, found.last, whole)

    def _resumed(self, page: ViewPage, since: int) -> LiveEvent:
        body = {
            "from_position": since,
            "next_position": page.last + 1,
            "complete": not self._reset and page.complete_from(since, self._number),
            "reset": self._reset,
        }
        return LiveEvent("resumed", "", body, self._tenant)

    def _after_replay(self) -> list[LiveEvent]:
        return []

    def _number(self, event: LiveEvent) -> int | None:
        return event.position

    def _told(self, item: Item) -> list[LiveEvent]:
        if isinstance(item, Passed):
            return []
        if item.type == "reset":
            self._next = item.body["next_position"]
            return [item]
        if item.type == "gap":
            self._next = max(self._next, item.body["from"])
            return self._gap_to(item.body["to"])
        if item.position is None:
            return [] if item.key in self._ahead else [item]
        if item.position < self._next:
            return []
        self._next = item.position + 1
        return [item]

    async def _fill_to(self, last: int) -> AsyncGenerator[list[LiveEvent], None]:
        """Nothing: a viewer gets positions in order, and `gap` where there is one; the rest its filter left out."""
        return
        yield []

    def _held(self, event: LiveEvent) -> None:
        """The same event may wait without a position, or come without one, told by this process during an outage."""
        self._subscription.withdraw(event.key)
        told = self._publisher.told(self._tenant)
        if told is not None and (event.position or 0) > told and len(self._ahead) < MAX_AHEAD:
            self._ahead.add(event.key)

    def _when_idle(self) -> None:
        """What the filter kept away was passed over too."""
        told = self._publisher.told(self._tenant)
        if told is None or not self._subscription.idle:
            return
        if told + 1 >= self._next:
            self._ahead.clear()
            self._next = told + 1
