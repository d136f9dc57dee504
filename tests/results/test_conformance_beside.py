"""Every store keeps documents, due work and journals the way `app.results.documents` says."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from app.results.documents import Document, DocumentConflictError, DocumentNotFoundError, Job, JournalEntry
from app.results.store import Stored
from app.results.writes import Enqueue
from tests.results.conformance import NOW, Play, World


async def keys(world: World, limit: int = 100, kind: str = "note", **which: Any) -> list[str]:
    """Every key of a list of documents, page by page."""
    found: list[str] = []
    cursor = None
    while True:
        page = await world.stores.documents.list(world.tenant, kind, cursor=cursor, limit=limit, **which)
        found += [document.key for document in page.items]
        if page.next is None:
            return found
        cursor = page.next


def test_a_document_is_put_got_and_deleted(play: Play) -> None:
    """A document reads back whole with its version, and is gone once it was deleted."""

    async def scenario(world: World) -> None:
        documents = world.stores.documents
        value = {"deep": [{"a": None}], "n": 1.5}
        assert await documents.put(world.tenant, "note", "k é:{}", value) == Document("k é:{}", value, 1)
        put = await documents.put(world.tenant, "note", "k é:{}", {"b": 2}, call_id="c")
        assert put == Document("k é:{}", {"b": 2}, 2, "c")
        assert await documents.get(world.tenant, "note", "k é:{}") == put
        with pytest.raises(DocumentNotFoundError):
            await documents.get(world.tenant, "other", "k é:{}")
        assert await documents.delete(world.tenant, "note", "k é:{}")
        assert not await documents.delete(world.tenant, "note", "k é:{}")
        with pytest.raises(DocumentNotFoundError):
            await documents.get(world.tenant, "note", "k é:{}")
        assert await keys(world) == []

    play(scenario)


def test_only_the_expected_version_is_replaced(play: Play) -> None:
    """Of two that change the same version one is refused; 0 expects that there is none."""

    async def scenario(world: World) -> None:
        documents = world.stores.documents
        await documents.put(world.tenant, "note", "k", {"a": 1}, expected_version=0)
        for expected in (0, 2):
            with pytest.raises(DocumentConflictError):
                await documents.put(world.tenant, "note", "k", {"a": 2}, expected_version=expected)
        put = await documents.put(world.tenant, "note", "k", {"a": 3}, expected_version=1)
        assert (put.version, (await documents.get(world.tenant, "note", "k")).value) == (2, {"a": 3})

    play(scenario)


def test_documents_are_listed_by_key(play: Play) -> None:
    """Lists are in the order of code points, page by page, of a kind, or of one call within the kind."""

    async def scenario(world: World) -> None:
        documents = world.stores.documents
        names = ["b", "a", "Z", "aa", "é", "€", "\U0001f600", "0", "ab:c", "note;x"]
        for number, name in enumerate(names):
            call_id = None if number % 2 else "call-1"
            await documents.put(world.tenant, "note", name, {"n": number}, call_id=call_id)
        await documents.put(world.tenant, "notes", "other", {}, call_id="call-1")
        for limit in (1, 3, 10, 100):
            assert await keys(world, limit) == sorted(names)
            assert await keys(world, limit, call_id="call-1") == sorted(names[::2])
        assert await keys(world, 1, call_id="unknown") == []
        page = await documents.list(world.tenant, "note", limit=3)
        await documents.delete(world.tenant, "note", page.items[-1].key)
        page = await documents.list(world.tenant, "note", limit=100, cursor=page.next)
        assert [document.key for document in page.items] == sorted(names)[3:]
        await documents.put(world.tenant, "note", "b", {}, call_id="call-2")
        assert await keys(world, call_id="call-2") == ["b"]
        assert "b" not in await keys(world, call_id="call-1")

    play(scenario)


def test_a_document_expires(play: Play) -> None:
    """A document with a time to live goes after it, from the lists too; a later one without it stays."""

    async def scenario(world: World) -> None:
        documents = world.stores.documents
        await documents.put(world.tenant, "note", "short", {}, ttl_s=0.2, call_id="c")
        await documents.put(world.tenant, "note", "kept", {}, ttl_s=0.2, call_id="c")
        await documents.put(world.tenant, "note", "kept", {}, call_id="c")
        await documents.put(world.tenant, "note", "long", {}, ttl_s=600.0)

        async def gone() -> list[str] | None:
            found = await keys(world)
            return found if "short" not in found else None

        assert await world.after(0.2, gone) == ["kept", "long"]
        assert await keys(world, call_id="c") == ["kept"]
        assert (await documents.put(world.tenant, "note", "short", {})).version == 1

    play(scenario)


def work(world: World, key: str, due_at: float, call_id: str | None = None) -> Enqueue:
    """Work for later."""
    return Enqueue(world.tenant, "hooks", key, {"key": key}, due_at, call_id)


def test_due_work_is_given_out_earliest_first(play: Play) -> None:
    """Work comes when it is due, to one worker at a time, and again when the lease is over."""

    async def scenario(world: World) -> None:
        results, queue = world.stores.results, world.stores.queue

        async def claim(now: float, limit: int = 10) -> list[Job]:
            return await queue.claim(world.tenant, "hooks", now=now, lease_s=10.0, limit=limit)

        await results.write(
            [work(world, "b", NOW + 2), work(world, "a é", NOW + 1), work(world, "c", NOW + 9)]
        )
        assert await queue.depth(world.tenant, "hooks") == 3
        assert await claim(NOW) == []
        first = Job(world.tenant, "hooks", "a é", {"key": "a é"}, 1)
        assert await claim(NOW + 3, 1) == [first]
        assert [job.key for job in await claim(NOW + 3)] == ["b"]
        assert await claim(NOW + 3) == []
        assert await claim(NOW + 13, 1) == [replace(first, key="c", payload={"key": "c"})]
        again = await claim(NOW + 13)
        assert [(job.key, job.attempts) for job in again] == [("a é", 2), ("b", 2)]
        await queue.done(again[0])
        assert await queue.depth(world.tenant, "hooks") == 2
        assert await queue.depth(world.tenant, "other") == 0

    play(scenario)


def test_a_key_is_queued_once(play: Play) -> None:
    """A key that waits, or was done lately, is not queued again; another queue does not know it."""

    async def scenario(world: World) -> None:
        results, queue = world.stores.results, world.stores.queue

        async def enqueue(name: str = "hooks") -> bool:
            (answer,) = await results.write([replace(work(world, "a", NOW), queue=name)])
            assert isinstance(answer, Stored)
            return not answer.duplicate

        assert [await enqueue(), await enqueue(), await enqueue("other")] == [True, False, True]
        (job,) = await queue.claim(world.tenant, "hooks", now=NOW, lease_s=1.0, limit=1)
        await queue.done(job)
        assert not await enqueue()
        assert await queue.depth(world.tenant, "hooks") == 0

    play(scenario)


def test_work_is_postponed_but_not_when_it_is_gone(play: Play) -> None:
    """Postponed work comes later with its new payload; work that was done or erased meanwhile stays away."""

    async def scenario(world: World) -> None:
        results, queue = world.stores.results, world.stores.queue
        await results.write([work(world, "a", NOW), work(world, "b", NOW, "call-1"), work(world, "c", NOW)])
        jobs = await queue.claim(world.tenant, "hooks", now=NOW, lease_s=1.0, limit=10)
        assert [job.call_id for job in jobs] == [None, "call-1", None]
        await queue.done(jobs[2])
        await results.write([world.erasing()])
        for job in jobs:
            await queue.postpone(job, due_at=NOW + 50, payload={"try": 2})
        assert await queue.claim(world.tenant, "hooks", now=NOW + 49, lease_s=1.0, limit=10) == []
        later = await queue.claim(world.tenant, "hooks", now=NOW + 50, lease_s=1.0, limit=10)
        assert later == [Job(world.tenant, "hooks", "a", {"try": 2}, 2)]
        await queue.done(jobs[1])
        assert await queue.depth(world.tenant, "hooks") == 1

    play(scenario)


def test_a_journal_numbers_its_entries(play: Play) -> None:
    """Entries are numbered without holes, read in order, and appended only after the one expected."""

    async def scenario(world: World) -> None:
        journal = world.stores.journal
        assert await journal.last(world.tenant, "audit") is None
        assert await journal.read(world.tenant, "audit", after=0, limit=10) == ()
        for number in range(1, 6):
            value = {"n": number, "of": None}
            assert await journal.append(world.tenant, "audit", value, expected_last=number - 1) == number
        with pytest.raises(DocumentConflictError):
            await journal.append(world.tenant, "audit", {}, expected_last=4)
        assert await journal.append(world.tenant, "other", {}) == 1
        entries = await journal.read(world.tenant, "audit", after=2, limit=2)
        assert entries == (JournalEntry(3, {"n": 3, "of": None}), JournalEntry(4, {"n": 4, "of": None}))
        assert await journal.last(world.tenant, "audit") == JournalEntry(5, {"n": 5, "of": None})
        assert await journal.read(world.tenant, "audit", after=5, limit=2) == ()

    play(scenario)


def test_a_journal_is_trimmed_at_its_old_end(play: Play) -> None:
    """Old entries go, the numbers go on, also when nothing is left."""

    async def scenario(world: World) -> None:
        journal = world.stores.journal
        assert await journal.trim(world.tenant, "audit", before=10) == 0
        for _ in range(5):
            await journal.append(world.tenant, "audit", {})
        assert await journal.trim(world.tenant, "audit", before=3) == 2
        assert await journal.trim(world.tenant, "audit", before=3) == 0
        entries = await journal.read(world.tenant, "audit", after=0, limit=2)
        assert [entry.number for entry in entries] == [3, 4]
        assert await journal.trim(world.tenant, "audit", before=100) == 3
        assert await journal.last(world.tenant, "audit") is None
        assert await journal.append(world.tenant, "audit", {}, expected_last=5) == 6
        assert [entry.number for entry in await journal.read(world.tenant, "audit", after=0, limit=2)] == [6]

    play(scenario)
