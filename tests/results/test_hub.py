"""Two processes over one store: each viewer gets the tenant's feed in order, once, wherever its events come from."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.results.feed_view import FeedView
from app.results.follower import FollowOptions
from app.results.hub import Heard, Hub
from app.results.live_event import EVERYTHING, LiveEvent, LiveFilter
from app.results.memory import MemoryBounds, MemoryStores
from app.results.publish import Publisher
from app.results.store import FeedRange, ResultStore, StoreAwayError
from app.results.views import ViewOptions
from app.results.writes import AddFeedEntry, EraseCall, Write
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

TENANT = "default"
NUDGE = orjson.dumps({"o": "there", "t": "n"})
HERE, THERE = call_info("a", "here"), call_info("b", "there")


class FakeRelay:
    """Delivers what the test says; keeps what is sent."""

    def __init__(self) -> None:
        self.sent: list[tuple[str, dict[str, Any]]] = []
        self.heard: Heard | None = None
        self.tenants: set[str] = set()

    def send(self, tenant: str, message: bytes) -> None:
        """Keeps it."""
        self.sent.append((tenant, orjson.loads(message)))

    def listen(self, tenant: str) -> None:
        """Notes it."""
        self.tenants.add(tenant)

    def leave(self, tenant: str) -> None:
        """Notes it."""
        self.tenants.discard(tenant)

    async def run(self, heard: Heard) -> None:
        """Until cancelled."""
        self.heard = heard
        await asyncio.Event().wait()

    def deliver(self, message: bytes, tenant: str = TENANT) -> None:
        """Another process says something."""
        assert self.heard is not None
        self.heard(tenant, message)


class Place:
    """One process with its viewers, and the store that others write to as well."""

    def __init__(self, *, entries: int = 1_000, queue: int = 256) -> None:
        stores = MemoryStores(FakeClock(), MemoryBounds(feed_entries=entries))
        self.store: ResultStore = stores.results
        self.publisher = Publisher(max_subscribers=99, queue_events=queue)
        self.relay = FakeRelay()
        self.seqs = Counter[str]()
        self.written: dict[int, tuple[str, str, int | None]] = {}
        self.late: list[LiveEvent] = []
        self.spool: list[Write] = []

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """With its hub, and two calls."""
        hub = Hub(self.store, self.publisher, "here", self.relay, FollowOptions(poll_s=60.0, page=3))
        async with hub.running():
            await settle()
            await self.write(opening(HERE))
            await self.write(opening(THERE))
            yield

    async def write(self, write: Write) -> LiveEvent:
        """Writes; what is to be told of it."""
        position = (await stored(self.store, write)).position
        event = event_of(write, position)
        assert position is not None
        self.written[position] = event.key
        return event

    def _next(self, call: Any) -> Write:
        self.seqs[call.call_id] += 1
        return appending(self.seqs[call.call_id], call)

    async def say(self) -> None:
        """This process makes a record and tells it; without the store, it tells it all the same."""
        write = self._next(HERE)
        if self.spool:
            await self.spooled(write)
        else:
            self.publisher.publish(await self.write(write))

    async def late_say(self) -> None:
        """This process makes a record; the answer of the store takes a while."""
        if not self.spool:
            self.late.append(await self.write(self._next(HERE)))

    async def answered(self) -> None:
        """Answers of the store arrive, in another order."""
        while self.late:
            self.publisher.publish(self.late.pop())

    async def spooled(self, write: Write | None = None) -> None:
        """This process makes a record while the store is away for it."""
        await self.answered()
        write = write or self._next(HERE)
        self.spool.append(write)
        self.publisher.publish(event_of(write))

    async def drain(self) -> None:
        """What waited is written, in order."""
        while self.spool:
            await self.write(self.spool.pop(0))

    async def other_says(self) -> None:
        """The other process makes a record."""
        await self.write(self._next(THERE))

    async def nudged(self) -> None:
        """The other process says that the feed grew."""
        self.relay.deliver(NUDGE)
        await settle()

    async def passing(self) -> None:
        """Something that is not kept."""
        self.publisher.publish(LiveEvent("interim", "a", {"call_id": "a"}, line="trunk-1"))

    async def view(self, since: int | None = None, which: LiveFilter = EVERYTHING) -> tuple[FeedView, Viewer]:
        """A viewer from a position on."""
        subscription = self.publisher.subscribe(which=which)
        options = ViewOptions(page=3)
        view = FeedView(self.store, subscription, which, since, options, publisher=self.publisher)
        await view.open()
        return view, Viewer(view.batches())


def places(viewer: Viewer) -> list[tuple[str, int | None, int | None]]:
    """What a viewer was told, in short."""
    return [(event.type, event.position, event.seq) for event in viewer.told]


def test_both_processes_in_the_order_of_the_feed() -> None:
    """What this process wrote waits for what the other wrote before it; and is told with its own body."""

    async def scenario() -> None:
        place = Place()
        async with place.running():
            view, viewer = await place.view()
            assert view.mark == 2
            await place.say()
            await place.other_says()
            await place.say()
            await viewer.read_all()
            assert [event.seq for event in viewer.told] == [1, 1, 2]
            assert viewer.numbers("position") == [3, 4, 5]
            assert [event.call_id for event in viewer.told] == ["a", "b", "a"]
            await viewer.close()

    asyncio.run(scenario())


def test_what_the_other_process_wrote_comes_when_it_says_so() -> None:
    """A nudge is enough; so is an alert that nobody told of."""

    async def scenario() -> None:
        place = Place()
        async with place.running():
            _, viewer = await place.view()
            await place.other_says()
            await stored(place.store, AddFeedEntry(TENANT, "alert", "b", "1", {"rule": "r"}, "there"))
            await place.nudged()
            await viewer.read_all()
            assert places(viewer) == [("utterance", 3, 1), ("alert", 4, None)]
            await viewer.close()

    asyncio.run(scenario())


def test_resuming_by_position() -> None:
    """From a position on, then what comes; the first message says that nothing is missing."""

    async def scenario() -> None:
        place = Place()
        async with place.running():
            for _ in range(4):
                await place.say()
            _, viewer = await place.view(2)
            await place.say()
            await viewer.read_all()
            expected = {"from_position": 2, "next_position": 7, "complete": True, "reset": False}
            assert viewer.told[0].body == expected
            assert viewer.numbers("position") == [2, 3, 4, 5, 6, 7]
            await viewer.close()

    asyncio.run(scenario())


def test_what_the_feed_does_not_hold_any_more_is_named() -> None:
    """To who resumes, and to who watches while this process falls behind."""

    async def scenario() -> None:
        place = Place(entries=4)
        async with place.running():
            _, watching = await place.view()
            for _ in range(8):
                await place.other_says()
            _, resuming = await place.view(3)
            await place.nudged()
            for viewer in (watching, resuming):
                await viewer.read_all()
                assert viewer.named() == [3, 4, 5, 6]
                assert viewer.numbers("position") == [7, 8, 9, 10]
                await viewer.close()
            assert resuming.told[0].body["complete"] is False

    asyncio.run(scenario())


def test_a_feed_that_began_anew() -> None:
    """The store lost its data: who watches is told, and who resumes from a number that never was."""

    async def scenario() -> None:
        place = Place()
        async with place.running():
            view, watching = await place.view()
            for _ in range(3):
                await place.say()
            await watching.read_all()
            fresh = MemoryStores(FakeClock(), MemoryBounds()).results
            place.store.read_feed = fresh.read_feed  # type: ignore[method-assign]
            _, resuming = await place.view(9)
            await place.nudged()
            await watching.read_all()
            assert watching.told[-1] == LiveEvent("reset", "", {"next_position": 1})
            assert view.mark == 0
            await resuming.read_all()
            expected = {"from_position": 9, "next_position": 1, "complete": False, "reset": True}
            assert resuming.told[0].body == expected
            for viewer in (watching, resuming):
                await viewer.close()

    asyncio.run(scenario())


def test_after_an_outage_nobody_is_told_twice() -> None:
    """Who saw it without a position is not told again; who came later is; and the position has moved on for both."""

    async def scenario() -> None:
        place = Place()
        async with place.running():
            view, early = await place.view()
            await place.spooled()
            _, late = await place.view()
            await place.spooled()
            await place.drain()
            await place.nudged()
            for viewer in (early, late):
                await viewer.read_all()
                await viewer.close()
            assert places(early) == [("utterance", None, 1), ("utterance", None, 2)]
            assert places(late) == [("utterance", None, 2), ("utterance", 3, 1)]
            assert view.mark == 4

    asyncio.run(scenario())


def test_an_answer_that_comes_after_the_feed() -> None:
    """The feed gave this process's own event before the write was answered: it is told once all the same."""

    async def scenario() -> None:
        place = Place()
        async with place.running():
            _, viewer = await place.view()
            subscription = place.publisher.subscribe(call_feed="a")
            await place.late_say()
            await place.late_say()
            await place.nudged()
            first, second = place.late
            place.publisher.publish(first)
            place.publisher.publish(LiveEvent(second.type, "a", second.body, seq=second.seq))
            await viewer.read_all()
            assert places(viewer) == [("utterance", 3, 1), ("utterance", 4, 2)]
            assert subscription.waiting == 2
            await viewer.close()

    asyncio.run(scenario())


