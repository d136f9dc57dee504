"""Every store keeps calls, records, the feed and statistics the way `app.results.store` says."""

from __future__ import annotations

from dataclasses import replace

import pytest

from app.domain import Leg, UtteranceRecord
from app.records import record_body
from app.results.store import (
    STAT_BUCKET_S,
    BadCursorError,
    CallActiveError,
    CallExistsError,
    CallFilter,
    CallNotFoundError,
    CallState,
    NotResumableError,
    StatKey,
    Stored,
    StoreError,
)
from app.results.writes import AddMetadata, Enqueue, Write
from tests.results.conformance import FEED, NOW, RECORDS, Play, World

EVERY = CallFilter()


def positions(answers: list[Stored | StoreError]) -> list[int | None]:
    """The positions in the feed that changes were given."""
    return [answer.position if isinstance(answer, Stored) else None for answer in answers]


def plain(record: UtteranceRecord | None) -> UtteranceRecord:
    """A record but for what the store says of itself."""
    assert record is not None
    return replace(record, durable=False)


async def ids(world: World, which: CallFilter = EVERY, limit: int = 100) -> list[str]:
    """Every call of a list, page by page."""
    found: list[str] = []
    cursor = None
    while True:
        page = await world.stores.results.list_calls(world.tenant, which, cursor=cursor, limit=limit)
        found += [call.call_id for call in page.items]
        if page.next is None:
            return found
        cursor = page.next


def test_a_call_reads_back_as_it_was_given(play: Play) -> None:
    """Every field of a call survives, from its start to its end."""

    async def scenario(world: World) -> None:
        store, call_id = world.stores.results, "a/ü {x}:1\n\ud800"
        write = world.opening(
            call_id,
            started_at=NOW + 0.1234567,
            language="de",
            metadata={"n": 1, "empty": [], "deep": {"x": [None, True, 1.5, "é"]}, "big": 2**70},
            team="north",
            subject="pseudonym",
            resume="digest",
        )
        assert positions(await store.write([write])) == [1]
        call = await store.get_call(world.tenant, call_id)
        assert call == replace(write.call, version=1)
        await store.write([AddMetadata(world.tenant, call_id, {"n": 2, "more": {}})])
        await store.write([world.closing(call_id, resume_until=NOW + 100.5)])
        ended = await store.get_call(world.tenant, call_id)
        assert ended == replace(
            call,
            metadata={**call.metadata, "n": 2, "more": {}},
            state=CallState.ENDED,
            outcome="completed",
            ended_at=NOW + 60,
            summary={"duration_s": 60.0},
            resume_until=NOW + 100.5,
            version=3,
        )

    play(scenario)


def test_changes_may_be_repeated(play: Play) -> None:
    """A second opening of the same owner, a record sent twice and a second end change nothing, and say so."""

    async def scenario(world: World) -> None:
        store = world.stores.results
        changes: list[Write] = [world.opening(), world.appending(1), world.appending(2), world.closing()]
        assert positions(await store.write(changes)) == [1, 2, 3, 4]
        before = await store.get_call(world.tenant, "call-1")
        again = await store.write(changes)
        assert [isinstance(answer, Stored) and answer.duplicate for answer in again] == [True] * 4
        assert await store.get_call(world.tenant, "call-1") == before
        assert (await store.read_feed(world.tenant, after=0, limit=100)).last == 4
        (bucket,) = await store.stats(world.tenant, since=0, until=2 * NOW)
        assert bucket.sums.n == 2

    play(scenario)


def test_errors_are_told_apart_and_stop_nothing(play: Play) -> None:
    """What is refused is an error of its own kind; what stands beside it is carried out."""

    async def scenario(world: World) -> None:
        store = world.stores.results
        answers = await store.write(
            [
                world.appending(1, "unknown"),
                world.closing("unknown"),
                AddMetadata(world.tenant, "unknown", {}),
                world.opening(),
                world.opening(owner="somebody else"),
                world.opening(started_at=NOW + 1),
                world.erasing(),
                world.opening("nobody's", owner=""),
                world.opening("nobody's", owner=""),
                world.appending(1),
            ]
        )
        kinds = [type(answer) for answer in answers]
        assert kinds[:3] == [CallNotFoundError] * 3
        assert kinds[3:7] == [Stored, CallExistsError, CallExistsError, CallActiveError]
        assert kinds[7:] == [Stored, CallExistsError, Stored]
        with pytest.raises(CallNotFoundError):
            await store.get_call(world.tenant, "unknown")
        with pytest.raises(CallNotFoundError):
            await store.list_records(world.tenant, "unknown", from_seq=1, limit=10)
        assert await store.write([]) == []

    play(scenario)


