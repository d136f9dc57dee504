"""A store that goes away costs nothing: what it could not take is carried out once, in order, when it is back."""

from __future__ import annotations

import asyncio
import errno
import os
import shutil
import tempfile
from collections.abc import Coroutine
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import Any

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, rule

from app.results.durable import DurableOptions
from app.results.spool import SpoolError
from app.results.spool_files import Fsync, Lost, SpoolOptions
from app.results.store import (
    CallActiveError,
    CallExistsError,
    CallFilter,
    CallNotFoundError,
    CallState,
    NotResumableError,
    StoreAwayError,
    Stored,
)
from app.results.store_metrics import StoreState
from app.results.writes import AddFeedEntry, AddMetadata, Enqueue, EraseCall
from tests.support.disks import WatchedDisk, bytes_below
from tests.support.durable import TENANT, Bench, ask, closing, opening, record, refusals
from tests.support.flaky import Mood
from tests.support.server import eventually
from tests.support.spools import SMALL, T, run


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    """A bench."""
    return Bench(tmp_path / "spool")


def test_while_the_store_is_up_nothing_touches_the_disk(bench: Bench) -> None:
    """Changes and reads go to the store itself, and its answers come back."""

    async def scenario() -> None:
        async with bench.store() as store:
            answers = await ask(store, opening(), record(1))
            assert answers == [Stored(position=1), Stored(position=2)]
            assert await store.write([]) == []
            assert await refusals(store, opening(owner="other"), record(1, "b")) == [
                CallExistsError,
                CallNotFoundError,
            ]
            assert (await store.get_call(TENANT, "a")).utterances == 1
            await store.ping()
            assert (store.state, store.waiting, store.waiting_bytes) == (StoreState.OK, 0, 0)
            assert store.oldest_age_s is None
            assert await store.recover()
            assert b"Jane" not in bytes_below(bench.base)
        assert bench.inner.closed
        with pytest.raises(StoreAwayError):
            await store.write([record(2)])

    run(scenario())


@pytest.mark.parametrize("mood", [Mood.BEFORE, Mood.AFTER, Mood.HALF])
def test_what_the_store_cannot_take_waits_and_is_carried_out_once(bench: Bench, mood: Mood) -> None:
    """Whatever was done of an unanswered write, every change is there once and in order afterwards."""

    async def scenario() -> None:
        async with bench.store() as store:
            await ask(store, opening(), record(1))
            bench.inner.mood = mood
            assert await ask(store, record(2), record(3)) == [Stored(durable=True, waiting=True)] * 2
            asked = bench.inner.calls
            await ask(store, record(4), AddMetadata(TENANT, "a", {"x": 1}), closing())
            assert bench.inner.calls == asked
            bench.clock.advance(7)
            assert (store.state, store.waiting, store.oldest_age_s) == (StoreState.AWAY, 5, 7.0)
            assert not await store.recover()
            bench.inner.mood = Mood.UP
            assert await store.recover()
            assert (store.state, store.waiting) == (StoreState.OK, 0)
            await ask(store, opening("b"))
        assert await bench.feed() == [
            ("call_started", "a", None),
            *(("utterance", "a", seq) for seq in (1, 2, 3, 4)),
            ("call_ended", "a", None),
            ("call_started", "b", None),
        ]
        call = await bench.inner.memory.get_call(TENANT, "a")
        assert (call.metadata["x"], call.state, call.dropped) == (1, CallState.ENDED, 0)
        assert bench.counts.states == [
            StoreState.AWAY,
            StoreState.REPLAYING,
            StoreState.OK,
        ]
        assert (bench.counts.spooled, bench.counts.done, bench.counts.entries) == (5, 5, 0)
        assert not bench.counts.refusals

    run(scenario())


