"""Calls are kept as long as their tenant says, never longer than the site allows, and no longer once it says less."""

from __future__ import annotations

import pytest

from app.privacy.retention import FRESH_S, Bounds, Periods, Policy, RetentionError
from app.results.store import CallNotFoundError, StoreAwayError
from tests.privacy.support import Room, run

HOUR = 3_600


def test_the_sites_default_holds_where_nobody_chose() -> None:
    """And a line's own choice before its tenant's."""

    async def scenario() -> None:
        room = Room()
        keep = room.retention
        assert await keep.ttl_for("default", "sales") == 24 * HOUR
        assert await keep.feedback_ttl_for("default", "sales") == 365 * 24 * HOUR
        await keep.put("default", Policy(Periods(HOUR, 5 * HOUR), {"sales": Periods(2 * HOUR)}))
        assert await keep.ttl_for("default", "sales") == 2 * HOUR
        assert await keep.ttl_for("default", "other") == HOUR
        assert await keep.feedback_ttl_for("default", "sales") == 5 * HOUR
        assert await keep.ttl_for("acme", "sales") == 24 * HOUR

    run(scenario())


def test_other_processes_hear_of_a_change_within_seconds() -> None:
    """What is known is fresh for a while, and good enough while the store is away."""

    async def scenario() -> None:
        room, other = Room(), Room()
        other.retention._documents = room.documents
        assert await other.retention.ttl_for("default", "a") == 24 * HOUR
        await room.retention.put("default", Policy(Periods(HOUR)))
        assert await other.retention.ttl_for("default", "a") == 24 * HOUR
        other.clock.advance(FRESH_S)
        assert await other.retention.ttl_for("default", "a") == HOUR
        room.set_away(True)
        other.clock.advance(FRESH_S)
        assert await other.retention.ttl_for("default", "a") == HOUR
        assert await other.retention.ttl_for("acme", "a") == 24 * HOUR
        with pytest.raises(StoreAwayError):
            await other.retention.get("default")

    run(scenario())


@pytest.mark.parametrize(
    ("policy", "where"),
    [
        (Policy(Periods(31 * 24 * HOUR)), "^calls_s"),
        (Policy(Periods(None, 366 * 24 * HOUR)), "^feedback_s"),
        (Policy(Periods(59)), "^calls_s"),
        (Policy(Periods(), {"sales": Periods(None, 1)}), r"^lines\.sales\.feedback_s"),
    ],
)
def test_what_the_site_does_not_allow_is_refused(policy: Policy, where: str) -> None:
    """Naming the member and the bounds."""

    async def scenario() -> None:
        room = Room()
        with pytest.raises(RetentionError, match=where):
            await room.retention.put("default", policy)
        assert await room.retention.get("default") == Policy()

    run(scenario())


def test_a_site_that_becomes_stricter_is_obeyed_at_once() -> None:
    """A policy that was allowed once does not outlive it."""

    async def scenario() -> None:
        room = Room()
        await room.retention.put("default", Policy(Periods(20 * 24 * HOUR, 300 * 24 * HOUR)))
        strict = Room(bounds=Bounds(HOUR, 2 * HOUR, 3 * HOUR))
        strict.retention._documents = room.documents
        assert await strict.retention.ttl_for("default", "a") == 2 * HOUR
        assert await strict.retention.feedback_ttl_for("default", "a") == 3 * HOUR

    run(scenario())


def test_shortening_erases_what_is_too_old_now_and_later() -> None:
    """By the line of each call; live calls and other tenants' stay."""

    async def scenario() -> None:
        room = Room()
        await room.call("old")
        await room.call("old-sales", line="sales")
        await room.call("live", ended=False)
        await room.call("theirs", tenant="acme")
        room.clock.advance(2 * HOUR)
        await room.call("new")
        assert await room.retention.sweep("default") == []
        await room.retention.put("default", Policy(Periods(HOUR), {"sales": Periods(3 * HOUR)}))
        assert [call.call_id for call in await room.retention.sweep("default")] == ["old"]
        assert await room.held("old", "old-sales", "live", "new") == ["old-sales", "live", "new"]
        room.clock.advance(HOUR)
        gone = {call.call_id for call in await room.retention.sweep("default")}
        assert gone == {"old-sales", "new"}
        assert await room.retention.sweep("default") == []
        assert (await room.memory.results.get_call("acme", "theirs")).call_id == "theirs"
        with pytest.raises(CallNotFoundError):
            await room.memory.results.get_call("default", "old")

    run(scenario())


def test_a_call_that_was_taken_up_again_meanwhile_stays() -> None:
    """It is live, and not old."""

    async def scenario() -> None:
        room = Room()
        await room.call("a")
        room.clock.advance(2 * HOUR)
        await room.retention.put("default", Policy(Periods(HOUR)))
        write = room.memory.results.write

        async def taken_up_first(writes: object) -> object:
            place = room.memory.results._tenants["default"]
            entry = place.calls["a"]
            entry.info = type(entry.info)("a", "default", (), 0.0)
            return await write(writes)  # type: ignore[arg-type]

        room.memory.results.write = taken_up_first  # type: ignore[method-assign, assignment]
        assert await room.retention.sweep("default") == []
        assert await room.held("a") == ["a"]

    run(scenario())