def test_records_read_back_in_order(play: Play) -> None:
    """Records come by their numbers, from any number, whole."""

    async def scenario(world: World) -> None:
        store = world.stores.results
        writes = [world.appending(seq) for seq in range(1, RECORDS + 1)]
        await store.write([world.opening(), *writes])
        found = await store.list_records(world.tenant, "call-1", from_seq=1, limit=100)
        assert [plain(record) for record in found.items] == [write.record for write in writes]
        assert (found.first_seq, found.last_seq) == (1, RECORDS)
        found = await store.list_records(world.tenant, "call-1", from_seq=3, limit=1)
        assert [record.seq for record in found.items] == [3]
        for start, limit in ((RECORDS + 1, 10), (1, 0)):
            found = await store.list_records(world.tenant, "call-1", from_seq=start, limit=limit)
            assert found.items == ()

    play(scenario)


def test_the_oldest_records_go_and_are_counted(play: Play) -> None:
    """Over the bound the oldest records go; skipped numbers and gone records are told; the feed still has them."""

    async def scenario(world: World) -> None:
        store = world.stores.results
        await store.write([world.opening()])
        empty = await store.list_records(world.tenant, "call-1", from_seq=1, limit=10)
        assert (empty.items, empty.first_seq, empty.last_seq) == ((), 1, 0)
        await store.write([world.appending(seq) for seq in (1, 2, 3, 6, 7, 8)])
        call = await store.get_call(world.tenant, "call-1")
        assert (call.utterances, call.dropped) == (8, 4)
        found = await store.list_records(world.tenant, "call-1", from_seq=1, limit=10)
        assert [record.seq for record in found.items] == [3, 6, 7, 8]
        assert (found.first_seq, found.last_seq) == (3, 8)
        late = await store.write([world.appending(2), world.appending(5)])
        assert [isinstance(answer, Stored) and answer.duplicate for answer in late] == [True, True]
        feed = await store.read_feed(world.tenant, after=0, limit=100)
        assert [entry.seq for entry in feed.items] == [None, 1, 2, 3, 6, 7, 8]
        assert {entry.type for entry in feed.items[1:]} == {"utterance"}

    play(scenario)


def test_the_feed_has_everything_in_order(play: Play) -> None:
    """The feed numbers what happened without holes, with the bodies that were given."""

    async def scenario(world: World) -> None:
        store = world.stores.results
        answers = await store.write(
            [
                world.opening(),
                world.appending(1),
                world.alerting("k"),
                world.alerting("k"),
                world.alerting("no call", ""),
                world.closing(),
            ]
        )
        assert positions(answers) == [1, 2, 3, None, 4, 5]
        feed = await store.read_feed(world.tenant, after=0, limit=100)
        assert (feed.first, feed.last) == (1, 5)
        told = [(entry.position, entry.type, entry.call_id, entry.seq) for entry in feed.items]
        assert told == [
            (1, "call_started", "call-1", None),
            (2, "utterance", "call-1", 1),
            (3, "alert", "call-1", None),
            (4, "alert", "", None),
            (5, "call_ended", "call-1", None),
        ]
        assert {entry.origin for entry in feed.items} == {"me"}
        bodies = [dict(entry.body) for entry in feed.items]
        expected = record_body(world.appending(1).record)
        assert {**bodies.pop(1), "durable": False} == {**expected, "durable": False}
        assert bodies == [
            {"call_id": "call-1", "line": "default"},
            {"rule": "k"},
            {"rule": "no call"},
            {"call_id": "call-1"},
        ]
        part = await store.read_feed(world.tenant, after=2, limit=2)
        assert [entry.position for entry in part.items] == [3, 4]
        assert (await store.read_feed(world.tenant, after=5, limit=2)).items == ()

    play(scenario)


def test_the_feed_is_bounded(play: Play) -> None:
    """Over the bound the oldest entries go; what is left has no holes; a reader far behind can tell."""

    async def scenario(world: World) -> None:
        store = world.stores.results
        nothing = await store.read_feed(world.tenant, after=0, limit=10)
        assert (nothing.items, nothing.first, nothing.last) == ((), 1, 0)
        await store.write([world.opening(), *(world.appending(seq) for seq in range(1, FEED + 10))])
        feed = await store.read_feed(world.tenant, after=0, limit=1_000)
        assert [entry.position for entry in feed.items] == list(range(11, FEED + 11))
        assert (feed.first, feed.last) == (11, FEED + 10)
        assert {entry.type for entry in feed.items} == {"utterance"}

    play(scenario)


