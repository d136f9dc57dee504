"""Tells whoever listens what happens to calls, inside one process, without ever waiting for a listener."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Self

from app.channel import Channel, ChannelClosedError, Overflow


class TooManySubscribersError(Exception):
    """The limit of listeners is reached."""


@dataclass(frozen=True, slots=True)
class LiveEvent:
    """Something that happened to a call: a type, the call, and a JSON-ready body.

    Types: call_started, speech_start, utterance, line_event, interim, warning, dtmf, call_paused, call_resumed,
    call_ended, call_erased. A subscriber that was too slow also gets `lagged` (call_id "", body `{"dropped": n}`): it
    should fetch the calls again.
    """

    type: str
    call_id: str
    body: Mapping[str, Any]


class Subscription:
    """One listener's queue; a context manager and an asynchronous iterator.

    Iteration ends when the publisher closes. A full queue loses its oldest events and then says so.
    """

    def __init__(self, publisher: Publisher, call_id: str | None, capacity: int) -> None:
        self._publisher = publisher
        self._call_id = call_id
        self._queue: Channel[LiveEvent] = Channel(capacity, Overflow.DROP_OLDEST)
        self._dropped = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._publisher.unsubscribe(self)

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> LiveEvent:
        if self._dropped:
            dropped, self._dropped = self._dropped, 0
            return LiveEvent("lagged", "", {"dropped": dropped})
        try:
            return await self._queue.get()
        except ChannelClosedError:
            raise StopAsyncIteration from None

    def offer(self, event: LiveEvent) -> int:
        """Takes an event if it concerns this listener; returns how many older ones were lost for it."""
        if self._call_id is not None and event.call_id != self._call_id:
            return 0
        dropped = self._queue.put_nowait(event)
        self._dropped += dropped
        return dropped

    def close(self) -> None:
        """Ends the iteration once what is queued was taken."""
        self._queue.close()


class Publisher:
    """Fans events out to every subscription. All on one event loop.

    Args:
        max_subscribers: listeners at the same time.
        queue_events: events held for a listener that is behind.
        on_drop: told how many events a slow listener lost.
    """

    def __init__(
        self, *, max_subscribers: int, queue_events: int, on_drop: Callable[[int], None] = lambda _: None
    ) -> None:
        self._max_subscribers = max_subscribers
        self._queue_events = queue_events
        self._on_drop = on_drop
        self._subscriptions: set[Subscription] = set()
        self._closed = False

    @property
    def subscribers(self) -> int:
        """How many listen now."""
        return len(self._subscriptions)

    def subscribe(self, call_id: str | None = None) -> Subscription:
        """Starts to listen to every call, or to one; use it in a `with` statement.

        Raises:
            TooManySubscribersError: the limit is reached, or the publisher is closed.
        """
        if self._closed or len(self._subscriptions) >= self._max_subscribers:
            raise TooManySubscribersError(f"at most {self._max_subscribers} live feeds at a time")
        subscription = Subscription(self, call_id, self._queue_events)
        self._subscriptions.add(subscription)
        return subscription

    def unsubscribe(self, subscription: Subscription) -> None:
        """Stops a listener."""
        self._subscriptions.discard(subscription)

    def publish(self, event: LiveEvent) -> None:
        """Hands an event to every listener it concerns."""
        dropped = sum(subscription.offer(event) for subscription in self._subscriptions)
        if dropped:
            self._on_drop(dropped)

    def close(self) -> None:
        """Ends every feed; nobody can subscribe any more."""
        self._closed = True
        for subscription in self._subscriptions:
            subscription.close()
        self._subscriptions.clear()
