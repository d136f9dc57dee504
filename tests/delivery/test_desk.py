"""What follows from records and events, and the deliveries of a process from its start to its end."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from threading import Event
from typing import Any

import pytest

from app.delivery.alerts import AlertRule, RuleKind
from app.delivery.desk import CallEvent
from app.delivery.hooks import Filter
from app.domain import AbstainReason, Leg
from app.results.store import StoreAwayError
from app.results.writes import AddFeedEntry, AppendRecord, Enqueue
from tests.delivery.parts import HOST, TENANT, Place, said
from tests.delivery.receiver import Answer, receiving
from tests.support.server import eventually

ANGER = AlertRule("", RuleKind.EMOTION, 0.6, emotion="anger", for_s=10.0).body()


def test_an_alert_goes_to_the_feed_the_webhooks_and_the_metrics() -> None:
    """Evaluated once, at the process that works the call."""

    async def use() -> None:
        place = Place()
        rule = await place.desk.rules.create(TENANT, ANGER)
        endpoint = await place.desk.hooks.create(TENANT, f"http://{HOST}/", which=Filter(types=("alert",)))
        call = await place.open_call(team="north")
        assert await place.desk.follow_ups(TENANT, call, said(1)) == []
        entry, work = await place.desk.follow_ups(TENANT, call, said(2))
        assert isinstance(entry, AddFeedEntry)
        assert isinstance(work, Enqueue)
        assert (entry.type, entry.call_id, entry.owner) == ("alert", "call-1", "me")
        assert entry.key == entry.body["id"] == f"{rule.id}:call-1:2"
        assert entry.body["team"] == "north"
        assert work.key == f"{endpoint.id}:call-1:alert:{rule.id}:2"
        assert work.payload["data"] == entry.body
        assert work.call_id == "call-1"
        assert place.sample("kowairo_alerts_total", kind="emotion") == 1
        await place.stores.results.write([entry, entry])
        feed = await place.stores.results.read_feed(TENANT, after=0, limit=10)
        assert [item.type for item in feed.items] == ["call_started", "alert"]

    asyncio.run(use())


def test_nothing_follows_where_nothing_is_configured() -> None:
    """No endpoints, no rules: no writes."""

    async def use() -> None:
        place = Place()
        call = await place.open_call()
        assert await place.desk.follow_ups(TENANT, call, said(1)) == []
        assert await place.desk.follow_ups(TENANT, call, CallEvent("call_ended", {}, 5.0)) == []

    asyncio.run(use())


def test_agents_raise_no_alert_where_policy_withholds_their_scores() -> None:
    """Whatever the rules ask for."""

    async def use() -> None:
        place = Place()
        await place.desk.rules.create(TENANT, {**ANGER, "for_s": 0.0, "leg": "agent"})
        call = await place.open_call()
        for number in range(1, 4):
            record = said(number, leg=Leg.AGENT, reason=AbstainReason.POLICY)
            assert await place.desk.follow_ups(TENANT, call, record) == []

    asyncio.run(use())


def test_a_call_that_ends_and_begins_again_is_told_each_time() -> None:
    """The keys of the two ends differ; the same end told twice is told once."""

    async def use() -> None:
        place = Place()
        await place.desk.hooks.create(TENANT, f"http://{HOST}/", which=Filter())
        call = await place.open_call()
        keys = []
        for at in (5.0, 5.0, 9.0):
            (work,) = await place.desk.follow_ups(TENANT, call, CallEvent("call_ended", {}, at))
            assert isinstance(work, Enqueue)
            keys.append(work.key)
        assert len(set(keys)) == 2

    asyncio.run(use())


def test_a_call_that_moves_to_another_process_keeps_its_runs() -> None:
    """The records so far are read again; what they raised is not raised again."""

    async def use() -> None:
        here = Place()
        await here.desk.rules.create(TENANT, ANGER)
        call = await here.open_call()
        await here.stores.results.write([AppendRecord(TENANT, said(1), "me")])
        there = Place(here.stores, here.clock)
        assert len(await there.desk.follow_ups(TENANT, call, said(2))) == 1
        await here.stores.results.write([AppendRecord(TENANT, said(2), "me")])
        third = Place(here.stores, here.clock)
        assert await third.desk.follow_ups(TENANT, call, said(3)) == []

    asyncio.run(use())


def test_a_rule_that_is_made_during_a_call_counts_from_then_on() -> None:
    """Not what was said before it."""

    async def use() -> None:
        place = Place()
        call = await place.open_call()
        assert await place.desk.follow_ups(TENANT, call, said(1)) == []
        await place.desk.rules.create(TENANT, ANGER)
        assert await place.desk.follow_ups(TENANT, call, said(2)) == []
        assert len(await place.desk.follow_ups(TENANT, call, said(3))) == 1

    asyncio.run(use())


def test_while_the_store_is_away_records_go_on(monkeypatch: pytest.MonkeyPatch) -> None:
    """No error comes out: alerts are raised by the rules that are known, and events wait for their endpoints."""

    async def use() -> None:
        place = Place()
        await place.desk.rules.create(TENANT, {**ANGER, "for_s": 0.0})
        call = await place.open_call()
        assert len(await place.desk.follow_ups(TENANT, call, said(1, score=0.1))) == 0

        async def away(*_: Any, **__: Any) -> Any:
            raise StoreAwayError("away")

        for part, method in ((place.stores.documents, "list"), (place.stores.results, "list_records")):
            monkeypatch.setattr(part, method, away)
        place.clock.advance(60.0)
        (entry,) = await place.desk.follow_ups(TENANT, call, said(2))
        assert isinstance(entry, AddFeedEntry)
        new = Place(place.stores, place.clock)
        (work,) = await new.desk.follow_ups(TENANT, call, said(3))
        assert isinstance(work, Enqueue)
        assert work.payload["event"]["type"] == "utterance"

    asyncio.run(use())


async def waiting(look: Any) -> None:
    """Returns when it is so; the loop goes on meanwhile."""
    await asyncio.to_thread(eventually, lambda: look() or None)


def test_the_desk_delivers_until_it_is_closed() -> None:
    """What is queued goes out without anybody asking; at the end what is under way is finished."""

    async def use() -> None:
        with receiving() as (receiver, port):
            place = Place(poll_s=0.01, max_per_endpoint=8)
            await place.desk.hooks.create(TENANT, f"http://{HOST}:{port}/", which=Filter())
            call = await place.open_call()
            running = asyncio.create_task(place.desk.run())
            for number in range(1, 6):
                await place.record(call, said(number))
            await waiting(lambda: len(receiver.received) == 5)
            answer_now = Event()
            receiver.answer = lambda _: Answer(after=answer_now)
            await place.record(call, said(6))
            await waiting(lambda: len(receiver.received) == 6)
            place.desk.close()
            answer_now.set()
            await running
            assert await place.depth() == 0

    asyncio.run(use())


def test_what_is_under_way_when_the_time_is_up_is_left_to_others() -> None:
    """Also where the desk is cancelled; nothing is lost."""

    async def use() -> None:
        with receiving() as (receiver, port):
            answer_now = Event()
            receiver.answer = lambda _: Answer(after=answer_now)
            place = Place(poll_s=0.01, drain_s=0.0)
            await place.desk.hooks.create(TENANT, f"http://{HOST}:{port}/", which=Filter())
            await place.record(await place.open_call(), said(1))
            running = asyncio.create_task(place.desk.run())
            await waiting(lambda: len(receiver.received) == 1)
            running.cancel()
            with pytest.raises(asyncio.CancelledError):
                await running
            answer_now.set()
            assert await place.depth() == 1
            place.clock.advance(41.0)
            assert await place.deliver() == 1
            assert await place.depth() == 0

    asyncio.run(use())


def test_the_desk_outlives_a_store_that_goes_away(monkeypatch: pytest.MonkeyPatch) -> None:
    """It looks again later."""

    async def use() -> None:
        place = Place()
        await place.open_call()
        third = asyncio.Event()
        looks = 0

        async def broken() -> int:
            nonlocal looks
            looks += 1
            if looks == 3:
                third.set()
                return 0
            place.desk.worker.freed.set()
            raise StoreAwayError("away") if looks == 1 else RuntimeError("broken")

        monkeypatch.setattr(place.desk.worker, "look", broken)
        running = asyncio.create_task(place.desk.run())
        await third.wait()
        place.desk.close()
        await running

    asyncio.run(use())


def test_dead_letters_of_all_tenants_are_counted() -> None:
    """The metric is their sum."""

    async def use() -> None:
        place = Place(retry_s=())
        call = await place.open_call()
        await place.stores.results.write([])
        await place.desk.hooks.create(TENANT, "http://nowhere.example/", which=Filter())
        for number in (1, 2):
            await place.record(call, replace(said(number), durable=True))
        await place.deliver()
        await place.desk.count_letters()
        assert place.sample("kowairo_webhook_dead_letters") == 2

    asyncio.run(use())
