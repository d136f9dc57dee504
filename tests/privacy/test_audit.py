"""The audit log says who did what, in order, whole, and without a single id of a call."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from structlog.testing import capture_logs

from app.access.principal import Principal
from app.privacy.audit import NAME, AuditFullError, AuditLog
from app.privacy.chain import TRIM
from app.privacy.entries import AuditEntry, AuditQuery
from app.results.documents import DocumentConflictError, JournalEntry
from app.results.store import StoreAwayError
from tests.privacy.support import OFFICER, Room, run, until

ALL = AuditQuery()


def entry(
    room: Room, action: str = "calls.read", about: str = "call:1", tenant: str = "default"
) -> AuditEntry:
    """Something that was done now."""
    who = Principal(tenant, OFFICER.subject, OFFICER.scopes, OFFICER.key_id)
    return AuditEntry.by(who, action, about, "ok", room.clock.now())


async def actions(audit: AuditLog, tenant: str = "default") -> list[str]:
    """Everything that was logged, oldest first."""
    entries, _ = await audit.read(tenant, ALL, before=None, limit=1_000)
    return [str(found.value["action"]) for found in reversed(entries)]


def test_entries_say_who_did_what_when() -> None:
    """Reads are written with the next batch, erasures at once; tenants have logs of their own."""

    async def scenario() -> None:
        room = Room()
        room.audit.note(entry(room))
        number, digest = await room.audit.write(entry(room, "erase", "call:2"))
        assert (number, room.audit.waiting) == (1, 1)
        room.audit.note(entry(room, tenant="acme"))
        await room.audit.flush()
        assert await actions(room.audit) == ["erase", "calls.read"]
        assert await actions(room.audit, "acme") == ["calls.read"]
        [first, second] = await room.memory.journal.read("default", NAME, after=0, limit=9)
        assert second.value["previous"] == first.value["hash"] == digest
        assert first.value["who"] == "officer@site"
        assert first.value["at"] == "2023-11-14T22:13:20.000Z"

    run(scenario())


@settings(max_examples=25)
@given(st.lists(st.integers(0, 2), min_size=1, max_size=30))
def test_processes_that_log_at_the_same_time_make_one_chain(who: list[int]) -> None:
    """Nothing is lost, nothing is twice, and it verifies."""

    async def scenario() -> None:
        room = Room()
        logs = [room.process()[0] for _ in range(3)]
        await asyncio.gather(
            *(logs[owner].write(entry(room, about=f"call:{number}")) for number, owner in enumerate(who))
        )
        entries, following = await room.audit.read("default", ALL, before=None, limit=100)
        assert following is None
        assert sorted(str(found.value["object"]) for found in entries) == sorted(
            f"call:{number}" for number in range(len(who))
        )
        check, complete = await room.audit.verify("default")
        assert (check.broken_at, check.entries, complete) == (None, len(who), True)

    run(scenario())


def test_a_log_that_is_away_waits_and_then_refuses_reads() -> None:
    """What was done before is written when it is back, once and in order; an erasure does not wait unseen."""

    async def scenario() -> None:
        room = Room(capacity=3)
        room.journal.away = True
        for number in range(3):
            room.audit.check_room()
            room.audit.note(entry(room, about=f"call:{number}"))
        await room.audit.flush()
        with pytest.raises(AuditFullError):
            room.audit.check_room()
        with pytest.raises(StoreAwayError):
            await room.audit.write(entry(room, "erase"))
        room.journal.away = False
        await room.audit.flush()
        room.audit.check_room()
        entries, _ = await room.audit.read("default", ALL, before=None, limit=9)
        assert [found.value["object"] for found in entries] == ["call:2", "call:1", "call:0"]

    run(scenario())


def test_an_entry_that_was_written_without_being_told_is_not_written_twice() -> None:
    """A store that goes away in the middle of a write may have done it."""

    async def scenario() -> None:
        room = Room()
        behind = room.journal.behind
        append = behind.append

        async def append_and_die(*place: object, **more: object) -> int:
            await append(*place, **more)
            behind.append = append
            raise StoreAwayError

        behind.append = append_and_die
        room.audit.note(entry(room))
        await room.audit.flush()
        assert room.audit.waiting == 1
        await room.audit.flush()
        assert (room.audit.waiting, await actions(room.audit)) == (0, ["calls.read"])

    run(scenario())


def test_a_writer_that_is_never_first_gives_up_and_keeps_the_entry() -> None:
    """It is tried again with the next batch."""

    async def scenario() -> None:
        room = Room()
        append = room.journal.behind.append

        async def lose(*_: object, **__: object) -> int:
            raise DocumentConflictError

        room.journal.behind.append = lose
        room.audit.note(entry(room))
        await room.audit.flush()
        with pytest.raises(DocumentConflictError):
            await room.audit.write(entry(room))
        room.journal.behind.append = append
        assert await actions(room.audit) == ["calls.read"]

    run(scenario())


def test_filters_and_pages() -> None:
    """Latest first, each entry on one page, and as much as was asked for."""

    async def scenario() -> None:
        room = Room()
        for number in range(12):
            action = "export" if number % 3 == 0 else "calls.read"
            await room.audit.write(entry(room, action, f"call:{number}"))
            room.clock.advance(10)
        start = room.clock.now() - 120
        for which, expected in (
            (ALL, list(range(12))),
            (AuditQuery(action="export"), [0, 3, 6, 9]),
            (AuditQuery(object="call:7"), [7]),
            (AuditQuery(since=start + 20, until=start + 50), [2, 3, 4]),
            (AuditQuery(action="nothing"), []),
        ):
            before, found = None, []
            while True:
                entries, before = await room.audit.read("default", which, before=before, limit=2, scan=5)
                found += [int(str(item.value["object"])[5:]) for item in entries]
                if before is None:
                    break
            assert found == sorted(expected, reverse=True)

    run(scenario())


def test_old_entries_leave_and_the_rest_still_verifies() -> None:
    """An entry says how many left; whoever takes out one more is found."""

    async def scenario() -> None:
        room = Room(audit_ttl_s=100.0)
        for _ in range(4):
            await room.audit.write(entry(room))
            room.clock.advance(40)
        assert await room.audit.trim("default") == 2
        assert await room.audit.trim("default") == 0
        assert (await actions(room.audit))[-1] == TRIM
        check, _ = await room.audit.verify("default")
        assert (check.broken_at, check.first, check.last) == (None, 3, 5)
        await room.memory.journal.trim("default", NAME, before=4)
        check, _ = await room.audit.verify("default")
        assert (check.broken_at, check.why) == (4, "entries before it are missing")

    run(scenario())


def test_a_changed_entry_is_found() -> None:
    """And where it is; long logs are checked in parts."""

    async def scenario() -> None:
        room = Room()
        for number in range(9):
            await room.audit.write(entry(room, about=f"call:{number}"))
        check, complete = await room.audit.verify("default", limit=4)
        assert (check.last, complete) == (9, True)  # one block is read whole
        check, complete = await room.audit.verify("default", after=6)
        assert (check.first, check.last, complete) == (7, 9, True)
        with pytest.raises(KeyError):
            await room.audit.verify("default", after=10)
        entries = room.memory.journal._lists["default", NAME]
        entries[4] = JournalEntry(5, {**entries[4].value, "who": "somebody else"})
        check, _ = await room.audit.verify("default")
        assert (check.broken_at, check.why) == (5, "it was changed")

    run(scenario())


def test_what_credentials_say_cannot_break_the_log() -> None:
    """Half characters and endless names are written as far as they can be."""

    async def scenario() -> None:
        room = Room()
        who = replace(OFFICER, subject="\ud800" + "x" * 1_000)
        await room.audit.write(AuditEntry.by(who, "erase", "*", "ok", room.clock.now()))
        [held] = await room.memory.journal.read("default", NAME, after=0, limit=9)
        assert str(held.value["who"]).startswith("?xxx")
        assert len(str(held.value["who"])) == 256

    run(scenario())


def test_it_writes_by_itself_and_at_the_end() -> None:
    """Every flush_s seconds; now and then what is old leaves, too."""

    async def scenario() -> None:
        room = Room(audit_ttl_s=5_000.0)

        async def last_is(number: int) -> bool:
            last = await room.memory.journal.last("default", NAME)
            return last is not None and last.number == number

        async with room.audit.running():
            room.audit.note(entry(room))
            await until(lambda: last_is(1))
            room.clock.advance(6_000)
            await until(lambda: last_is(2))
            room.audit.note(entry(room, about="call:2"))
            room.audit.note(entry(room, about="call:2"))
        assert await actions(room.audit) == [TRIM, "calls.read", "calls.read"]

    run(scenario())


def test_what_cannot_be_written_at_the_end_is_said_to_be_lost() -> None:
    """How much, and nothing of what it was."""

    async def scenario() -> None:
        room = Room()
        room.journal.away = True
        async with room.audit.running():
            room.audit.note(entry(room))
        assert room.audit.waiting == 1

    with capture_logs() as logs:
        run(scenario())
    assert [(event["event"], event["count"]) for event in logs] == [("audit_entries_lost", 1)]