def test_passing_events_go_through_the_relay() -> None:
    """Out: those that are not kept, and word that the feed grew. In: of others, to the listeners of the tenant."""

    async def scenario() -> None:
        place = Place()
        async with place.running():
            assert place.relay.tenants == set()
            _, viewer = await place.view()
            assert place.relay.tenants == {TENANT}
            await place.passing()
            await place.say()
            assert [message["t"] for _, message in place.relay.sent] == ["interim", "n"]
            (_, said), _ = place.relay.sent
            place.relay.deliver(orjson.dumps(said))  # one's own
            place.relay.deliver(orjson.dumps(said | {"o": "there"}))
            place.relay.deliver(orjson.dumps(said | {"o": "there"}), "another tenant")
            place.relay.deliver(orjson.dumps(said | {"o": "there", "t": "utterance"}))
            for junk in (b"", b"[]", b"{}", b'{"o":"there"}', b"\xff"):
                place.relay.deliver(junk)
            place.relay.deliver(NUDGE, "another tenant")
            await viewer.read_all()
            assert [event.type for event in viewer.told] == ["interim", "utterance", "interim"]
            await viewer.close()
            place.publisher.close()
            assert place.relay.tenants == set()

    asyncio.run(scenario())


def test_without_the_store_a_feed_begins_when_it_is_back() -> None:
    """Who asks for a position is refused; who watches gets what happens here, and the feed once it can be read."""

    async def scenario() -> None:
        place = Place()
        there = place.store.read_feed

        async def away(*_: object, **__: object) -> FeedRange:
            raise StoreAwayError("away")

        async with place.running():
            place.store.read_feed = away  # type: ignore[method-assign]
            with pytest.raises(StoreAwayError):
                await place.view(1)
            view, viewer = await place.view()
            assert view.mark is None
            await place.spooled()
            await viewer.read_all()
            assert places(viewer) == [("utterance", None, 1)]
            place.store.read_feed = there  # type: ignore[method-assign]
            await place.drain()
            await place.say()
            async with asyncio.timeout(30):
                while len(viewer.told) < 2:
                    await viewer.read_all()
                    await asyncio.sleep(0.01)
            assert places(viewer)[1:] == [("utterance", 4, 2)]
            await viewer.close()

    asyncio.run(scenario())


