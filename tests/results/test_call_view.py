"""A viewer of a call gets every record from the one it asks for, once, or is told which it does not get."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.results.call_view import CallView
from app.results.live_event import EVERYTHING, LiveEvent, LiveFilter
from app.results.memory import MemoryBounds, MemoryStores
from app.results.publish import Publisher
from app.results.store import CallNotFoundError, ResultStore, StoreAwayError
from app.results.views import ViewOptions
from app.results.writes import EraseCall
from tests.support.clock import FakeClock
from tests.support.feeds import (
    Viewer,
    accounted,
    appending,
    call_info,
    closing,
    event_of,
    opening,
    settle,
    stored,
)

CALL = call_info()
JOY = LiveFilter(emotion="joy")


class Scene:
    """A store, a publisher, and a call that goes on."""

    def __init__(self, *, records: int = 1_000, queue: int = 256) -> None:
        stores = MemoryStores(FakeClock(), MemoryBounds(max_records_per_call=records))
        self.store: ResultStore = stores.results
        self.publisher = Publisher(max_subscribers=99, queue_events=queue)
        self.missed: list[int] = []
        self.seq = 0

    async def say(self, *, kept: bool = True, told: bool = True, emotion: str = "anger") -> None:
        """One more record: stored, published, or both."""
        self.seq += 1
        write = appending(self.seq, CALL, emotion)
        position = (await stored(self.store, write)).position if kept else None
        if told:
            self.publisher.publish(event_of(write, position))

    async def end(self) -> None:
        """The call ends."""
        write = closing(CALL, self.seq)
        self.publisher.publish(event_of(write, (await stored(self.store, write)).position))

    async def view(
        self, since: int | None = None, which: LiveFilter = EVERYTHING, *, live: bool = True, **options: Any
    ) -> tuple[CallView, Viewer]:
        """A viewer from a number on."""
        subscription = self.publisher.subscribe(which=which, call_feed="c")
        view = CallView(
            self.store,
            subscription,
            which,
            since,
            ViewOptions(**({"page": 3, "on_missed": self.missed.append} | options)),
            describe=lambda call: {"call_id": call.call_id, "outcome": call.outcome},
            live_here=live,
        )
        await view.open()
        return view, Viewer(view.batches())


def types(events: Sequence[LiveEvent]) -> list[str]:
    """What was told, in short."""
    return [event.type if event.seq is None else f"{event.type} {event.seq}" for event in events]


async def opened(**bounds: int) -> Scene:
    """A scene with the call opened."""
    scene = Scene(**bounds)
    await stored(scene.store, opening(CALL))
    return scene


def test_what_was_and_what_comes_are_one_sequence() -> None:
    """Records from the number on, then those that are made, then the end; at first it is said that none is missing."""

    async def scenario() -> list[LiveEvent]:
        scene = await opened()
        for _ in range(5):
            await scene.say()
        view, viewer = await scene.view(2)
        await scene.say()  # stored and queued before the store is read to its end
        await viewer.read_all()
        await scene.say()
        await scene.end()
        await viewer.read_all()
        assert (view.ended, viewer.over, view.mark) == (True, True, 7)
        return viewer.told

    told = asyncio.run(scenario())
    records = [f"utterance {seq}" for seq in range(2, 8)]
    assert types(told) == ["resumed", *records, "call_ended"]
    assert told[0].body == {"call_id": "c", "from_seq": 2, "next_seq": 6, "complete": True}


def test_what_is_not_held_any_more_is_named() -> None:
    """The oldest went, and one was never stored: two gaps, in their places."""

    async def scenario() -> tuple[list[LiveEvent], list[int]]:
        scene = await opened(records=5)
        for seq in range(1, 10):
            await scene.say(kept=seq != 7)
        _, viewer = await scene.view(2)
        await viewer.read_all()
        await viewer.close()
        return viewer.told, scene.missed

    told, missed = asyncio.run(scenario())
    assert types(told) == [
        "resumed",
        "gap",
        "utterance 4",
        "utterance 5",
        "utterance 6",
        "gap",
        "utterance 8",
        "utterance 9",
    ]
    assert [event.body for event in told if event.type == "gap"] == [
        {"from": 2, "to": 3},
        {"from": 7, "to": 7},
    ]
    assert told[0].body["complete"] is False
    assert missed == [2, 1]


def test_a_hole_beyond_the_first_page_is_known_at_once() -> None:
    """The call's own count tells, although the first page is whole."""

    async def scenario() -> list[LiveEvent]:
        scene = await opened()
        for seq in range(1, 9):
            await scene.say(kept=seq != 6)
        _, viewer = await scene.view(1)
        await viewer.read_all()
        await viewer.close()
        return viewer.told

    told = asyncio.run(scenario())
    assert told[0].body == {"call_id": "c", "from_seq": 1, "next_seq": 9, "complete": False}
    assert [event.body for event in told if event.type == "gap"] == [{"from": 6, "to": 6}]


