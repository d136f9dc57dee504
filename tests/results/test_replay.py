"""What waited is carried out as it was meant, or refused and counted; what the store forgot is mended."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest

from app.domain import Leg
from app.results.replay import groups
from app.results.spool_files import Entry
from app.results.store import (
    CallExistsError,
    CallNotFoundError,
    CallState,
    StoreAwayError,
    Stored,
    StoreError,
)
from app.results.store_metrics import Refused, StoreState
from app.results.writes import AddFeedEntry, AddMetadata, Enqueue, EraseCall, Write
from tests.support.durable import TENANT, Bench, ask, closing, opening, record, refusals
from tests.support.flaky import Mood
from tests.support.spools import run


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    """A bench."""
    return Bench(tmp_path / "spool")


def test_an_id_that_turns_out_to_be_taken_stays_with_its_owner(bench: Bench) -> None:
    """Nothing of the call that was wrongly accepted reaches the other one; its changes are refused from then on."""

    async def scenario() -> None:
        await bench.inner.memory.write([opening(owner="other"), record(1, owner="other")])
        async with bench.store() as store:
            bench.inner.mood = Mood.BEFORE
            await ask(store, opening(), record(1), record(2), AddMetadata(TENANT, "a", {"x": 1}))
            await ask(store, opening("b"), record(1, "b"))
            bench.inner.mood = Mood.UP
            assert await store.recover()
            assert bench.counts.refusals == {Refused.EXISTS: 4}
            assert await refusals(store, record(3), closing()) == [CallExistsError] * 2
            assert await bench.seqs("a") == [1]
            assert await bench.seqs("b") == [1]
            assert "x" not in (await bench.inner.memory.get_call(TENANT, "a")).metadata
            await ask(store, record(2, "b"), record(2, owner="other"))

    run(scenario())


def test_a_store_that_forgot_learns_of_live_calls_again(bench: Bench) -> None:
    """A call that this process works is opened again, with what is known of it, up or away."""

    async def scenario() -> None:
        async with bench.store() as store:
            await ask(store, opening(), record(1), AddMetadata(TENANT, "a", {"x": 1}))
            bench.inner.forget()
            await ask(store, record(2), record(3))
            assert await bench.seqs() == [2, 3]
            call = await store.get_call(TENANT, "a")
            assert (call.dropped, dict(call.metadata)) == (1, {"name": "Jane Roe", "x": 1})
            bench.inner.mood = Mood.BEFORE
            await ask(store, record(4), closing())
            bench.inner.forget()
            bench.inner.mood = Mood.UP
            assert await store.recover()
            assert await bench.seqs() == [4]
            assert (await store.get_call(TENANT, "a")).state is CallState.ENDED
            assert await refusals(store, AddMetadata(TENANT, "a", {}), record(1, "b")) == [
                None,
                CallNotFoundError,
            ]

    run(scenario())


def test_a_store_that_goes_away_while_it_learns(bench: Bench) -> None:
    """When mending a forgotten call fails, its changes wait."""

    async def scenario() -> None:
        async with bench.store() as store:
            await ask(store, opening(), record(1))
            bench.inner.forget()
            bench.inner.moods = [Mood.UP, Mood.AFTER]
            assert (await ask(store, record(2), Enqueue(TENANT, "q", "k", {}, 0.0)))[0].waiting
            assert store.waiting == 1
            assert await store.recover()
            assert await bench.seqs() == [2]

    run(scenario())


def test_what_a_dead_process_left_opens_its_call_again(bench: Bench) -> None:
    """Records without their opening make a call of their own; an end or metadata alone are refused and counted."""

    async def scenario() -> None:
        async with bench.store() as store:
            await ask(store, opening())
            bench.inner.mood = Mood.BEFORE
            await ask(store, record(1), closing("c"), AddMetadata(TENANT, "b", {"x": 1}))
        bench.inner.mood = Mood.UP
        bench.inner.forget()
        async with bench.store() as store:
            assert store.state is StoreState.AWAY
            assert await refusals(store, opening(owner="next")) == [CallExistsError]
            assert await store.recover()
            call = await store.get_call(TENANT, "a")
            assert (call.owner, call.legs, call.line) == ("me", (Leg.CUSTOMER,), "default")
            assert bench.counts.refusals == {Refused.UNKNOWN: 2}
            assert await refusals(store, opening("c")) == [None]

    run(scenario())


def test_a_restart_in_the_middle_goes_on(bench: Bench) -> None:
    """The next process carries out what waits before anything new, and knows the calls it learns of."""

    async def scenario() -> None:
        async with bench.store() as store:
            bench.inner.mood = Mood.BEFORE
            await ask(store, opening(), record(1), record(2))
        async with bench.store() as store:
            await ask(store, record(3))
            bench.inner.mood = Mood.UP
            bench.inner.moods = [Mood.UP, Mood.AFTER]
            assert not await store.recover()
            bench.inner.forget()
            assert await store.recover()
            assert await bench.seqs() == [1, 2, 3]
        assert [kind for kind, _, _ in await bench.feed()] == ["call_started", *["utterance"] * 3]

    run(scenario())


def test_nothing_brings_an_erased_call_back(bench: Bench) -> None:
    """Records of a call that somebody erased meanwhile are refused and counted, whoever left them."""

    async def scenario() -> None:
        memory = bench.inner.memory
        async with bench.store() as store:
            await ask(store, opening(), record(1), opening("b"))
            bench.inner.mood = Mood.BEFORE
            await ask(store, record(2), record(3), closing(), record(1, "b"))
        await memory.write([closing(), EraseCall(TENANT, "a")])
        bench.inner.mood = Mood.UP
        async with bench.store() as store:
            assert await store.recover()
            assert bench.counts.refusals == {Refused.ERASED: 3}
            with pytest.raises(CallNotFoundError):
                await store.get_call(TENANT, "a")
            assert await bench.seqs("b") == [1]
            bench.inner.forget()
            bench.inner.mood = Mood.BEFORE
            await ask(store, record(9, "c"))
            bench.inner.mood = Mood.UP
            assert await store.recover()
            assert await bench.seqs("c") == [9]

    run(scenario())


def test_an_id_that_is_taken_when_it_is_mended(bench: Bench) -> None:
    """A forgotten call whose id somebody else has by then is refused."""

    async def scenario() -> None:
        async with bench.store() as store:
            await ask(store, opening())
            bench.inner.forget()
            other = opening(owner="other")

            def take() -> None:
                bench.inner.turn = lambda: None
                bench.inner.memory._open(other)

            bench.inner.turn = lambda: setattr(bench.inner, "turn", take)
            assert await refusals(store, record(1)) == [CallExistsError]

    run(scenario())


def test_what_breaks_the_store_does_not_hold_up_the_rest(bench: Bench) -> None:
    """A change that makes the store raise something unexpected is refused alone, up or waiting."""

    async def scenario() -> None:
        async with bench.store() as store:
            broken = record(1)
            object.__setattr__(broken.record, "seq", None)
            assert (await refusals(store, opening(), broken, record(1)))[::2] == [None, None]
            bench.inner.mood = Mood.BEFORE
            await ask(store, broken, record(2), EraseCall(TENANT, "b"), EraseCall(TENANT, "b"))
            bench.inner.mood = Mood.UP
            assert await store.recover()
            assert await bench.seqs() == [1, 2]
            assert bench.counts.refusals == {Refused.REJECTED: 1}

    run(scenario())


def test_what_cannot_be_read_is_counted(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """A change of another version is passed over."""

    async def scenario() -> None:
        async with bench.store() as store:
            bench.inner.mood = Mood.BEFORE
            await ask(store, opening())
            with monkeypatch.context() as patch:
                patch.setattr("app.results.codec.VERSION", 2)
                await ask(store, record(1))
            await ask(store, record(2))
            bench.inner.mood = Mood.UP
            assert await store.recover()
            assert bench.counts.refusals == {Refused.UNREADABLE: 1}
            assert await bench.seqs() == [2]

    run(scenario())


def test_a_replay_that_breaks_is_tried_again(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever goes wrong, the state is away and the next attempt begins anew."""

    async def scenario() -> None:
        async with bench.store() as store:
            bench.inner.mood = Mood.BEFORE
            await ask(store, opening())
            bench.inner.mood = Mood.UP
            with monkeypatch.context() as patch:
                patch.setattr("app.results.replay.groups", None)
                assert not await store.recover()
            assert store.state is StoreState.AWAY
            assert await store.recover()

    run(scenario())


