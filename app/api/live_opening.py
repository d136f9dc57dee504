"""Opens a live feed for a viewer: who may see it, from where on, and whether there is room."""

from __future__ import annotations

import contextlib
import re
from dataclasses import dataclass

from app.access.principal import Principal
from app.api.deps import Services
from app.api.errors import ProblemError, draining
from app.api.live_query import CallQuery, FeedQuery, LiveQuery, number_after
from app.api.protocol import call_body
from app.api.queries import CALL_ID
from app.results.call_view import CallView
from app.results.feed_view import FeedView
from app.results.live_event import LiveFilter
from app.results.publish import PublisherClosedError, Subscription, TooManySubscribersError
from app.results.store import CallInfo, CallNotFoundError, StoreError
from app.results.views import View, ViewOptions


@dataclass(frozen=True, slots=True)
class OpenedFeed:
    """A feed that can be given; enter `subscription` while it is, so that it gives its place back.

    seen_to_end: the viewer has seen all of an ended call; there is nothing to give.
    """

    subscription: Subscription
    view: View
    seen_to_end: bool = False

    @property
    def of_call(self) -> bool:
        """Whether it is one call's feed, numbered by `seq`, and not a tenant's, numbered by `position`."""
        return self.subscription.call_feed is not None


async def open_feed(
    services: Services, principal: Principal, query: FeedQuery, last_id: str | None = None
) -> OpenedFeed:
    """The feed of the principal's tenant. last_id: the header `Last-Event-ID`.

    Raises:
        ProblemError: 422 for a wrong value, 503 without room or at a shutdown.
        StoreError: it cannot be read from where it is asked for.
    """
    last_id = last_id or query.last_event_id
    since = number_after(last_id)[0] if last_id else query.from_position
    which = _filter(services, query, query.call_id)
    subscription = _subscribed(services, principal.tenant, which, None)
    try:
        view = FeedView(
            services.store,
            subscription,
            which,
            since,
            _options(services),
            publisher=services.publisher,
        )
        await view.open()
    except BaseException:
        services.publisher.unsubscribe(subscription)
        raise
    return OpenedFeed(subscription, view)


async def open_call(
    services: Services, principal: Principal, call_id: str, query: CallQuery, last_id: str | None = None
) -> OpenedFeed:
    """The feed of one call.

    Raises:
        ProblemError: 422 for a wrong value, 503 without room or at a shutdown.
        StoreError: there is no such call, or it cannot be read.
    """
    if re.fullmatch(CALL_ID, call_id) is None:
        raise CallNotFoundError("no call can have this id")
    last_id = last_id or query.last_event_id
    since, saw_end = number_after(last_id) if last_id else (query.from_seq, False)
    which = _filter(services, query, None)
    subscription = _subscribed(services, principal.tenant, which, call_id)
    try:
        await _settled(services, principal.tenant)
        view = CallView(
            services.store,
            subscription,
            which,
            since,
            _options(services),
            describe=_end_of,
            live_here=services.registry.live(principal.tenant, call_id) is not None,
        )
        await view.open()
    except BaseException:
        services.publisher.unsubscribe(subscription)
        raise
    seen = saw_end and view.over and view.info is not None and since == view.info.utterances + 1
    return OpenedFeed(subscription, view, seen)


async def _settled(services: Services, tenant: str) -> None:
    """Waits until what other processes write reaches the subscription, if it can be known."""
    with contextlib.suppress(StoreError):
        await services.publisher.ready(tenant)


def _filter(services: Services, query: LiveQuery, call_id: str | None) -> LiveFilter:
    categories = services.engine.categories
    if query.emotion is not None and query.emotion not in categories:
        detail = f"query.emotion: expected one of {', '.join(categories)}"
        raise ProblemError(422, "invalid_request", "The request has a wrong value", detail)
    return query.filter(call_id)


def _subscribed(services: Services, tenant: str, which: LiveFilter, call_feed: str | None) -> Subscription:
    try:
        return services.publisher.subscribe(tenant, which, call_feed=call_feed)
    except TooManySubscribersError as error:
        services.metrics.sheds.labels("subscriber").inc()
        raise ProblemError(
            503, "too_many_feeds", "No more live feeds", str(error), {"Retry-After": "10"}
        ) from None
    except PublisherClosedError:
        raise draining() from None


def _options(services: Services) -> ViewOptions:
    live = services.settings.live
    return ViewOptions(live.keepalive_s, live.page_events, services.metrics.live_missed.inc)


def _end_of(call: CallInfo) -> dict[str, object]:
    """The body of `call_ended`."""
    return {**call_body(call), "summary": None if call.summary is None else dict(call.summary)}
