"""The memory store keeps what it is told, within its bounds, and erases without a trace."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any, TypeVar

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from app.domain import Leg
from app.results.memory import MemoryStore
from app.results.store import (
    BadCursorError,
    CallActiveError,
    CallExistsError,
    CallFilter,
    CallInfo,
    CallNotFoundError,
    CallState,
)
from tests.support.clock import FakeClock
from tests.support.records import make_record

T = TypeVar("T")


def run(work: Coroutine[Any, Any, T]) -> T:
    """Runs a coroutine of a store that never waits."""
    return asyncio.run(work)


def make_store(clock: FakeClock | None = None, **bounds: Any) -> MemoryStore:
    """A small store."""
    bounds = {"max_calls": 3, "max_records_per_call": 4, "ttl_s": 60.0} | bounds
    return MemoryStore(clock or FakeClock(), **bounds)


def call(call_id: str, line: str = "default") -> CallInfo:
    """A live call."""
    return CallInfo(call_id=call_id, line=line, legs=(Leg.CUSTOMER,), started_at=1.0)


async def end(store: MemoryStore, call_id: str) -> None:
    """Ends a call."""
    await store.close_call(call_id, outcome="completed", ended_at=2.0, summary={"duration_s": 1.0})


def test_a_call_lives_and_ends() -> None:
    """The call's state, count, outcome and summary follow what happens."""

    async def scenario() -> None:
        store = make_store()
        await store.open_call(call("a"))
        await store.append(make_record("a", 0))
        assert (await store.get_call("a")).state is CallState.ACTIVE
        await end(store, "a")
        info = await store.get_call("a")
        assert (info.state, info.outcome, info.utterances) == (CallState.ENDED, "completed", 1)
        assert info.summary == {"duration_s": 1.0}
        await store.ping()

    run(scenario())


def test_a_call_id_is_taken_once() -> None:
    """Neither a live nor an ended call can be opened again while it is held."""

    async def scenario() -> None:
        clock = FakeClock()
        store = make_store(clock)
        await store.open_call(call("a"))
        with pytest.raises(CallExistsError):
            await store.open_call(call("a"))
        await end(store, "a")
        with pytest.raises(CallExistsError):
            await store.open_call(call("a"))
        clock.advance(61)
        await store.open_call(call("a"))

    run(scenario())


def test_an_unknown_call_is_named() -> None:
    """Every question about a call that is not held fails the same way."""

    async def scenario() -> None:
        store = make_store()
        for work in (
            store.get_call("x"),
            store.append(make_record("x")),
            store.list_utterances("x", cursor=None, limit=1),
            store.delete_call("x"),
            end(store, "x"),
        ):
            with pytest.raises(CallNotFoundError, match="call x"):
                await work

    run(scenario())


def test_ended_calls_expire_and_live_ones_do_not() -> None:
    """Time to live counts from the end of the call."""

    async def scenario() -> None:
        clock = FakeClock()
        store = make_store(clock)
        for call_id in ("live", "first", "second"):
            await store.open_call(call(call_id))
        await end(store, "first")
        clock.advance(30)
        await end(store, "second")
        clock.advance(30)
        page = await store.list_calls(CallFilter(), cursor=None, limit=9)
        assert [info.call_id for info in page.items] == ["second", "live"]
        clock.advance(10_000)
        page = await store.list_calls(CallFilter(), cursor=None, limit=9)
        assert [info.call_id for info in page.items] == ["live"]

    run(scenario())


def test_over_the_bound_the_call_that_ended_first_goes() -> None:
    """A live call is never evicted, even when that means holding one more."""

    async def scenario() -> None:
        store = make_store(max_calls=2)
        await store.open_call(call("a"))
        await store.open_call(call("b"))
        await end(store, "b")
        await store.open_call(call("c"))
        with pytest.raises(CallNotFoundError):
            await store.get_call("b")
        await store.open_call(call("d"))
        assert len((await store.list_calls(CallFilter(), cursor=None, limit=9)).items) == 3

    run(scenario())


def test_over_the_bound_a_calls_oldest_records_go() -> None:
    """What was dropped is counted, and the pages go on from there."""

    async def scenario() -> None:
        store = make_store(max_records_per_call=3)
        await store.open_call(call("a"))
        for index in range(5):
            await store.append(make_record("a", index))
        info = await store.get_call("a")
        assert (info.utterances, info.dropped) == (5, 2)
        page = await store.list_utterances("a", cursor=None, limit=2)
        assert [record.start_s for record in page.items] == [4.0, 6.0]
        page = await store.list_utterances("a", cursor=page.next, limit=2)
        assert [record.start_s for record in page.items] == [8.0]
        assert page.next is None

    run(scenario())