def test_what_follows_an_opening_or_an_erasure_waits_for_it() -> None:
    """Changes are asked for together up to one that depends on how an earlier one went."""
    writes: list[Write] = [
        opening(),
        opening("b"),
        Enqueue(TENANT, "q", "k", {}, 0.0),
        record(1),
        record(2),
        AddFeedEntry(TENANT, "alert", "b", "k", {}),
        EraseCall(TENANT, "a"),
        record(1, "b"),
        opening(),
    ]
    found = groups((Entry("s", n, b""), write) for n, write in enumerate(writes))
    assert [[entry.number for entry, _ in group] for group in found] == [[0, 1, 2], [3, 4, 5, 6, 7], [8]]
    assert list(groups([])) == []


def test_a_change_answered_as_unknown_alone_waits_alone(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where the store says of one change that its outcome is unknown, that one waits; waiting ones stay on disk."""

    async def scenario() -> None:
        async with bench.store() as store:
            await ask(store, opening(), opening("b"))
            write = bench.inner.write

            async def unsure(writes: Sequence[Write]) -> list[Stored | StoreError]:
                return [*(await write(writes[:-1])), StoreAwayError("who knows")]

            with monkeypatch.context() as patch:
                patch.setattr(bench.inner, "write", unsure)
                answers = await ask(store, record(1), record(1, "b"))
                assert [answer.waiting for answer in answers] == [False, True]
                assert not await store.recover()
                assert store.waiting == 1
            assert await store.recover()
            assert (await bench.seqs(), await bench.seqs("b")) == ([1], [1])
            bench.inner.forget()
            with monkeypatch.context() as patch:
                patch.setattr(bench.inner, "ping", _break)
                bench.inner.mood = Mood.BEFORE
                await ask(store, record(2))
                bench.inner.mood = Mood.UP
                assert not await store.recover()
            bench.inner.moods = [Mood.UP]
            assert await store.recover()
            assert await bench.seqs() == [2]

    run(scenario())


async def _break() -> None:
    raise ValueError("broken")
