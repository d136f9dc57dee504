"""A channel is bounded by weight, keeps order, loses nothing it does not own up to, and wakes who waits."""

from __future__ import annotations

import asyncio

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.channel import Channel, ChannelClosedError, ChannelFullError, Overflow


def test_items_come_out_in_the_order_they_went_in() -> None:
    """First in, first out; closing lets what is inside come out."""

    async def scenario() -> list[int]:
        channel: Channel[int] = Channel(10)
        for item in range(3):
            await channel.put(item)
        channel.close()
        taken = [await channel.get() for _ in range(3)]
        with pytest.raises(ChannelClosedError):
            await channel.get()
        return taken

    assert asyncio.run(scenario()) == [0, 1, 2]


def test_put_waits_for_room() -> None:
    """A producer that is ahead waits, it does not lose and does not grow the queue."""

    async def scenario() -> None:
        channel: Channel[str] = Channel(2.0, weigh=lambda item: float(len(item)))
        await channel.put("ab")
        waiting = asyncio.create_task(channel.put("cd"))
        await asyncio.sleep(0)
        assert not waiting.done()
        assert await channel.get() == "ab"
        await waiting
        assert channel.weight == 2.0

    asyncio.run(scenario())


def test_an_item_heavier_than_the_channel_passes_alone() -> None:
    """Nothing can wait for ever."""

    async def scenario() -> None:
        channel: Channel[str] = Channel(1.0, weigh=lambda item: float(len(item)))
        await channel.put("heavy")
        assert await channel.get_many(1.0) == ["heavy"]
        assert channel.weight == 0.0

    asyncio.run(scenario())


def test_refusing_channel_refuses_when_full() -> None:
    """`put_nowait` on a full channel raises and changes nothing."""
    channel: Channel[int] = Channel(1)
    assert channel.put_nowait(1) == 0
    with pytest.raises(ChannelFullError):
        channel.put_nowait(2)
    assert len(channel) == 1


def test_dropping_channel_drops_the_oldest_and_says_so() -> None:
    """`put_nowait` returns how many items were lost."""

    async def scenario() -> None:
        channel: Channel[int] = Channel(2, Overflow.DROP_OLDEST)
        assert [channel.put_nowait(item) for item in range(4)] == [0, 0, 1, 1]
        assert await channel.get_many(9) == [2, 3]

    asyncio.run(scenario())


def test_closing_wakes_a_waiting_producer_and_consumer() -> None:
    """Nobody is left waiting on a channel that is over."""

    async def scenario() -> None:
        full: Channel[int] = Channel(1)
        await full.put(1)
        empty: Channel[int] = Channel(1)
        waiting = [asyncio.create_task(full.put(2)), asyncio.create_task(empty.get())]
        await asyncio.sleep(0)
        full.close()
        empty.close()
        results = await asyncio.gather(*waiting, return_exceptions=True)
        assert all(isinstance(result, ChannelClosedError) for result in results)
        assert full.closed
        with pytest.raises(ChannelClosedError):
            full.put_nowait(3)

    asyncio.run(scenario())


def test_a_cancelled_consumer_loses_nothing() -> None:
    """A timeout around `get` leaves the next item where it was."""

    async def scenario() -> None:
        channel: Channel[int] = Channel(4)
        waiting = asyncio.create_task(channel.get())
        await asyncio.sleep(0)
        channel.put_nowait(7)
        waiting.cancel()
        await asyncio.gather(waiting, return_exceptions=True)
        assert await channel.get() == 7

    asyncio.run(scenario())


@given(
    st.lists(st.floats(min_value=0, max_value=5), max_size=40),
    st.floats(min_value=0, max_value=10),
    st.floats(min_value=0.1, max_value=10),
)
def test_whatever_goes_in_comes_out_once(weights: list[float], most: float, capacity: float) -> None:
    """Producer and consumer at any pace: order kept, nothing lost, the weight bounded and back to nothing."""

    async def scenario() -> list[int]:
        channel: Channel[int] = Channel(capacity, weigh=lambda index: weights[index])

        async def produce() -> None:
            for index in range(len(weights)):
                await channel.put(index)
                assert channel.weight <= capacity + 1e-6 or len(channel) == 1
            channel.close()

        taken: list[int] = []
        task = asyncio.create_task(produce())
        try:
            while True:
                taken += await channel.get_many(most)
        except ChannelClosedError:
            await task
        assert channel.weight == 0.0
        return taken

    assert asyncio.run(scenario()) == list(range(len(weights)))