def test_calls_are_listed_latest_first(play: Play) -> None:
    """A list has every call once, page by page, and its filters hold."""

    async def scenario(world: World) -> None:
        store = world.stores.results
        for number in range(12):
            line, team = f"line-{number % 2}", ("north", None, "")[number % 3]
            write = world.opening(f"call-{number}", started_at=NOW + number, line=line, team=team)
            await store.write([write])
        await store.write([world.closing(f"call-{number}") for number in range(0, 12, 3)])
        await store.write([world.closing("call-1", outcome="broken")])
        every = [f"call-{number}" for number in reversed(range(12))]
        for limit in (1, 5, 12, 100):
            assert await ids(world, limit=limit) == every
        assert await ids(world, CallFilter(line="line-1"), 2) == every[::2]
        assert await ids(world, CallFilter(line="none")) == []
        assert await ids(world, CallFilter(state=CallState.ENDED)) == every[2::3][:-1] + every[-2:]
        live = CallFilter(state=CallState.ACTIVE, line="line-1")
        assert await ids(world, live) == ["call-11", "call-7", "call-5"]
        assert await ids(world, CallFilter(team="north"), 1) == every[2::3]
        assert await ids(world, CallFilter(team=""), 1) == every[0::3]
        assert await ids(world, CallFilter(outcome="broken")) == ["call-1"]
        assert await ids(world, CallFilter(since=NOW + 3, until=NOW + 5), 1) == ["call-4", "call-3"]
        assert await ids(world, CallFilter(since=NOW + 11.5)) == []

    play(scenario)


def test_cursors_are_stable(play: Play) -> None:
    """What comes after a cursor stays the same while calls begin and are erased, even the one it names."""

    async def scenario(world: World) -> None:
        store = world.stores.results
        for number in range(6):
            await store.write([world.opening(f"call-{number}", started_at=NOW + number)])
        page = await store.list_calls(world.tenant, EVERY, cursor=None, limit=2)
        assert [call.call_id for call in page.items] == ["call-5", "call-4"]
        await store.write([world.opening("new", started_at=NOW + 99)])
        await store.write([world.closing("call-4"), world.erasing("call-4")])
        await store.write([world.closing("call-2"), world.erasing("call-2")])
        page = await store.list_calls(world.tenant, EVERY, cursor=page.next, limit=3)
        assert [call.call_id for call in page.items] == ["call-3", "call-1", "call-0"]
        assert page.next is None

    play(scenario)


@pytest.mark.parametrize(
    "cursor", ["", "x", "-1", "¹", "é", "AAAA", "a b", "A" * 5_000, "\x00", "\ud800", "MQ=="]
)
def test_a_cursor_nobody_gave_is_refused(play: Play, cursor: str) -> None:
    """Anything else than a cursor of the list is refused as such."""

    async def scenario(world: World) -> None:
        with pytest.raises(BadCursorError):
            await world.stores.results.list_calls(world.tenant, EVERY, cursor=cursor, limit=2)
        if cursor != "MQ==" and not cursor.startswith("AAAA"):
            with pytest.raises(BadCursorError):
                await world.stores.documents.list(world.tenant, "note", cursor=cursor)

    play(scenario)


def test_an_ended_call_expires(play: Play) -> None:
    """A call that ended goes after the time it was given, from everywhere; its id is free again."""

    async def scenario(world: World) -> None:
        store = world.stores.results
        opening = world.opening(subject="somebody", line="short")
        await store.write([opening, world.appending(1), world.closing(ttl_s=0.3)])
        await store.write([world.opening("stays", started_at=NOW - 1)])
        version = await store.version(world.tenant)

        async def gone() -> bool | None:
            return True if await ids(world) == ["stays"] else None

        assert await world.after(0.3, gone)
        assert await ids(world, CallFilter(line="short")) == []
        assert await store.calls_of_subject(world.tenant, "somebody") == ()
        assert await store.version(world.tenant) > version
        with pytest.raises(CallNotFoundError):
            await store.get_call(world.tenant, "call-1")
        with pytest.raises(CallNotFoundError):
            await store.list_records(world.tenant, "call-1", from_seq=1, limit=10)
        (answer,) = await store.write([world.appending(2)])
        assert isinstance(answer, CallNotFoundError)
        (bucket,) = await store.stats(world.tenant, since=0, until=2 * NOW)
        assert bucket.sums.n == 1, "statistics outlive the call"
        await store.write([world.opening(subject="somebody else")])
        call = await store.get_call(world.tenant, "call-1")
        assert (call.utterances, call.subject) == (0, "somebody else")
        found = await store.list_records(world.tenant, "call-1", from_seq=1, limit=10)
        assert (found.items, found.last_seq) == ((), 0)

    play(scenario)


