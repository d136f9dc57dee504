"""One call's feed, numbered by `seq`."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable, Mapping
from typing import Any

from app.records import record_body
from app.results.live_event import CALL_ENDS, LiveEvent, LiveFilter
from app.results.store import CallInfo, CallNotFoundError, CallState, ResultStore, StoreError
from app.results.subscription import Item, Passed, Subscription
from app.results.views import View, ViewOptions, ViewPage

Describe = Callable[[CallInfo], Mapping[str, Any]]


class CallView(View):
    """A viewer of one call; its feed ends with the call.

    describe: makes the body of `call_ended`. live_here: the call is in progress in this process, so that it can be
    watched even while the store does not know it or is away.
    """

    def __init__(
        self,
        store: ResultStore,
        subscription: Subscription,
        which: LiveFilter,
        since: int | None,
        options: ViewOptions,
        *,
        describe: Describe,
        live_here: bool = False,
    ) -> None:
        super().__init__(store, subscription, which, since, options)
        self._call_id = subscription.call_feed or ""
        self._describe = describe
        self._live_here = live_here
        self._known_to: int | None = None
        self._complete = True
        self.info: CallInfo | None = None

    @property
    def mark(self) -> int | None:
        """See `View.mark`; of a viewer that began with what happens now, no less than where that was."""
        return super().mark if self._next else self._known_to

    @property
    def over(self) -> bool:
        """Whether the call had ended when the view was opened."""
        return self.info is not None and self.info.state is CallState.ENDED

    async def open(self) -> None:
        """See `View.open`; `CallNotFoundError` where there is no such call."""
        try:
            self.info = await self._store.get_call(self._tenant, self._call_id)
        except CallNotFoundError:
            if not self._live_here:
                raise
        except StoreError:
            if not self._live_here or self._since is not None:
                raise
            return
        if self._since is None:
            self._known_to = None if self.info is None else self.info.utterances
            return
        self._page = page = await self._read(self._since)
        if not page.whole and page.events:
            # Whether there are holes beyond this page, only the call's own count tells; perhaps too gloomily.
            self.info = await self._store.get_call(self._tenant, self._call_id)
            self._complete = self.info.dropped < page.first

    async def _read(self, number: int) -> ViewPage:
        limit = self._options.page
        try:
            found = await self._store.list_records(self._tenant, self._call_id, from_seq=number, limit=limit)
        except CallNotFoundError:
            return ViewPage((), number, number - 1, whole=True)  # erased, or it only lives here
        line = "" if self.info is None else self.info.line
        events = [
            LiveEvent("utterance", self._call_id, record_body(record), self._tenant, line, seq=record.seq)
            for record in found.items
        ]
        return ViewPage(events, found.first_seq, found.last_seq, whole=len(events) < limit)

    def _resumed(self, page: ViewPage, since: int) -> LiveEvent:
        complete = self._complete and page.complete_from(since, self._number)
        body = {
            "call_id": self._call_id,
            "from_seq": since,
            "next_seq": max(page.last + 1, since),
            "complete": complete,
        }
        return LiveEvent("resumed", "", body, self._tenant)

    def _after_replay(self) -> list[LiveEvent]:
        if self.info is None or not self.over:
            return []
        self.ended = True
        return [
            LiveEvent("call_ended", self._call_id, self._describe(self.info), self._tenant, self.info.line)
        ]

    def _number(self, event: LiveEvent) -> int | None:
        return event.seq

    def _follows(self, item: Item) -> int | None:
        """See `View._follows`; the end of a call follows all its records."""
        if isinstance(item, LiveEvent) and item.type == "call_ended":
            count = item.body.get("utterances")
            return count + 1 if isinstance(count, int) else None
        return super()._follows(item)

    def _told(self, item: Item) -> list[LiveEvent]:
        last = item.last if isinstance(item, Passed) else item.seq
        if last is not None:
            if last < self._next:
                return []
            self._next = last + 1
        if isinstance(item, Passed):
            return []
        self.ended = item.type in CALL_ENDS
        return [item]

    async def _fill_to(self, last: int) -> AsyncGenerator[list[LiveEvent], None]:
        """Records that did not come by themselves: from the store, or named."""
        while 0 < self._next <= last:
            try:
                page = await self._read(self._next)
            except StoreError:
                page = ViewPage((), self._next, last, whole=True)
            batch = self._of_page(page, last)
            if batch:
                yield batch

    def _held(self, event: LiveEvent) -> None:
        """What comes of it later is known by its number."""

    def _when_idle(self) -> None:
        """What was kept away by the filter has come as `Passed`."""
