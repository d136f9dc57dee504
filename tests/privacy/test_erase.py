"""Erasing leaves nothing anywhere, is finished whatever happens meanwhile, and says exactly what it erased."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from app.privacy.entries import AuditQuery
from app.privacy.erase import LEASE_S, QUEUE, RETRY_S, ErasureNotFoundError
from app.privacy.receipts import verify_receipt
from app.results.store import CallActiveError, CallNotFoundError, StoreAwayError, StoreError
from tests.privacy.support import OFFICER, Room, run, until
from tests.support.traces import traces_of

ONE_CALL = {"calls": 1, "records": 2, "metadata": 2, "feedback": 2, "dead_letters": 1}


def everything(room: Room) -> list[Any]:
    """All that a process holds, but for who is to be told."""
    return [room.memory, room.audit, room.erasures, room.retention]


def traces(room: Room, *needles: str) -> list[str]:
    """What is left of these, but for the notice to viewers that the call is gone."""
    place = room.memory.results._tenants["default"]
    room.told.clear()
    notices = [entry for entry in place.feed if entry.type == "call_erased"]
    kept, place.feed = place.feed, type(place.feed)(e for e in place.feed if e not in notices)
    found = traces_of(needles, *everything(room))
    place.feed = kept
    return found


async def receipt(room: Room, erasure: dict[str, Any]) -> dict[str, Any]:
    """The receipt, genuine, as it is kept."""
    assert erasure["status"] == "done"
    kept = await room.erasures.get("default", erasure["id"])
    assert kept == erasure
    verified: dict[str, Any] = dict(verify_receipt(kept["receipt"], room.erasures.signer.public_key))
    return verified


def test_a_call_is_erased_everywhere_and_a_receipt_says_so() -> None:
    """Store, feed, statistics, feedback, dead letters, queued work; nothing else is touched."""

    async def scenario() -> None:
        room = Room()
        await room.call("gone-1", subject="person-7")
        await room.call("stays", subject="person-8")
        assert traces(room, "gone-1", "+49-gone-1", "person-7")
        erasure = await room.erasures.erase(OFFICER, call_id="gone-1", must_exist=True)
        paper = await receipt(room, erasure)
        assert (paper["outcome"], paper["counts"], paper["of"]) == ("erased", ONE_CALL, "call")
        assert paper["object"] == room.secrets.pseudonym("default", "call", "gone-1") == paper["calls"][0]
        assert room.told == [("default", "gone-1")]
        assert traces(room, "gone-1", "+49-gone-1", "person-7") == []
        assert traces(room, "person-8")
        assert await room.queue.depth("default", QUEUE) == 0
        assert await room.queue.depth("default", "webhooks") == 1
        [logged] = (await room.audit.read("default", AuditQuery(), before=None, limit=9))[0]
        assert (logged.number, logged.value["hash"]) == (paper["audit"]["number"], paper["audit"]["hash"])
        assert (logged.value["action"], logged.value["object"]) == ("erase", paper["object"])

    run(scenario())


def test_everything_of_a_subject_goes() -> None:
    """Also feedback of a call that has expired itself."""

    async def scenario() -> None:
        room = Room()
        for number in range(3):
            await room.call(f"theirs-{number}", subject="person-7", records=number)
        await room.call("other", subject="person-8")
        value = {"about": "expired-1", "subject": "person-7"}
        await room.memory.documents.put("default", "feedback", "f", value, call_id="expired-1")
        erasure = await room.erasures.erase(OFFICER, subject="person-7")
        paper = await receipt(room, erasure)
        assert paper["counts"] == {
            "calls": 3,
            "records": 3,
            "metadata": 6,
            "feedback": 7,
            "dead_letters": 3,
        }
        assert len(paper["calls"]) == erasure["calls_erased"] == 4
        assert await room.held("theirs-0", "theirs-1", "theirs-2", "other") == ["other"]
        assert traces(room, "person-7", "theirs-", "expired-1") == []

    run(scenario())


def test_a_live_call_must_end_first() -> None:
    """Unless it is to be erased once it has."""

    async def scenario() -> None:
        room = Room()
        await room.call("a", ended=False)
        with pytest.raises(CallActiveError):
            await room.erasures.erase(OFFICER, call_id="a")
        erasure = await room.erasures.erase(OFFICER, call_id="a", when_ended=True)
        assert (erasure["status"], erasure["waits_for"], erasure["calls_waiting"]) == (
            "pending",
            "call_end",
            1,
        )
        room.clock.advance(RETRY_S)
        await room.erasures.work("default")
        assert await room.held("a") == ["a"]
        await room.end("a")
        room.clock.advance(RETRY_S)
        await room.erasures.work("default")
        assert await room.held("a") == []
        paper = await receipt(room, await room.erasures.get("default", erasure["id"]))
        assert paper["counts"] == ONE_CALL

    run(scenario())


def test_a_subjects_live_call_goes_when_it_ends_and_a_later_one_stays() -> None:
    """The wish is about what there was when it was made."""

    async def scenario() -> None:
        room = Room()
        await room.call("ended", subject="p")
        await room.call("live", subject="p", ended=False)
        erasure = await room.erasures.erase(OFFICER, subject="p")
        assert (erasure["status"], erasure["calls_erased"], erasure["calls_waiting"]) == ("pending", 1, 1)
        assert await room.held("ended", "live") == ["live"]
        room.clock.advance(RETRY_S)
        await room.call("later", subject="p")
        await room.end("live")
        await room.erasures.work("default")
        paper = await receipt(room, await room.erasures.get("default", erasure["id"]))
        assert paper["counts"]["calls"] == 2
        assert await room.held("live", "later") == ["later"]

    run(scenario())


def test_nothing_held_is_a_receipt_or_a_refusal() -> None:
    """An officer wants it in writing; who deletes a call wants to know that the id is wrong."""

    async def scenario() -> None:
        room = Room()
        with pytest.raises(CallNotFoundError):
            await room.erasures.erase(OFFICER, call_id="a", must_exist=True)
        wishes: list[dict[str, Any]] = [{"call_id": "a"}, {"subject": "nobody"}]
        for wish in wishes:
            paper = await receipt(room, await room.erasures.erase(OFFICER, **wish))
            assert (paper["outcome"], set(paper["counts"].values())) == ("nothing_held", {0})

    run(scenario())


def test_while_the_store_is_away_an_erasure_is_accepted_and_carried_out_later() -> None:
    """It waits in the spool; who asked can read that it does, and then the receipt."""

    async def scenario() -> None:
        room = Room()
        await room.call("a", subject="p")
        room.set_away(True)
        room.store.spool = []
        erasure = await room.erasures.erase(OFFICER, subject="p")
        assert (erasure["status"], erasure["waits_for"]) == ("pending", "store")
        assert await room.erasures.get("default", erasure["id"]) == erasure
        with pytest.raises(StoreAwayError):
            await room.erasures.get("default", "other")
        with pytest.raises(StoreAwayError):
            await room.erasures.page("default", cursor=None, limit=9)
        room.set_away(False)
        await room.store.comes_back()
        assert await room.erasures.get("default", erasure["id"]) == erasure
        room.clock.advance(LEASE_S)
        await room.process()[1].work("default")
        paper = await receipt(room, await room.erasures.get("default", erasure["id"]))
        assert paper["counts"] == ONE_CALL

    run(scenario())


def test_without_a_spool_an_absent_store_is_said() -> None:
    """What cannot be put down anywhere is not promised."""

    async def scenario() -> None:
        room = Room()
        room.set_away(True)
        with pytest.raises(StoreAwayError):
            await room.erasures.erase(OFFICER, call_id="a")

    run(scenario())


@settings(max_examples=60)
@given(st.integers(0, 40), st.sampled_from(["store", "documents", "queue", "journal"]))
def test_wherever_it_is_cut_short_it_is_finished_and_counted_once(after: int, place: str) -> None:
    """A store that goes away at any step leaves an erasure that somebody else finishes, with the same counts."""

    async def scenario() -> None:
        room = Room()
        await room.call("a", subject="p")
        await room.call("b", subject="p")
        getattr(room, place).until_away = after
        try:
            erasure = await room.erasures.erase(OFFICER, subject="p")
        except StoreAwayError:
            assert await room.held("a", "b") == ["a", "b"]
            return
        await getattr(room, place).comes_back()
        room.clock.advance(LEASE_S)
        await room.process()[1].work("default")
        paper = await receipt(room, await room.erasures.get("default", erasure["id"]))
        assert paper["counts"] == {name: 2 * count for name, count in ONE_CALL.items()}
        assert await room.held("a", "b") == []
        assert await room.queue.depth("default", QUEUE) == 0

    run(scenario())


def test_what_is_left_after_erasing_is_no_receipt() -> None:
    """It is tried again until nothing is left."""

    async def scenario() -> None:
        room = Room()
        await room.call("a")
        forget = room.memory.documents.forget
        room.memory.documents.forget = lambda *_: None  # type: ignore[method-assign]
        erasure = await room.erasures.erase(OFFICER, call_id="a")
        assert erasure["status"] == "pending"
        room.clock.advance(LEASE_S)
        await room.erasures.work("default")
        room.memory.documents.forget = forget  # type: ignore[method-assign]
        room.clock.advance(LEASE_S)
        await room.erasures.work("default")
        paper = await receipt(room, await room.erasures.get("default", erasure["id"]))
        assert paper["counts"] == ONE_CALL

    run(scenario())


def test_a_store_that_refuses_to_queue_is_told() -> None:
    """Nothing was begun."""

    async def scenario() -> None:
        room = Room()

        async def refuse(_: object) -> list[StoreError]:
            return [StoreError("no")]

        room.memory.results.write = refuse  # type: ignore[method-assign, assignment]
        with pytest.raises(StoreError, match="no"):
            await room.erasures.erase(OFFICER, subject="p")

    run(scenario())


def test_erasures_are_listed_latest_first_and_apart_by_tenant() -> None:
    """And an unknown one is not there."""

    async def scenario() -> None:
        room = Room()
        ids = []
        for number in range(3):
            ids.append((await room.erasures.erase(OFFICER, call_id=f"c{number}"))["id"])
            room.clock.advance(1)
        first = await room.erasures.page("default", cursor=None, limit=2)
        second = await room.erasures.page("default", cursor=first.next, limit=2)
        assert [item["id"] for item in (*first.items, *second.items)] == ids[::-1]
        assert (await room.erasures.page("acme", cursor=None, limit=2)).items == ()
        for tenant, erasure_id in (("default", "0"), ("acme", ids[0])):
            with pytest.raises(ErasureNotFoundError):
                await room.erasures.get(tenant, erasure_id)

    run(scenario())


def test_unfinished_ones_are_taken_up_by_themselves(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of every tenant; an absent store is waited for."""
    monkeypatch.setattr("app.privacy.erase.RETRY_S", 0.0)

    async def scenario() -> None:
        room = Room()
        await room.call("a", ended=False)
        erasure = await room.erasures.erase(OFFICER, call_id="a", when_ended=True)
        await room.end("a")

        async def gone() -> bool:
            return await room.held("a") == []

        async with room.erasures.running(room.store.tenants):
            room.set_away(True)
            for _ in range(5):
                await asyncio.sleep(0)
            room.set_away(False)
            await until(gone)
            await until(lambda: done(room, erasure["id"]))

    async def done(room: Room, erasure_id: str) -> bool:
        status: str = (await room.erasures.get("default", erasure_id))["status"]
        return status == "done"

    run(scenario())
