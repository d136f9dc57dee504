"""The memory store keeps what it is told, within its bounds, and erases without a trace.

What every store must do is in `tests/results/conformance.py`; here are the bounds of this one.
"""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from dataclasses import replace
from typing import Any, TypeVar

from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from app.domain import Leg
from app.results.memory import MemoryBounds, MemoryStore, MemoryStores
from app.results.store import (
    CallActiveError,
    CallExistsError,
    CallFilter,
    CallInfo,
    CallNotFoundError,
    CallState,
    StoreError,
)
from app.results.writes import AppendRecord, CloseCall, EraseCall, OpenCall, Write
from tests.support.clock import FakeClock
from tests.support.records import make_record

T = TypeVar("T")
TENANT = "default"
TTL_S = 60.0


def run(work: Coroutine[Any, Any, T]) -> T:
    """Runs a coroutine of a store that never waits."""
    return asyncio.run(work)


def make_store(clock: FakeClock | None = None, **bounds: Any) -> MemoryStore:
    """A small store."""
    bounds = {"max_calls": 3, "max_records_per_call": 4} | bounds
    return MemoryStores(clock or FakeClock(), MemoryBounds(**bounds)).results


def opening(call_id: str, **fields: Any) -> OpenCall:
    """A live call begins."""
    call = CallInfo(call_id, "default", (Leg.CUSTOMER,), 1.0, owner="me")
    return OpenCall(replace(call, **fields), {"call_id": call_id})


def closing(call_id: str, ttl_s: float = TTL_S) -> CloseCall:
    """A call ends."""
    return CloseCall(TENANT, call_id, "completed", 2.0, {"duration_s": 1.0}, {}, ttl_s)


def appending(call_id: str, index: int) -> AppendRecord:
    """The record with number `index`, from 1."""
    record = make_record(call_id, index)
    return AppendRecord(TENANT, replace(record, seq=index, created_at=1_700_000_000.0))


def do(store: MemoryStore, *writes: Write) -> None:
    """Carries out changes; the first that is refused is raised."""
    for answer in run(store.write(writes)):
        if isinstance(answer, StoreError):
            raise answer


def held(store: MemoryStore) -> list[str]:
    """Ids of the calls that are held, latest first."""
    page = run(store.list_calls(TENANT, CallFilter(), cursor=None, limit=100))
    return [info.call_id for info in page.items]


def test_ended_calls_expire_and_live_ones_do_not() -> None:
    """Time to live counts from the end of the call."""
    clock = FakeClock()
    store = make_store(clock)
    do(store, opening("live"), opening("first"), opening("second"), closing("first"))
    clock.advance(30)
    do(store, closing("second"))
    clock.advance(30)
    assert held(store) == ["second", "live"]
    clock.advance(10_000)
    assert held(store) == ["live"]


def test_over_the_bound_the_call_that_ended_first_goes() -> None:
    """A live call is never evicted, even when that means holding one more."""
    store = make_store(max_calls=2)
    do(store, opening("a"), opening("b"), closing("b"), opening("c"))
    assert held(store) == ["c", "a"]
    do(store, opening("d"))
    assert held(store) == ["d", "c", "a"]


def test_one_tenants_flood_takes_nothing_from_another() -> None:
    """The bounds are each tenant's own."""
    store = make_store(max_calls=1)
    do(store, opening("a"), closing("a"))
    for number in range(5):
        do(store, opening(f"b{number}", tenant="other"))
    assert held(store) == ["a"]


def test_over_the_bound_a_calls_oldest_records_go() -> None:
    """What was dropped is counted, and the rest is named by its numbers."""
    store = make_store(max_records_per_call=3)
    do(store, opening("a"), *(appending("a", index) for index in range(1, 6)))
    info = run(store.get_call(TENANT, "a"))
    assert (info.utterances, info.dropped) == (5, 2)
    found = run(store.list_records(TENANT, "a", from_seq=1, limit=2))
    assert ([record.seq for record in found.items], found.first_seq, found.last_seq) == ([3, 4], 3, 5)


@given(count=st.integers(0, 30), bound=st.integers(1, 12), limit=st.integers(1, 7))
@settings(deadline=None)
def test_pages_of_records_are_the_whole_list(count: int, bound: int, limit: int) -> None:
    """Going on after the last number gives every held record once, in order."""
    store = make_store(max_records_per_call=bound)
    do(store, opening("a"), *(appending("a", index) for index in range(1, count + 1)))
    seen: list[int] = []
    while True:
        found = run(store.list_records(TENANT, "a", from_seq=(seen or [0])[-1] + 1, limit=limit))
        seen += [record.seq or 0 for record in found.items]
        if not found.items:
            break
    assert seen == list(range(max(0, count - bound) + 1, count + 1))


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
            do(self.store, opening(call_id, owner=""))
        except CallExistsError:
            return
        assert call_id not in self.live
        self.live.add(call_id)

    @rule(call_id=st.sampled_from("abcdef"))
    def end(self, call_id: str) -> None:
        """A live call ends."""
        if call_id in self.live:
            do(self.store, closing(call_id))
            self.live.discard(call_id)

    @rule(call_id=st.sampled_from("abcdef"))
    def erase(self, call_id: str) -> None:
        """Erasure succeeds on ended calls only, and leaves nothing."""
        try:
            do(self.store, EraseCall(TENANT, call_id))
        except CallActiveError:
            assert call_id in self.live
            return
        assert call_id not in self.live
        assert call_id not in held(self.store)

    @rule(seconds=st.floats(0, 100))
    def wait(self, seconds: float) -> None:
        """Time passes."""
        self.clock.advance(seconds)

    @invariant()
    def bounded(self) -> None:
        """Every live call is held; beyond them at most the bound."""
        found = held(self.store)
        assert set(found) >= self.live
        assert len(found) <= max(3, len(self.live))
        assert len(found) == len(set(found))


StoreMachine.TestCase.settings = settings(max_examples=30, stateful_step_count=20, deadline=None)
test_store_machine = StoreMachine.TestCase


def test_the_end_is_kept_with_the_call() -> None:
    """State, outcome and summary; a second end changes nothing."""
    store = make_store()
    do(store, opening("a"), closing("a"))
    (again,) = run(store.write([replace(closing("a"), outcome="failed")]))
    assert not isinstance(again, StoreError)
    assert again.duplicate
    info = run(store.get_call(TENANT, "a"))
    assert (info.state, info.outcome, info.summary) == (CallState.ENDED, "completed", {"duration_s": 1.0})
    (answer,) = run(store.write([closing("never")]))
    assert isinstance(answer, CallNotFoundError)