def test_reads_are_refused_while_the_store_is_away(bench: Bench) -> None:
    """Every read raises, without asking the store."""

    async def scenario() -> None:
        async with bench.store() as store:
            bench.inner.mood = Mood.BEFORE
            await ask(store, opening())
            asked = bench.inner.calls
            reads = [
                store.list_calls(TENANT, CallFilter(), cursor=None, limit=1),
                store.get_call(TENANT, "a"),
                store.list_records(TENANT, "a", from_seq=1, limit=1),
                store.resume_call(TENANT, "a", secret_digest="x", owner="me", now=0.0),
                store.calls_of_subject(TENANT, "s"),
                store.read_feed(TENANT, after=0, limit=1),
                store.version(TENANT),
                store.stats(TENANT, since=0.0, until=1.0),
                store.tenants(),
                store.heartbeat("me", 1.0),
                store.orphans(TENANT),
                store.ping(),
            ]
            for read in reads:
                with pytest.raises(StoreAwayError):
                    await read
            assert bench.inner.calls == asked
            bench.inner.mood = Mood.UP
            assert await store.recover()
            assert await store.tenants() == (TENANT,)
            assert await store.calls_of_subject(TENANT, "s") == ()
            assert (await store.list_calls(TENANT, CallFilter(), cursor=None, limit=1)).items
            assert not (await store.list_records(TENANT, "a", from_seq=1, limit=1)).items
            assert (await store.read_feed(TENANT, after=0, limit=1)).last == 1
            assert await store.version(TENANT) > 0
            assert await store.stats(TENANT, since=0.0, until=1.0) == []
            assert len(await store.orphans(TENANT)) == 1
            await store.heartbeat("me", 60.0)
            assert not await store.orphans(TENANT)

    run(scenario())


def test_a_call_that_is_known_here_is_refused_while_away(bench: Bench) -> None:
    """Live, ended and waiting calls keep their ids; the same opening twice is one; a live call is not erased."""

    async def scenario() -> None:
        async with bench.store() as store:
            await ask(store, opening("live"), opening("ended"), closing("ended"))
            bench.inner.mood = Mood.BEFORE
            await ask(store, opening("new"))
            assert (
                await refusals(
                    store,
                    opening("live", started_at=2.0),
                    opening("ended", started_at=2.0),
                    opening("new", owner="other"),
                    EraseCall(TENANT, "live"),
                    EraseCall(TENANT, "new"),
                )
                == [CallExistsError] * 3 + [CallActiveError] * 2
            )
            assert await ask(store, opening("new"), opening("live")) == [
                Stored(duplicate=True, waiting=True),
                Stored(duplicate=True, waiting=False),
            ]
            assert store.waiting == 1

    run(scenario())


def test_an_erased_call_leaves_the_disk_at_once_and_the_store_later(bench: Bench) -> None:
    """Nothing it held is on disk any more, while other calls wait on; when the store is back, it goes there too."""

    async def scenario() -> None:
        async with bench.store() as store:
            await ask(store, opening(), record(1), opening("b"))
            bench.inner.mood = Mood.BEFORE
            await ask(
                store, record(2), record(1, "b"), Enqueue(TENANT, "q", "k", {"n": "Jane Roe"}, 0.0, "a")
            )
            await ask(store, AddFeedEntry(TENANT, "alert", "a", "k", {"n": "Jane Roe"}), closing())
            await ask(store, AddMetadata("other", "a", {"name": "John Doe"}))
            assert bytes_below(bench.base).count(b"Jane Roe") > 3
            assert await ask(store, EraseCall(TENANT, "a")) == [Stored(durable=True, waiting=True)]
            left = bytes_below(bench.base)
            assert left.count(b"Jane Roe") == 1  # of the other call's record
            assert b"John Doe" in left
            assert await refusals(store, opening(started_at=2.0)) == [CallExistsError]
            bench.inner.mood = Mood.UP
            assert await store.recover()
            with pytest.raises(CallNotFoundError):
                await store.get_call(TENANT, "a")
            assert await bench.seqs("b") == [1]
            assert {kind for kind, call, _ in await bench.feed() if call == "a"} == {"call_erased"}
            assert await ask(store, opening(started_at=2.0)) != []

    run(scenario())