def test_a_slow_viewer_is_told_what_it_lost() -> None:
    """Records that did not fit, and other events, in one `lagged`; then it goes on."""

    async def scenario() -> list[LiveEvent]:
        scene = await opened(queue=4)
        _, viewer = await scene.view()
        await viewer.read_all()
        for _ in range(5):
            await scene.say()
            scene.publisher.publish(LiveEvent("speech_start", "c", {"leg": "customer"}))
        await viewer.read_all()
        await viewer.close()
        return viewer.told

    told = asyncio.run(scenario())
    assert told[0].body == {"dropped": 6, "missed": {"from": 1, "to": 3}}
    assert types(told) == ["lagged", "utterance 4", "speech_start", "utterance 5", "speech_start"]


def test_what_comes_during_a_long_replay_is_not_lost() -> None:
    """The queue overflows while the store is read: the store has it all; only passing events are counted."""

    async def scenario() -> list[LiveEvent]:
        scene = await opened(queue=4)
        for _ in range(7):
            await scene.say()
        _, viewer = await scene.view(1)
        await viewer.read()
        for _ in range(20):
            scene.publisher.publish(LiveEvent("speech_start", "c", {"leg": "customer"}))
            await scene.say()
        await viewer.read_all()
        await viewer.close()
        return viewer.told

    told = asyncio.run(scenario())
    assert [event.seq for event in told if event.seq] == list(range(1, 28))
    (lagged,) = [event for event in told if event.type == "lagged"]
    assert lagged.body["missed"] is None
    assert 0 < lagged.body["dropped"] <= 20


def test_a_filter_leaves_no_gap() -> None:
    """What the viewer does not want is passed over, in the store and in what comes; the mark moves on."""

    async def scenario() -> list[LiveEvent]:
        scene = await opened()
        for emotion in ("joy", "anger", "joy", "anger"):
            await scene.say(emotion=emotion)
        view, viewer = await scene.view(1, JOY)
        await viewer.read_all()
        assert view.mark == 4
        for emotion in ("anger", "joy", "anger", "anger"):
            await scene.say(emotion=emotion)
            scene.publisher.publish(LiveEvent("speech_start", "c", {"leg": "customer"}))
        await viewer.read_all()
        assert view.mark == 8
        await scene.end()
        await viewer.read_all()
        return viewer.told

    told = asyncio.run(scenario())
    assert types(told) == ["resumed", "utterance 1", "utterance 3", "utterance 6", "call_ended"]


def test_records_that_another_process_told_nobody_are_fetched() -> None:
    """A record comes whose forerunners did not: they are in the store. One that is nowhere is named."""

    async def scenario() -> list[LiveEvent]:
        scene = await opened()
        await scene.say()
        _, viewer = await scene.view(1)
        await viewer.read_all()
        for _ in range(4):
            await scene.say(told=False)
        await scene.say(kept=False, told=False)
        await scene.say(kept=False)
        await viewer.read_all()
        await viewer.close()
        return viewer.told

    told = asyncio.run(scenario())
    records = [f"utterance {seq}" for seq in range(1, 6)]
    assert types(told) == ["resumed", *records, "gap", "utterance 7"]


def test_a_call_that_has_ended_is_told_to_its_end() -> None:
    """With a number its records and the end; without, the end alone."""

    async def scenario() -> tuple[list[str], list[str]]:
        scene = await opened()
        await scene.say()
        await scene.end()
        view, resumed = await scene.view(1, live=False)
        assert view.over
        _, fresh = await scene.view(live=False)
        await resumed.read_all()
        await fresh.read_all()
        assert resumed.over
        assert fresh.over
        return types(resumed.told), types(fresh.told)

    assert asyncio.run(scenario()) == (["resumed", "utterance 1", "call_ended"], ["call_ended"])


def test_an_erased_call_ends_the_feed() -> None:
    """Erased in the middle of its replay: what is left of it is that it is gone."""

    async def scenario() -> list[str]:
        scene = await opened()
        for _ in range(5):
            await scene.say()
        _, viewer = await scene.view(1)
        await viewer.read()
        await viewer.read()
        await stored(scene.store, closing(CALL))
        await stored(scene.store, EraseCall(CALL.tenant, "c"))
        scene.publisher.publish(LiveEvent("call_erased", "c", {"call_id": "c"}))
        await viewer.read_all()
        assert viewer.over
        return types(viewer.told)

    told = asyncio.run(scenario())
    assert told == ["resumed", "utterance 1", "utterance 2", "utterance 3", "call_erased"]