def test_statistics_count_customers_only(play: Play) -> None:
    """Sums are kept by five minutes, line, team, emotion and outcome; agents and mixed legs are in none."""

    async def scenario(world: World) -> None:
        store = world.stores.results
        start = NOW // STAT_BUCKET_S * STAT_BUCKET_S
        await store.write(
            [
                world.opening(team="north", line='odd "line" {x}'),
                world.appending(1, created_at=start),
                world.appending(2, created_at=start + STAT_BUCKET_S - 0.001),
                world.appending(3, created_at=start + STAT_BUCKET_S),
                world.appending(4, leg=Leg.AGENT),
                world.appending(5, leg=Leg.MIXED),
            ]
        )
        key = StatKey('odd "line" {x}', "north", "anger", "scored")
        first, second = await store.stats(world.tenant, since=start, until=start + 2 * STAT_BUCKET_S)
        assert (first.start, first.key, second.start, second.key) == (start, key, start + STAT_BUCKET_S, key)
        assert (first.sums.n, first.sums.scored, second.sums.n) == (2, 2, 1)
        sums = first.sums
        found = (sums.seconds, sums.confidence, sums.arousal, sums.valence, sums.expected_cost)
        assert found == pytest.approx((3.0, 1.4, 0.8, -1.0, 0.6), abs=1e-6)
        assert await store.stats(world.tenant, since=start, until=start + STAT_BUCKET_S) == [first]
        assert await store.stats(world.tenant, since=start + 1, until=start + STAT_BUCKET_S) == []

    play(scenario)


def test_erasing_takes_everything_of_a_call(play: Play) -> None:
    """The call, its records, entries, share of the statistics, documents and work go; another call loses nothing."""

    async def scenario(world: World) -> None:
        store, documents, queue = world.stores.results, world.stores.documents, world.stores.queue
        await store.write([world.opening(subject="s"), world.opening("other", subject="s")])
        await store.write([world.appending(1), world.appending(1, "other"), world.alerting("k")])
        work = Enqueue(world.tenant, "hooks", "job", {"secret": 1}, NOW, "call-1")
        await store.write([work, replace(work, key="other", call_id="other"), world.closing()])
        await documents.put(world.tenant, "note", "a", {"x": 1}, call_id="call-1")
        await documents.put(world.tenant, "note", "b", {"x": 2}, call_id="other")
        version = await store.version(world.tenant)
        assert positions(await store.write([world.erasing()])) == [7]
        assert await store.version(world.tenant) > version
        assert await ids(world) == ["other"]
        assert await store.calls_of_subject(world.tenant, "s") == ("other",)
        feed = await store.read_feed(world.tenant, after=0, limit=100)
        erased = [entry.position for entry in feed.items if entry.type == "call_erased"]
        assert erased == [1, 3, 5, 6, 7]
        assert [entry.position for entry in feed.items] == list(range(1, 8))
        assert all(
            dict(entry.body) in ({}, {"call_id": "call-1"})
            for entry in feed.items
            if entry.position in erased
        )
        (bucket,) = await store.stats(world.tenant, since=0, until=2 * NOW)
        assert bucket.sums.n == 1
        assert [document.key for document in (await documents.list(world.tenant, "note")).items] == ["b"]
        jobs = await queue.claim(world.tenant, "hooks", now=NOW, lease_s=1.0, limit=10)
        assert [job.key for job in jobs] == ["other"]
        for call_id in ("call-1", "never was"):
            (answer,) = await store.write([world.erasing(call_id)])
            assert isinstance(answer, Stored)
            assert answer.duplicate
        assert (await store.read_feed(world.tenant, after=0, limit=100)).last == 7
        (answer,) = await store.write([work])
        assert isinstance(answer, Stored)
        assert not answer.duplicate, "that it was ever there is forgotten too"

    play(scenario)


def test_an_erased_id_may_come_again(play: Play) -> None:
    """A new call with the id of an erased one shows nothing of the old one, not even in the feed."""

    async def scenario(world: World) -> None:
        store = world.stores.results
        await store.write([world.opening(), world.appending(1), world.closing(), world.erasing()])
        await store.write([world.opening(owner="new"), world.appending(1)])
        feed = await store.read_feed(world.tenant, after=0, limit=100)
        kinds = [entry.type for entry in feed.items]
        assert kinds == ["call_erased"] * 4 + ["call_started", "utterance"]
        assert (await store.get_call(world.tenant, "call-1")).utterances == 1

    play(scenario)