def test_an_erasure_survives_what_it_finds(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """What cannot be read but names the call goes too; a disk that refuses is an error, and the erasure waits."""

    async def scenario() -> None:
        async with bench.store() as store:
            bench.inner.mood = Mood.BEFORE
            await ask(store, record(1))
            with monkeypatch.context() as patch:
                patch.setattr("app.results.codec.VERSION", 2)
                await ask(store, record(2))
            with monkeypatch.context() as patch:
                patch.setattr(Path, "replace", _refuse)
                assert await refusals(store, EraseCall(TENANT, "a")) == [SpoolError]
            assert store.waiting == 3
            await ask(store, EraseCall(TENANT, "a"))
            assert store.waiting == 2
            assert b"Jane" not in bytes_below(bench.base)

    run(scenario())


def _refuse(*_: Any) -> Any:
    raise OSError(errno.EIO, "Input/output error")


def test_neither_store_nor_disk(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where nothing takes a change, the answer is a typed error, the loss is counted, and life goes on."""

    async def scenario() -> None:
        async with bench.store() as store:
            await ask(store, opening())
            bench.inner.mood = Mood.BEFORE
            with monkeypatch.context() as patch:
                patch.setattr(os, "write", _refuse)
                assert await refusals(store, record(1), record(2)) == [StoreAwayError] * 2
            assert bench.losses.entries(Lost.DISK) == 2
            bench.inner.mood = Mood.UP
            assert await store.recover()
            await ask(store, record(3))
            assert (await store.get_call(TENANT, "a")).dropped == 2

    run(scenario())


def test_a_full_spool_refuses_the_oldest(bench: Bench) -> None:
    """What was refused is counted; an erasure is not refused; the rest is carried out."""

    async def scenario() -> None:
        options = SpoolOptions(max_bytes=40_000, segment_bytes=4_000, fsync=Fsync.NEVER)
        async with bench.store(spool=options) as store:
            await ask(store, opening(), opening("old"), closing("old"))
            bench.inner.mood = Mood.BEFORE
            await ask(store, EraseCall(TENANT, "old"))
            for seq in range(1, 101):
                assert await ask(store, record(seq)) == [Stored(durable=False, waiting=True)]
            bench.inner.mood = Mood.UP
            assert await store.recover()
            with pytest.raises(CallNotFoundError):
                await store.get_call(TENANT, "old")
            held = await bench.seqs()
            assert held == list(range(101 - len(held), 101))
            assert bench.losses.entries(Lost.FULL) == 100 - len(held) > 0

    run(scenario())


def test_a_store_that_hangs_delays_a_write_no_longer_than_was_said(bench: Bench) -> None:
    """After the time-out the change waits on disk; those behind it are not delayed again."""

    async def scenario() -> None:
        async with bench.store(DurableOptions(timeout_s=0.05)) as store:
            bench.inner.mood = Mood.HANGS
            writes = [ask(store, opening(f"{n}")) for n in range(20)]
            answers = await asyncio.gather(*writes)
            assert answers == [[Stored(durable=True, waiting=True)]] * 20
            assert bench.inner.calls == 1
            bench.inner.mood = Mood.UP
            bench.inner.moods = [Mood.HANGS]
            assert not await store.recover()
            bench.inner.moods = []
        async with bench.store() as store:
            assert await store.recover()
            assert len(await bench.feed()) == 20

    run(scenario())


def test_it_comes_back_by_itself(bench: Bench) -> None:
    """`run` keeps trying, carries everything out when the store answers, and takes over what a dead process left."""

    async def scenario() -> None:
        other = Bench(bench.base)
        other.inner.mood = Mood.BEFORE
        options = DurableOptions(60.0, retry_min_s=0.001, retry_max_s=0.004, adopt_every_s=0.01)
        async with bench.store(options) as store:
            task = asyncio.create_task(store.run())
            bench.inner.mood = Mood.BEFORE
            for seq in range(1, 200):
                await ask(store, opening() if seq == 1 else record(seq - 1))
            await asyncio.to_thread(
                eventually, lambda: bench.counts.states.count(StoreState.AWAY) > 0 or None
            )
            asked = bench.inner.calls
            await asyncio.to_thread(eventually, lambda: bench.inner.calls > asked + 5 or None)
            bench.inner.mood = Mood.UP
            await asyncio.to_thread(eventually, lambda: store.state is StoreState.OK or None)
            assert await bench.seqs() == list(range(1, 199))
            async with other.store() as dying:
                await ask(dying, opening("left", owner="other"), record(1, "left"))
            await asyncio.to_thread(eventually, lambda: bench.counts.done == 201 or None)
            assert await bench.seqs("left") == [1]
            task.cancel()
            await asyncio.wait((task,))

    run(scenario())


def test_nothing_is_overtaken_while_the_store_comes_and_goes(bench: Bench) -> None:
    """Many callers write without pause while the store flaps: every call has all its records, in order, once."""

    async def scenario() -> None:
        options = DurableOptions(60.0, retry_min_s=0.001, retry_max_s=0.002, batch=5)
        async with bench.store(options, SpoolOptions(fsync=Fsync.NEVER)) as store:
            moods = [Mood.UP] * 6 + [Mood.AFTER, Mood.UP, Mood.HALF, Mood.UP, Mood.UP, Mood.BEFORE]

            def turn() -> None:
                bench.inner.moods = [moods[bench.inner.calls % len(moods)]]

            bench.inner.turn = turn
            task = asyncio.create_task(store.run())

            async def call(call_id: str) -> None:
                await ask(store, opening(call_id))
                for seq in range(1, 41):
                    await ask(store, record(seq, call_id))
                await ask(store, closing(call_id))

            await asyncio.gather(*(call(f"{n}") for n in range(8)))
            bench.inner.turn = lambda: None
            bench.inner.moods = []
            await asyncio.to_thread(eventually, lambda: store.state is StoreState.OK or None)
            for n in range(8):
                told = [(kind, seq) for kind, call_id, seq in await bench.feed() if call_id == f"{n}"]
                records = [("utterance", seq) for seq in range(1, 41)]
                assert told == [("call_started", None), *records, ("call_ended", None)]
            assert bench.counts.states.count(StoreState.AWAY) > 3
            assert not bench.counts.refusals
            task.cancel()
            await asyncio.wait((task,))

    run(scenario())


def test_a_call_is_taken_up_again_only_when_nothing_waits(bench: Bench) -> None:
    """A resumed call is known as live here; while something waits, nobody can resume."""

    async def scenario() -> None:
        async with bench.store() as store:
            await ask(store, opening(), record(1), closing(resume_until=50.0))
            bench.inner.mood = Mood.BEFORE
            await ask(store, opening("b"))
            with pytest.raises(StoreAwayError):
                await store.resume_call(TENANT, "a", secret_digest="digest", owner="me", now=10.0)
            bench.inner.mood = Mood.UP
            assert await store.recover()
            with pytest.raises(NotResumableError):
                await store.resume_call(TENANT, "a", secret_digest="wrong", owner="me", now=10.0)
            call = await store.resume_call(TENANT, "a", secret_digest="digest", owner="me", now=10.0)
            assert call.state is CallState.ACTIVE
            bench.inner.forget()
            await ask(store, record(2))
            assert await bench.seqs() == [2]

    run(scenario())


def test_what_is_not_json_is_refused_alone(bench: Bench) -> None:
    """A change that cannot wait on disk is an error; the others wait."""

    async def scenario() -> None:
        async with bench.store(spool=SMALL) as store:
            bench.inner.mood = Mood.BEFORE
            answers = await store.write([opening(), AddMetadata(TENANT, "a", {"x": {1}}), closing()])
            assert [isinstance(answer, Stored) for answer in answers] == [True, False, True]

    run(scenario())


@dataclass
class Told:
    """What a client was told of a call. seq: of its last record. x: metadata. live: its process works it."""

    owner: str
    seq: int = 0
    x: int | None = None
    live: bool = True
    ended: bool = False
    erased: bool = False


class DurableMachine(RuleBasedStateMachine):
    """A service whose store comes and goes and whose machine loses power, beside what its clients were told."""

    def __init__(self) -> None:
        super().__init__()
        self.loop = asyncio.new_event_loop()
        self.disk = WatchedDisk()
        self.disk.__enter__()
        self.root = Path(tempfile.mkdtemp())
        self.numbers = count()
        self.bench = Bench(self.root / "first")
        self.calls: dict[str, Told] = {}
        self.start()

    def do(self, work: Coroutine[Any, Any, T]) -> T:
        """Runs something."""
        return self.loop.run_until_complete(work)

    def start(self) -> None:
        """A new process."""
        self.owner = f"owner {next(self.numbers)}"
        self.context = self.bench.store(DurableOptions(timeout_s=60.0, batch=3))
        self.store = self.do(self.context.__aenter__())
        for call in self.calls.values():
            call.live = False

    def some(self, index: int) -> tuple[str, Told] | None:
        """One of the live calls."""
        live = [(call_id, call) for call_id, call in self.calls.items() if call.live]
        return live[index % len(live)] if live else None

    @rule(moods=st.lists(st.sampled_from([Mood.UP, Mood.BEFORE, Mood.AFTER, Mood.HALF]), max_size=3))
    def line(self, moods: list[Mood]) -> None:
        """The next writes go well or not."""
        self.bench.inner.moods = moods

    @rule(mood=st.sampled_from([Mood.UP, Mood.UP, Mood.BEFORE, Mood.AFTER]))
    def weather(self, mood: Mood) -> None:
        """The store goes or comes."""
        self.bench.inner.mood = mood

    @rule()
    def open(self) -> None:
        """A call begins."""
        call_id = f"call {next(self.numbers)}"
        self.do(ask(self.store, opening(call_id, self.owner)))
        self.calls[call_id] = Told(self.owner)

    @rule(index=st.integers(0, 9), records=st.integers(1, 4))
    def speak(self, index: int, records: int) -> None:
        """Utterances of a call, at once."""
        found = self.some(index)
        if found is not None:
            call_id, call = found
            seqs = range(call.seq + 1, call.seq + records + 1)
            self.do(ask(self.store, *(record(seq, call_id, call.owner) for seq in seqs)))
            call.seq += records

    @rule(index=st.integers(0, 9))
    def annotate(self, index: int) -> None:
        """Metadata of a call."""
        found = self.some(index)
        if found is not None:
            found[1].x = next(self.numbers)
            self.do(ask(self.store, AddMetadata(TENANT, found[0], {"x": found[1].x})))

    @rule(index=st.integers(0, 9))
    def end(self, index: int) -> None:
        """A call ends."""
        found = self.some(index)
        if found is not None:
            self.do(ask(self.store, closing(found[0])))
            found[1].live, found[1].ended = False, True

    @rule(index=st.integers(0, 9))
    def erase(self, index: int) -> None:
        """A call that has ended is erased."""
        ended = [call_id for call_id, call in self.calls.items() if call.ended]
        if ended:
            call_id = ended[index % len(ended)]
            self.do(ask(self.store, EraseCall(TENANT, call_id)))
            self.calls[call_id].erased = True
            assert f"{call_id}.customer".encode() not in bytes_below(self.bench.base)

    @rule()
    def recover(self) -> None:
        """The process tries to reach the store."""
        if self.do(self.store.recover()):
            assert self.store.waiting == 0
            self.do(self.check())

    @rule(torn=st.integers(0, 300))
    def lose_power(self, torn: int) -> None:
        """The machine goes down; what the disk has is what the next process finds."""
        target = self.root / str(next(self.numbers))
        self.disk.after_power_loss(self.bench.base, target, torn)
        self.do(self.context.__aexit__(None, None, None))
        self.bench.base = target
        self.start()

    @rule()
    def restart(self) -> None:
        """The process ends as it should, and another begins."""
        self.do(self.context.__aexit__(None, None, None))
        self.start()

    async def check(self) -> None:
        """The store behind holds what clients were told, and nothing twice."""
        told: dict[str, list[tuple[str, int | None]]] = {call_id: [] for call_id in self.calls}
        for kind, call_id, seq in await self.bench.feed():
            told[call_id].append((kind, seq))
        for call_id, call in self.calls.items():
            if call.erased:
                assert {kind for kind, _ in told[call_id]} <= {"call_erased"}
                continue
            records = [("utterance", seq) for seq in range(1, call.seq + 1)]
            ends = [("call_ended", None)] if call.ended else []
            assert told[call_id] == [("call_started", None), *records, *ends]
            assert await self.bench.seqs(call_id) == list(range(1, call.seq + 1))
            info = await self.bench.inner.memory.get_call(TENANT, call_id)
            assert (info.metadata.get("x"), info.state is CallState.ENDED) == (call.x, call.ended)
        assert not self.bench.counts.refusals
        assert not self.bench.losses.told

    def teardown(self) -> None:
        """Whatever happened, it all comes to rest in the end."""
        self.bench.inner.mood, self.bench.inner.moods = Mood.UP, []
        assert self.do(self.store.recover())
        self.do(self.check())
        self.do(self.context.__aexit__(None, None, None))
        self.disk.__exit__(None, None, None)
        self.loop.close()
        shutil.rmtree(self.root)


class TestDurableMachine(DurableMachine.TestCase):  # type: ignore[misc, valid-type]
    """Whatever happens in whatever order, the store ends up with what clients were told, once."""

    settings = settings(max_examples=50, stateful_step_count=25, deadline=None)