def test_an_unknown_call_cannot_be_watched() -> None:
    """Neither held nor in progress here."""

    async def scenario() -> None:
        await Scene().view(live=False)

    with pytest.raises(CallNotFoundError):
        asyncio.run(scenario())


class AwayStore:
    """A store that does not answer."""

    def __getattr__(self, name: str) -> Any:
        async def away(*_: object, **__: object) -> None:
            raise StoreAwayError("away")

        return away


def test_a_call_here_can_be_watched_while_the_store_is_away() -> None:
    """From now on: yes, and a hole is named at once. From a number on: not now."""

    async def scenario() -> list[str]:
        scene = Scene()
        scene.store = AwayStore()  # type: ignore[assignment]
        with pytest.raises(StoreAwayError):
            await scene.view(1)
        view, viewer = await scene.view()
        assert view.mark is None
        for seq in (4, 5, 8):
            scene.publisher.publish(event_of(appending(seq, CALL)))
        await viewer.read_all()
        assert view.mark == 8
        await viewer.close()
        return types(viewer.told)

    assert asyncio.run(scenario()) == ["utterance 4", "utterance 5", "gap", "utterance 8"]


def test_a_call_that_the_store_does_not_know_yet_can_be_resumed_here() -> None:
    """It waits in the spool: what cannot be read yet is named when the next record comes."""

    async def scenario() -> list[LiveEvent]:
        scene = Scene()
        _, viewer = await scene.view(2)
        scene.publisher.publish(event_of(appending(4, CALL)))
        await viewer.read_all()
        await viewer.close()
        return viewer.told

    told = asyncio.run(scenario())
    assert types(told) == ["resumed", "gap", "utterance 4"]
    assert told[0].body == {"call_id": "c", "from_seq": 2, "next_seq": 2, "complete": True}


def test_a_quiet_feed_says_so() -> None:
    """An empty batch whenever nothing happened for a while; the end of the service ends it."""

    async def scenario() -> list[list[LiveEvent]]:
        scene = await opened()
        view, _ = await scene.view(keepalive_s=0.001)
        seen = []
        async for batch in view.batches():
            seen.append(batch)
            if len(seen) == 2:
                scene.publisher.close()
        assert not view.ended
        return seen

    assert asyncio.run(scenario()) == [[], []]


WATCHING = {"watch": EVERYTHING, "want": JOY}
SAYING: dict[str, dict[str, Any]] = {
    "say": {},
    "joy": {"emotion": "joy"},
    "unkept": {"kept": False},
    "untold": {"told": False},
    "lost": {"kept": False, "told": False},
}
STEPS = st.lists(
    st.sampled_from([*WATCHING, *SAYING, "say", "say", "passing", "read", "read"]), min_size=5, max_size=60
)


@given(
    steps=STEPS,
    since=st.integers(1, 6),
    records=st.sampled_from([3, 1_000]),
    queue=st.sampled_from([2, 5, 64]),
)
def test_every_record_comes_once_or_is_named(steps: list[str], since: int, records: int, queue: int) -> None:
    """Whatever happens in whatever order to whoever reads however slowly."""

    async def scenario() -> None:
        scene = await opened(records=records, queue=queue)
        viewers: list[tuple[Viewer, LiveFilter]] = []
        joyful = set()
        for number, step in enumerate(steps):
            if step in WATCHING:
                viewers.append(((await scene.view(since, WATCHING[step]))[1], WATCHING[step]))
            elif step == "read":
                for viewer, _ in viewers[number % 2 :: 2]:
                    await viewer.read()
            elif step == "passing":
                scene.publisher.publish(LiveEvent("interim", "c", {"emotion": "joy"}))
            else:
                await scene.say(**SAYING[step])
                joyful |= {scene.seq} if step == "joy" else set()
        await scene.end()
        await settle()
        for viewer, which in viewers:
            await viewer.read_all()
            due = set(range(since, scene.seq + 1))
            check(viewer, due if which is EVERYTHING else due & joyful)

    asyncio.run(scenario())


def check(viewer: Viewer, due: set[int]) -> None:
    """It was told everything that was due in order, once, or was told what not; and the end."""
    assert viewer.over
    assert viewer.told[-1].type == "call_ended"
    numbers, counts = viewer.numbers("seq"), accounted(viewer, "seq")
    assert numbers == sorted(numbers)
    assert set(numbers) <= due
    assert due <= set(counts), viewer.told
    assert max(counts.values(), default=1) == 1, viewer.told