def test_calls_are_filtered_by_line_and_state() -> None:
    """A filter holds for every page."""

    async def scenario() -> None:
        store = make_store(max_calls=9)
        for call_id, line in (("a", "x"), ("b", "y"), ("c", "x"), ("d", "x")):
            await store.open_call(call(call_id, line))
        await end(store, "c")
        page = await store.list_calls(CallFilter(line="x"), cursor=None, limit=2)
        assert [info.call_id for info in page.items] == ["d", "c"]
        page = await store.list_calls(CallFilter(line="x"), cursor=page.next, limit=2)
        assert [info.call_id for info in page.items] == ["a"]
        page = await store.list_calls(CallFilter(state=CallState.ENDED), cursor=None, limit=2)
        assert [info.call_id for info in page.items] == ["c"]

    run(scenario())


@pytest.mark.parametrize("cursor", ["x", "-1", "1.5", "", "²", "9" * 40])
def test_a_foreign_cursor_is_refused(cursor: str) -> None:
    """Only cursors that the store gave are taken."""

    async def scenario() -> None:
        store = make_store()
        await store.open_call(call("a"))
        with pytest.raises(BadCursorError):
            await store.list_calls(CallFilter(), cursor=cursor, limit=1)
        with pytest.raises(BadCursorError):
            await store.list_utterances("a", cursor=cursor, limit=1)

    run(scenario())


def test_erasure_waits_for_the_end_and_leaves_nothing() -> None:
    """A live call cannot be erased; an ended one leaves neither its records nor its id."""

    async def scenario() -> None:
        store = make_store()
        await store.open_call(call("a"))
        await store.append(make_record("a"))
        with pytest.raises(CallActiveError):
            await store.delete_call("a")
        await end(store, "a")
        await store.delete_call("a")
        with pytest.raises(CallNotFoundError):
            await store.get_call("a")
        await store.open_call(call("a"))
        assert (await store.list_utterances("a", cursor=None, limit=9)).items == ()

    run(scenario())


@given(count=st.integers(0, 30), bound=st.integers(1, 12), limit=st.integers(1, 7))
@settings(deadline=None)
def test_pages_of_records_are_the_whole_list(count: int, bound: int, limit: int) -> None:
    """Following the cursor gives every held record once, in order."""

    async def scenario() -> list[float]:
        store = make_store(max_records_per_call=bound)
        await store.open_call(call("a"))
        for index in range(count):
            await store.append(make_record("a", index))
        seen: list[float] = []
        cursor: str | None = None
        while True:
            page = await store.list_utterances("a", cursor=cursor, limit=limit)
            seen += [record.start_s for record in page.items]
            cursor = page.next
            if cursor is None:
                return seen

    assert run(scenario()) == [2.0 * index for index in range(max(0, count - bound), count)]


class StoreMachine(RuleBasedStateMachine):
    """Any sequence of openings, endings, erasures and waits keeps the store within its bounds."""

    def __init__(self) -> None:
        super().__init__()
        self.clock = FakeClock()
        self.store = make_store(self.clock)
        self.live: set[str] = set()

    @rule(call_id=st.sampled_from("abcdef"))
    def open(self, call_id: str) -> None:
        """A call begins, if its id is free."""
        try:
            run(self.store.open_call(call(call_id)))
        except CallExistsError:
            return
        assert call_id not in self.live
        self.live.add(call_id)

    @rule(call_id=st.sampled_from("abcdef"))
    def end(self, call_id: str) -> None:
        """A live call ends."""
        if call_id in self.live:
            run(end(self.store, call_id))
            self.live.discard(call_id)

    @rule(call_id=st.sampled_from("abcdef"))
    def erase(self, call_id: str) -> None:
        """Erasure succeeds on ended calls only."""
        try:
            run(self.store.delete_call(call_id))
        except CallNotFoundError:
            assert call_id not in self.live
        except CallActiveError:
            assert call_id in self.live

    @rule(seconds=st.floats(0, 100))
    def wait(self, seconds: float) -> None:
        """Time passes."""
        self.clock.advance(seconds)

    @invariant()
    def bounded(self) -> None:
        """Every live call is held; beyond them at most the bound."""
        page = run(self.store.list_calls(CallFilter(), cursor=None, limit=100))
        held = {info.call_id for info in page.items}
        assert held >= self.live
        assert len(held) <= max(3, len(self.live))
        assert len(held) == len(page.items)


StoreMachine.TestCase.settings = settings(max_examples=30, stateful_step_count=20, deadline=None)
test_store_machine = StoreMachine.TestCase
