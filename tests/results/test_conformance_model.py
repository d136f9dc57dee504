"""Redis answers whatever is asked of it exactly as memory does, in any order of changes and questions."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule, run_state_machine_as_test

from app.domain import Leg, UtteranceRecord
from app.results.documents import Job
from app.results.memory import MemoryBounds, MemoryStores
from app.results.redis import RedisOptions, RedisStores
from app.results.store import CallFilter, CallState, FeedEntry, FeedRange, StatBucket, Stored, StoreError
from app.results.writes import AddMetadata, Enqueue, Write
from tests.results.conformance import FEED, NOW, RECORDS, World, new_tenant
from tests.support.clock import FakeClock
from tests.support.redis import RedisServer

CALLS = st.sampled_from(["a", "b", "c:{}"])
OWNERS = st.sampled_from(["me", "you", ""])
KEYS = st.sampled_from(["k", "l", "é"])
SMALL = st.integers(min_value=0, max_value=12)
JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=3),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text(max_size=3), inner, max_size=2),
    max_leaves=4,
)
OBJECTS = st.dictionaries(st.text(max_size=3), JSON, max_size=3)


def same(value: Any) -> Any:
    """An answer without what two kinds of store may tell differently."""
    match value:
        case StoreError():
            return type(value)
        case Stored() | UtteranceRecord():
            return replace(value, durable=False)
        case FeedEntry(type="call_erased"):
            return (value.position, value.type, value.call_id)
        case FeedEntry(type="utterance"):
            return replace(value, body={**value.body, "durable": False})
        case StatBucket():
            sums = value.sums
            rest = (sums.seconds, sums.confidence, sums.arousal, sums.valence, sums.expected_cost)
            return (value.start, value.key, sums.n, sums.scored, [round(number, 4) + 0.0 for number in rest])
        case FeedRange():
            return (same(value.items), value.first, value.last)
        case list() | tuple():
            return [same(item) for item in value]
    return value


class MemoryAndRedis(RuleBasedStateMachine):
    """Both kinds of store, told and asked the same."""

    server: RedisServer

    def __init__(self) -> None:
        super().__init__()
        self.loop = asyncio.new_event_loop()
        bounds = {"max_records_per_call": RECORDS, "feed_entries": FEED}
        self.memory = MemoryStores(FakeClock(NOW), MemoryBounds(**bounds))
        options = RedisOptions(timeout_s=30.0, max_records_per_call=RECORDS, feed_entries=FEED)
        self.redis = self.loop.run_until_complete(RedisStores.connect(self.server.url, options))
        self.world = World(self.memory, new_tenant(), lambda _: None)
        self.tenant = self.world.tenant
        self.opened = 0
        self.erased = 0
        self.jobs: list[Job] = []
        self.versions = (0, 0)

    def teardown(self) -> None:
        """Asks everything once more, and closes."""
        try:
            self.look(0, 100)
        finally:
            self.loop.run_until_complete(self.redis.close())
            self.loop.close()

    def ask(self, part: str, method: str, *arguments: Any, **options: Any) -> Any:
        """The same of both; the answer of memory, once Redis gave the same."""

        async def answer(stores: Any) -> Any:
            try:
                return await getattr(getattr(stores, part), method)(*arguments, **options)
            except StoreError as error:
                return error

        expected, found = (
            self.loop.run_until_complete(answer(stores)) for stores in (self.memory, self.redis)
        )
        assert same(found) == same(expected), (method, arguments, options)
        return expected

    def write(self, *writes: Write) -> None:
        """The same changes to both."""
        self.ask("results", "write", writes)

    @rule(call_id=CALLS, owner=OWNERS, team=st.sampled_from([None, "t"]), values=OBJECTS)
    def open(self, call_id: str, owner: str, team: str | None, values: dict[str, Any]) -> None:
        """A call begins, each later than the one before."""
        self.opened += 1
        fields = {"owner": owner, "team": team, "metadata": values, "subject": team, "resume": "secret"}
        self.write(self.world.opening(call_id, started_at=NOW + self.opened, **fields))

    @rule(
        call_id=CALLS,
        seqs=st.lists(SMALL.map(lambda number: number + 1), max_size=5),
        leg=st.sampled_from(Leg),
    )
    def append(self, call_id: str, seqs: list[int], leg: Leg) -> None:
        """Records in one batch: some new, some known, some that skip numbers."""
        self.write(*(self.world.appending(seq, call_id, leg=leg) for seq in seqs))

    @rule(call_id=CALLS, values=OBJECTS)
    def add_metadata(self, call_id: str, values: dict[str, Any]) -> None:
        """More metadata."""
        self.write(AddMetadata(self.tenant, call_id, values))

    @rule(call_id=CALLS, resumable=st.booleans(), summary=st.none() | OBJECTS)
    def close(self, call_id: str, resumable: bool, summary: dict[str, Any] | None) -> None:
        """A call ends."""
        until = NOW + 60 if resumable else None
        self.write(self.world.closing(call_id, resume_until=until, summary=summary))

    @rule(call_id=CALLS, secret=st.sampled_from(["secret", "wrong"]), owner=OWNERS)
    def resume(self, call_id: str, secret: str, owner: str) -> None:
        """Somebody takes a call up again, or tries to."""
        self.ask("results", "resume_call", self.tenant, call_id, secret_digest=secret, owner=owner, now=NOW)

    @rule(call_id=CALLS, key=KEYS)
    def alert(self, call_id: str, key: str) -> None:
        """An alert of a call that is or was."""
        self.write(self.world.alerting(f"{self.erased} {key}", call_id))

    @rule(call_id=CALLS)
    def erase(self, call_id: str) -> None:
        """A call is erased."""
        self.erased += 1
        self.write(self.world.erasing(call_id))

    @rule(key=KEYS, due=SMALL, call_id=st.none() | CALLS)
    def enqueue(self, key: str, due: int, call_id: str | None) -> None:
        """Work for later."""
        self.write(Enqueue(self.tenant, "q", key, {"due": due}, NOW + due, call_id))

    @rule(now=SMALL, limit=SMALL)
    def claim(self, now: int, limit: int) -> None:
        """A worker takes work."""
        self.jobs += self.ask("queue", "claim", self.tenant, "q", now=NOW + now, lease_s=3.0, limit=limit)

    @rule(data=st.data(), due=SMALL, done=st.booleans())
    def finish(self, data: st.DataObject, due: int, done: bool) -> None:
        """A worker is done, or puts off, what it took once, perhaps long ago."""
        if self.jobs:
            job = data.draw(st.sampled_from(self.jobs))
            if done:
                self.ask("queue", "done", job)
            else:
                self.ask("queue", "postpone", job, due_at=NOW + due, payload={"again": due})

    @rule(key=KEYS, value=OBJECTS, call_id=st.none() | CALLS, expected=st.none() | SMALL)
    def put(self, key: str, value: dict[str, Any], call_id: str | None, expected: int | None) -> None:
        """A document is written."""
        self.ask("documents", "put", self.tenant, "d", key, value, call_id=call_id, expected_version=expected)

    @rule(key=KEYS)
    def delete(self, key: str) -> None:
        """A document is removed."""
        self.ask("documents", "delete", self.tenant, "d", key)

    @rule(value=OBJECTS, expected=st.none() | SMALL)
    def log(self, value: dict[str, Any], expected: int | None) -> None:
        """A journal grows."""
        self.ask("journal", "append", self.tenant, "j", value, expected_last=expected)

    @rule(before=SMALL)
    def trim(self, before: int) -> None:
        """A journal is shortened."""
        self.ask("journal", "trim", self.tenant, "j", before=before)

    @rule(start=SMALL, limit=SMALL)
    def look(self, start: int, limit: int) -> None:
        """Everything is asked."""
        for call_id in ("a", "b", "c:{}"):
            self.ask("results", "get_call", self.tenant, call_id)
            self.ask("results", "list_records", self.tenant, call_id, from_seq=start, limit=limit)
            for part, key in (("documents", "k"), ("documents", call_id)):
                self.ask(part, "get", self.tenant, "d", key)
            self.pages("documents", self.tenant, "d", limit=limit or 1, call_id=call_id)
        for which in (
            CallFilter(),
            CallFilter(state=CallState.ACTIVE, team="t"),
            CallFilter(since=NOW + start),
        ):
            self.pages("results", self.tenant, which, limit=limit or 1)
        self.ask("results", "stats", self.tenant, since=0, until=2 * NOW)
        self.ask("results", "read_feed", self.tenant, after=start, limit=limit)
        self.ask("queue", "depth", self.tenant, "q")
        self.ask("journal", "read", self.tenant, "j", after=start, limit=limit)
        self.ask("journal", "last", self.tenant, "j")

    def pages(self, part: str, *arguments: Any, **options: Any) -> None:
        """Every page of a list: the same items, the last at the same place."""
        method = "list" if part == "documents" else "list_calls"

        async def all_of(stores: Any) -> list[Any]:
            pages, cursor = [], None
            while True:
                page = await getattr(getattr(stores, part), method)(*arguments, cursor=cursor, **options)
                pages.append(page.items)
                if (cursor := page.next) is None:
                    return pages

        expected, found = (
            self.loop.run_until_complete(all_of(stores)) for stores in (self.memory, self.redis)
        )
        assert found == expected

    @invariant()
    def versions_grow_together(self) -> None:
        """Where one version grows, so does the other."""
        now = tuple(
            self.loop.run_until_complete(stores.results.version(self.tenant))
            for stores in (self.memory, self.redis)
        )
        assert (now[0] > self.versions[0]) == (now[1] > self.versions[1])
        self.versions = (now[0], now[1])


@pytest.mark.slow
def test_redis_answers_like_memory(redis: RedisServer) -> None:
    """Whatever is done in whatever order, both kinds of store give the same answers."""
    machine = type("MemoryAndThisRedis", (MemoryAndRedis,), {"server": redis})
    # A failure is told as it was found: making it small takes minutes.
    phases = (Phase.explicit, Phase.reuse, Phase.generate)
    bounds = settings(max_examples=40, stateful_step_count=30, phases=phases)
    run_state_machine_as_test(machine, settings=bounds)
