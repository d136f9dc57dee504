"""Publishing never waits for a listener, and a listener that fell behind is told."""

from __future__ import annotations

import asyncio

import pytest

from app.results.publish import LiveEvent, Publisher, TooManySubscribersError


def event(index: int, call_id: str = "a") -> LiveEvent:
    """A numbered event."""
    return LiveEvent("utterance", call_id, {"index": index})


def test_every_listener_gets_every_event_it_asked_for() -> None:
    """One listens to all calls, one to a single call; both in order."""

    async def scenario() -> tuple[list[LiveEvent], list[LiveEvent]]:
        publisher = Publisher(max_subscribers=2, queue_events=9)
        with publisher.subscribe() as everything, publisher.subscribe("b") as only_b:
            for index, call_id in enumerate("abab"):
                publisher.publish(event(index, call_id))
            publisher.close()
            return [item async for item in everything], [item async for item in only_b]

    everything, only_b = asyncio.run(scenario())
    assert [item.body["index"] for item in everything] == [0, 1, 2, 3]
    assert [item.body["index"] for item in only_b] == [1, 3]


def test_a_slow_listener_loses_the_oldest_and_is_told() -> None:
    """`lagged` comes first, with the number lost, and the loss is reported once."""

    async def scenario() -> list[LiveEvent]:
        lost: list[int] = []
        publisher = Publisher(max_subscribers=1, queue_events=2, on_drop=lost.append)
        with publisher.subscribe() as slow:
            for index in range(5):
                publisher.publish(event(index))
            publisher.close()
            assert sum(lost) == 3
            return [item async for item in slow]

    items = asyncio.run(scenario())
    assert items[0] == LiveEvent("lagged", "", {"dropped": 3})
    assert [item.body["index"] for item in items[1:]] == [3, 4]


def test_listeners_are_limited_and_leave_room_when_they_go() -> None:
    """One too many is refused until another leaves."""
    publisher = Publisher(max_subscribers=1, queue_events=1)
    with publisher.subscribe():
        assert publisher.subscribers == 1
        with pytest.raises(TooManySubscribersError):
            publisher.subscribe()
    assert publisher.subscribers == 0
    with publisher.subscribe():
        pass


def test_nobody_can_listen_to_a_closed_publisher() -> None:
    """During shutdown no feed begins, and publishing does nothing."""
    publisher = Publisher(max_subscribers=1, queue_events=1)
    publisher.close()
    publisher.publish(event(0))
    with pytest.raises(TooManySubscribersError):
        publisher.subscribe()