def test_a_fault_of_the_store_does_not_stop_the_feed(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is logged, and tried again."""
    monkeypatch.setattr("app.results.follower._BACKOFF_S", (0.0, 0.0))

    async def scenario() -> None:
        place = Place()
        there, calls = place.store.read_feed, Counter[str]()

        async def broken(tenant: str, *, after: int, limit: int) -> FeedRange:
            calls[tenant] += 1
            if calls[tenant] < 3:
                raise RuntimeError("broken")
            return await there(tenant, after=after, limit=limit)

        async with place.running():
            place.store.read_feed = broken  # type: ignore[method-assign]
            await place.view()
            await settle(50)
            assert place.publisher.told(TENANT) == 2

    asyncio.run(scenario())


def test_erasure_reaches_who_watches() -> None:
    """With the call's id and nothing else, whatever the filter."""

    async def scenario() -> None:
        place = Place()
        async with place.running():
            _, viewer = await place.view(1, LiveFilter(line="trunk-2"))
            await place.write(closing(THERE))
            await stored(place.store, EraseCall(TENANT, "b", "there"))
            await place.nudged()
            await viewer.read_all()
            erased = [event for event in viewer.told if event.type == "call_erased"]
            assert erased
            assert all(event.body == {"call_id": "b"} for event in erased)
            await viewer.close()

    asyncio.run(scenario())


STEPS = (
    "say",
    "say",
    "late_say",
    "answered",
    "spooled",
    "drain",
    "other_says",
    "other_says",
    "nudged",
    "passing",
)


@given(
    steps=st.lists(
        st.sampled_from([*STEPS, "watch", "watch", "resume", "read", "read"]), min_size=5, max_size=60
    ),
    since=st.integers(1, 8),
    entries=st.sampled_from([4, 1_000]),
    queue=st.sampled_from([2, 6, 64]),
)
def test_every_position_comes_once_or_is_named(
    steps: list[str], since: int, entries: int, queue: int
) -> None:
    """Whatever two processes write in whatever order, with and without the store, to whoever reads however slowly."""

    async def scenario() -> None:
        place = Place(entries=entries, queue=queue)
        async with place.running():
            viewers: list[tuple[Viewer, int]] = []
            for number, step in enumerate(steps):
                if step == "watch":
                    view, viewer = await place.view()
                    assert view.mark is not None
                    viewers.append((viewer, view.mark + 1))
                elif step == "resume" and since <= len(place.written):
                    viewers.append(((await place.view(since))[1], since))
                elif step == "read":
                    for viewer, _ in viewers[number % 2 :: 2]:
                        await viewer.read()
                elif step in STEPS:
                    await getattr(place, step)()
            await place.answered()
            await place.drain()
            await place.nudged()
            for viewer, first in viewers:
                await viewer.read_all()
                await viewer.close()
                check(place, viewer, first)

    asyncio.run(scenario())


def check(place: Place, viewer: Viewer, first: int) -> None:
    """Positions in order; each once, or named, or told before it had one; no record twice."""
    positions, counts = viewer.numbers("position"), accounted(viewer, "position")
    assert positions == sorted(positions)
    assert max(counts.values(), default=1) == 1, viewer.told
    kept = [event for event in viewer.told if event.call_id and event.type != "interim"]
    assert max(Counter(event.key for event in kept).values(), default=1) == 1, viewer.told
    early = {event.key for event in kept if event.position is None}
    lost = any(event.type == "lagged" and event.body["dropped"] for event in viewer.told)
    for position, key in place.written.items():
        if position >= first and not counts[position]:
            assert key in early or (lost and key[0] == "a"), (position, viewer.told)
