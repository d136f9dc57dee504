"""Publishing never waits for a listener, and tells each what concerns it, and nobody of another tenant anything."""

from __future__ import annotations

import asyncio

import pytest

from app.results.publish import (
    LiveEvent,
    LiveFilter,
    Publisher,
    PublisherClosedError,
    Subscription,
    TooManySubscribersError,
)


def event(index: int, call_id: str = "a", tenant: str = "default", kind: str = "utterance") -> LiveEvent:
    """A numbered event."""
    return LiveEvent(kind, call_id, {"index": index}, tenant, position=index + 1, seq=index + 1)


async def indices(subscription: Subscription) -> list[int]:
    """Of every event until the end."""
    return [item.body["index"] async for item in subscription]


def test_every_listener_gets_every_event_it_asked_for() -> None:
    """One listens to all calls, one to the feed of a call, one to a call in the tenant's feed; all in order."""

    async def scenario() -> list[list[int]]:
        publisher = Publisher(max_subscribers=3, queue_events=9)
        with (
            publisher.subscribe() as everything,
            publisher.subscribe(call_feed="b") as feed_of_b,
            publisher.subscribe(which=LiveFilter(call_id="b")) as only_b,
        ):
            for index, call_id in enumerate("abab"):
                publisher.publish(event(index, call_id))
            publisher.close()
            return [await indices(one) for one in (everything, feed_of_b, only_b)]

    assert asyncio.run(scenario()) == [[0, 1, 2, 3], [1, 3], [1, 3]]


def test_tenants_are_walls() -> None:
    """Calls of the same id: each tenant's listeners hear their own only."""

    async def scenario() -> list[list[int]]:
        publisher = Publisher(max_subscribers=4, queue_events=9)
        with (
            publisher.subscribe("x") as all_x,
            publisher.subscribe("y") as all_y,
            publisher.subscribe("x", call_feed="a") as call_x,
            publisher.subscribe("y", LiveFilter(call_id="a")) as call_y,
        ):
            for index, tenant in enumerate("xyyx"):
                publisher.publish(event(index, "a", tenant))
            publisher.tell_all(LiveEvent("reset", "", {"index": 9}, "x"))
            publisher.close()
            return [await indices(one) for one in (all_x, all_y, call_x, call_y)]

    assert asyncio.run(scenario()) == [[0, 3, 9], [1, 2], [0, 3], [1, 2]]


def test_a_slow_listener_loses_the_oldest_and_is_told_which() -> None:
    """`lagged` comes first, with how many and their numbers, and the loss is reported."""

    async def scenario() -> tuple[list[LiveEvent], int]:
        lost: list[int] = []
        publisher = Publisher(max_subscribers=1, queue_events=2, on_drop=lost.append)
        with publisher.subscribe() as slow:
            for index in range(5):
                publisher.publish(event(index))
            assert publisher.most_waiting == 2
            publisher.close()
            return [item async for item in slow], sum(lost)

    items, lost = asyncio.run(scenario())
    assert items[0] == LiveEvent("lagged", "", {"dropped": 3, "missed": {"from": 1, "to": 3}})
    assert [item.body["index"] for item in items[1:]] == [3, 4]
    assert lost == 3


def test_listeners_are_limited_and_leave_room_when_they_go() -> None:
    """One too many, of all or of a tenant, is refused until another leaves."""
    publisher = Publisher(max_subscribers=2, max_per_tenant=1, queue_events=2)
    with publisher.subscribe("x"):
        with pytest.raises(TooManySubscribersError, match="of a tenant"):
            publisher.subscribe("x")
        with publisher.subscribe("y"):
            assert publisher.subscribers == 2
            with pytest.raises(TooManySubscribersError, match="at most 2 live feeds at a time"):
                publisher.subscribe("z")
    assert publisher.subscribers == 0
    with publisher.subscribe("x") as again:
        publisher.unsubscribe(again)
        publisher.unsubscribe(again)
        assert publisher.subscribers == 0


def test_nobody_can_listen_to_a_closed_publisher() -> None:
    """During shutdown no feed begins, and publishing does nothing."""
    publisher = Publisher(max_subscribers=1, queue_events=2)
    with publisher.subscribe() as last:
        publisher.close()
        publisher.publish(event(0))
        assert last.offer(event(1)) == 0
    with pytest.raises(PublisherClosedError):
        publisher.subscribe()


def test_an_event_is_written_once_for_all() -> None:
    """Whoever asks for a form of it gets the same."""
    made = []
    one = event(1)
    forms = [one.form("text", lambda event: made.append(1) or f"{event.seq}") for _ in range(3)]
    assert (forms, made) == (["2"] * 3, [1])


def test_publishing_costs_what_it_concerns() -> None:
    """A call's event is offered to its own listeners, however many others there are."""
    offers: list[str | None] = []
    publisher = Publisher(max_subscribers=1_000, queue_events=2)
    subscriptions = [publisher.subscribe(call_feed=f"call-{number}") for number in range(500)]
    subscriptions += [publisher.subscribe("other") for _ in range(100)]
    subscriptions += [
        publisher.subscribe(which=LiveFilter(call_id=f"call-{number}")) for number in range(100)
    ]
    original = Subscription.offer

    def offer(self: Subscription, event: LiveEvent) -> int:
        offers.append(self.call_feed or self.which.call_id)
        return original(self, event)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Subscription, "offer", offer)
        publisher.publish(event(0, "call-7"))
    assert offers == ["call-7", "call-7"]
    publisher.close()
    assert len(subscriptions) == 700
