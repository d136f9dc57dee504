"""Tells whoever listens what happens to calls, inside one process, without ever waiting for a listener."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Protocol, TypeAlias

from app.domain import DEFAULT_TENANT
from app.results.live_event import EVERYTHING, LiveEvent, LiveFilter
from app.results.subscription import Subscription

__all__ = [
    "EVERYTHING",
    "Bridge",
    "LiveEvent",
    "LiveFilter",
    "Publisher",
    "PublisherClosedError",
    "Subscription",
    "TooManySubscribersError",
]


_Index: TypeAlias = dict[tuple[str, str | None], dict[Subscription, None]]
"""Who listens, by tenant and call."""


class TooManySubscribersError(Exception):
    """The limit of listeners is reached."""


class PublisherClosedError(Exception):
    """The service shuts down."""


class Bridge(Protocol):
    """What brings a tenant's feed into order, and in from other processes (`app.results.hub`)."""

    def published(self, event: LiveEvent) -> None:
        """Something happened in this process; hands it on by `Publisher.tell_call` and `Publisher.tell_tenant`."""
        ...

    def listening(self, tenant: str) -> None:
        """The first listener of a tenant came."""
        ...

    def silent(self, tenant: str) -> None:
        """The last listener of a tenant went."""
        ...

    async def ready(self, tenant: str) -> None:
        """Returns once everything that enters the tenant's feed from now on reaches its listeners.

        Raises:
            StoreError: the feed cannot be read.
        """
        ...

    def told(self, tenant: str) -> int | None:
        """The position up to which listeners of the tenant were told everything."""
        ...


class Publisher:
    """Fans events out to the subscriptions that they concern. All on one event loop.

    Args:
        max_subscribers: listeners at the same time.
        max_per_tenant: of these, of one tenant.
        queue_events: events held for a listener that is behind.
        on_drop: told how many events a slow listener lost.
    """

    def __init__(
        self,
        *,
        max_subscribers: int,
        queue_events: int,
        max_per_tenant: int | None = None,
        on_drop: Callable[[int], None] = lambda _: None,
    ) -> None:
        self._max_subscribers = max_subscribers
        self._max_per_tenant = max_per_tenant or max_subscribers
        self._queue_events = queue_events
        self._on_drop = on_drop
        self._bridge: Bridge | None = None
        self._all: dict[Subscription, None] = {}
        self._by_tenant: dict[str, int] = {}
        # Feeds of one call; feeds of a tenant, and those of them that are limited to one call.
        self._of_call: _Index = {}
        self._of_tenant: _Index = {}
        self._told: dict[str, int] = {}
        self._ticks = 0
        self._closed = False

    @property
    def subscribers(self) -> int:
        """How many listen now."""
        return len(self._all)

    @property
    def most_waiting(self) -> int:
        """Events held for the listener that is furthest behind."""
        return max((subscription.waiting for subscription in self._all), default=0)

    def attach(self, bridge: Bridge | None) -> None:
        """From now on events go through a bridge; None: straight to the listeners."""
        self._bridge = bridge

    def subscribe(
        self,
        tenant: str = DEFAULT_TENANT,
        which: LiveFilter = EVERYTHING,
        *,
        call_feed: str | None = None,
    ) -> Subscription:
        """Starts to listen to a tenant's feed, or to that of one call; use it in a `with` statement.

        Args:
            tenant: whose events; others' are never seen.
            which: what is wanted of them.
            call_feed: the call, where its own feed is meant.

        Raises:
            TooManySubscribersError: the limit is reached.
            PublisherClosedError: the service shuts down.
        """
        if self._closed:
            raise PublisherClosedError("the service shuts down")
        if len(self._all) >= self._max_subscribers:
            raise TooManySubscribersError(f"at most {self._max_subscribers} live feeds at a time")
        if self._by_tenant.get(tenant, 0) >= self._max_per_tenant:
            raise TooManySubscribersError(f"at most {self._max_per_tenant} live feeds of a tenant at a time")
        subscription = Subscription(
            self.unsubscribe, tenant, call_feed, which, self._queue_events, self.tick()
        )
        self._all[subscription] = None
        index, key = self._place(subscription)
        index.setdefault(key, {})[subscription] = None
        self._by_tenant[tenant] = self._by_tenant.get(tenant, 0) + 1
        if self._by_tenant[tenant] == 1 and self._bridge is not None:
            self._bridge.listening(tenant)
        return subscription

    def unsubscribe(self, subscription: Subscription) -> None:
        """Stops a listener."""
        if subscription not in self._all:
            return
        del self._all[subscription]
        tenant = subscription.tenant
        index, key = self._place(subscription)
        del index[key][subscription]
        if not index[key]:
            del index[key]
        self._by_tenant[tenant] -= 1
        if not self._by_tenant[tenant]:
            del self._by_tenant[tenant]
            if self._bridge is not None:
                self._bridge.silent(tenant)

    def publish(self, event: LiveEvent) -> None:
        """Hands an event to every listener that it concerns."""
        if self._bridge is not None:
            self._bridge.published(event)
            return
        self.tell_call(event)
        self.tell_tenant(event)
        if event.position is not None and event.tenant in self._by_tenant:
            self._told[event.tenant] = max(event.position, self._told.get(event.tenant, 0))

    def tell_call(self, event: LiveEvent, *, born_after: int | None = None) -> None:
        """Hands an event to the listeners of its call. born_after: only to those that came after this tick."""
        self._offer(self._of_call.get((event.tenant, event.call_id), ()), event, born_after)

    def tell_tenant(self, event: LiveEvent, *, born_after: int | None = None) -> None:
        """Hands an event to the listeners of its tenant. born_after: only to those that came after this tick."""
        self._offer(self._of_tenant.get((event.tenant, None), ()), event, born_after)
        if event.call_id:
            self._offer(self._of_tenant.get((event.tenant, event.call_id), ()), event, born_after)

    def tell_all(self, event: LiveEvent) -> None:
        """Hands what a tenant's feed says of itself to its listeners, whatever their filter."""
        for (tenant, _), subscriptions in self._of_tenant.items():
            if tenant == event.tenant:
                self._count(sum(subscription.tell(event) for subscription in subscriptions))

    def tick(self) -> int:
        """The next number of the count by which it is known what came first."""
        self._ticks += 1
        return self._ticks

    async def ready(self, tenant: str) -> None:
        """See `Bridge.ready`."""
        if self._bridge is not None:
            await self._bridge.ready(tenant)

    def told(self, tenant: str) -> int | None:
        """See `Bridge.told`."""
        return self._told.get(tenant) if self._bridge is None else self._bridge.told(tenant)

    def close(self) -> None:
        """Ends every feed; nobody can subscribe any more."""
        self._closed = True
        for subscription in list(self._all):
            subscription.close()
            self.unsubscribe(subscription)

    def _place(self, subscription: Subscription) -> tuple[_Index, tuple[str, str | None]]:
        tenant, call_feed = subscription.tenant, subscription.call_feed
        if call_feed is not None:
            return self._of_call, (tenant, call_feed)
        return self._of_tenant, (tenant, subscription.which.call_id)

    def _offer(self, to: Iterable[Subscription], event: LiveEvent, born_after: int | None) -> None:
        if born_after is not None:
            to = [subscription for subscription in to if subscription.born > born_after]
        lost = 0
        for subscription in to:
            lost += subscription.offer(event)
        self._count(lost)

    def _count(self, lost: int) -> None:
        if lost:
            self._on_drop(lost)