def test_a_broken_call_is_resumed_once(play: Play) -> None:
    """Only the right secret in time takes a call up again; then it goes on as if it had never ended."""

    async def scenario(world: World) -> None:
        store = world.stores.results
        await store.write([world.opening(resume="secret"), world.appending(1)])

        async def resume(secret: str = "secret", now: float = NOW, call_id: str = "call-1") -> None:
            await store.resume_call(world.tenant, call_id, secret_digest=secret, owner="new", now=now)

        with pytest.raises(NotResumableError):
            await resume()
        await store.write([world.closing(outcome="lost", resume_until=NOW + 30)])
        for secret, now in (("wrong", NOW), ("secret", NOW + 30)):
            with pytest.raises(NotResumableError):
                await resume(secret, now)
        with pytest.raises(CallNotFoundError):
            await resume(call_id="unknown")
        await resume(now=NOW + 29.9)
        with pytest.raises(NotResumableError):
            await resume()
        call = await store.get_call(world.tenant, "call-1")
        assert (call.state, call.owner, call.outcome, call.ended_at) == (CallState.ACTIVE, "new", None, None)
        assert (call.summary, call.resume_until, call.version) == (None, None, 4)
        assert await ids(world, CallFilter(state=CallState.ACTIVE)) == ["call-1"]
        assert positions(await store.write([world.appending(2), world.closing()])) == [4, 5]
        with pytest.raises(NotResumableError):
            await resume()
        await store.write([world.opening("plain"), world.closing("plain", resume_until=NOW + 30)])
        with pytest.raises(NotResumableError):
            await resume(call_id="plain")

    play(scenario)


def test_orphans_are_live_calls_without_a_heartbeat(play: Play) -> None:
    """A live call whose owner said nothing for too long is found, until it ends or is taken up."""

    async def scenario(world: World) -> None:
        store = world.stores.results
        owner = f"owner of {world.tenant}"
        await store.heartbeat(owner, 0.3)
        await store.write([world.opening(owner=owner), world.opening("dead", owner=f"nobody {world.tenant}")])
        assert [call.call_id for call in await store.orphans(world.tenant)] == ["dead"]
        await store.write([replace(world.closing("dead"), ttl_s=60.0)])

        async def found() -> list[str] | None:
            return [call.call_id for call in await store.orphans(world.tenant)] or None

        assert await world.after(0.3, found) == ["call-1"]
        await store.heartbeat(owner, 600.0)
        assert await store.orphans(world.tenant) == ()
        assert world.tenant in await store.tenants()
        await store.ping()

    play(scenario)


def test_the_version_grows_with_every_change(play: Play) -> None:
    """Each change of a call makes the number larger; reading and repeating do not."""

    async def scenario(world: World) -> None:
        store = world.stores.results
        seen = await store.version(world.tenant)
        closing = world.closing(resume_until=NOW + 1)
        changes: list[Write] = [
            world.opening(resume="x"),
            world.appending(1),
            AddMetadata(world.tenant, "call-1", {"a": 1}),
            closing,
        ]
        for change in changes:
            await store.write([change])
            version = await store.version(world.tenant)
            assert version > seen
            seen = version
        await store.write([changes[0], changes[1], closing])
        await store.list_calls(world.tenant, EVERY, cursor=None, limit=1)
        assert await store.version(world.tenant) == seen
        await store.resume_call(world.tenant, "call-1", secret_digest="x", owner="n", now=NOW)
        assert await store.version(world.tenant) > seen

    play(scenario)


def test_tenants_are_walls(play: Play) -> None:
    """Nothing of one tenant is seen, numbered or erased through another with the same ids."""

    async def scenario(world: World) -> None:
        store, documents = world.stores.results, world.stores.documents
        other = replace(world, tenant=f"{world.tenant}}}:calls")
        await store.write([world.opening(), world.appending(1), world.closing(), other.opening(owner="you")])
        await documents.put(world.tenant, "note", "a", {"x": 1}, call_id="call-1")
        assert (await store.get_call(other.tenant, "call-1")).state is CallState.ACTIVE
        assert (await store.read_feed(other.tenant, after=0, limit=10)).last == 1
        assert await store.stats(other.tenant, since=0, until=2 * NOW) == []
        assert (await documents.list(other.tenant, "note")).items == ()
        await store.write([other.closing(), other.erasing()])
        assert await ids(other) == []
        assert await ids(world) == ["call-1"]
        assert (await documents.get(world.tenant, "note", "a")).value == {"x": 1}

    play(scenario)
