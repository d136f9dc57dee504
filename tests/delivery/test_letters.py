"""Dead letters: written once, erased with their call, sent again."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from app.delivery.dispatch import QUEUE, Delivery
from app.delivery.letters import DeadLetters, Failure, LetterState, letter_id
from app.delivery.sender import Message
from app.results.documents import DocumentNotFoundError, Job
from app.results.memory import MemoryStores
from app.results.store import StoreAwayError
from app.results.writes import Enqueue, EraseCall
from tests.support.clock import FakeClock

FAILURE = Failure("rejected", 500, "HTTP 500")


class Desk:
    """Letters over a store in memory."""

    def __init__(self) -> None:
        self.clock = FakeClock()
        self.stores = MemoryStores(self.clock)
        self.letters = DeadLetters(
            self.stores.documents, self.stores.queue, self.stores.results, self.clock, 1_000.0
        )

    async def job(self, number: int = 1, endpoint: str = "we_1") -> tuple[Job, Delivery]:
        """A job in this worker's hands."""
        delivery = Delivery(
            endpoint, Message(f"msg_{number}", "utterance", "2026-01-02T03:04:05Z", {"secret": "a"}), 3
        )
        key = f"{endpoint}:call-1:{number}"
        work = Enqueue("acme", QUEUE, key, delivery.payload(), self.clock.now(), "call-1")
        await self.stores.results.write([work])
        return await self.claim(), delivery

    async def claim(self) -> Job:
        """The job that is due."""
        (job,) = await self.claim_all()
        return job

    async def claim_all(self) -> list[Job]:
        """Whatever is due."""
        now = self.clock.now()
        return await self.stores.queue.claim("acme", QUEUE, now=now, lease_s=60.0, limit=10)

    async def erase(self) -> None:
        """The call is erased."""
        await self.stores.results.write([EraseCall("acme", "call-1")])

    async def held(self) -> list[Any]:
        """Documents of the call, the marks included."""
        page = await self.stores.documents.list("acme", "dead_letter")
        return [document.value for document in page.items]

    async def bury(self, number: int = 1, endpoint: str = "we_1") -> None:
        """A job becomes a letter."""
        job, delivery = await self.job(number, endpoint)
        await self.letters.mark(job, delivery, FAILURE)
        assert await self.letters.bury(await self.claim(), delivery)


def test_a_job_becomes_a_letter() -> None:
    """It keeps what was to be delivered and why it was not; the job goes."""

    async def use() -> None:
        desk = Desk()
        await desk.bury()
        (letter,) = (await desk.letters.list("acme")).items
        assert letter == await desk.letters.get("acme", letter.id)
        assert (letter.state, letter.failure, letter.redrives) == (LetterState.DEAD, FAILURE, 0)
        assert letter.delivery.message.data == {"secret": "a"}
        assert letter.delivery.tries == 3
        assert letter.failed_at == desk.clock.now()
        assert await desk.stores.queue.depth("acme", QUEUE) == 0
        assert await desk.letters.count("acme") == 1
        assert (await desk.letters.list("other")).items == ()
        desk.clock.advance(1_000.0)
        assert (await desk.letters.list("acme")).items == ()

    asyncio.run(use())


def test_a_mark_is_shown_to_nobody() -> None:
    """It holds nothing, and goes by itself."""

    async def use() -> None:
        desk = Desk()
        job, delivery = await desk.job()
        await desk.letters.mark(job, delivery, FAILURE)
        assert await desk.held() == [{"state": "marked"}]
        assert (await desk.letters.list("acme")).items == ()
        assert await desk.letters.count("acme") == 0
        with pytest.raises(DocumentNotFoundError):
            await desk.letters.get("acme", letter_id(delivery))
        desk.clock.advance(601.0)
        assert await desk.held() == []

    asyncio.run(use())


@pytest.mark.parametrize("when", ["before the mark", "after the mark", "after the claim", "at the end"])
def test_what_is_erased_stays_away(when: str) -> None:
    """Whenever the call is erased while a worker holds the job, nothing of it is left in the end."""

    async def use() -> None:
        desk = Desk()
        job, delivery = await desk.job()
        if when == "before the mark":
            await desk.erase()
        await desk.letters.mark(job, delivery, FAILURE)
        if when == "after the mark":
            await desk.erase()
        claimed = await desk.claim_all()
        assert len(claimed) == (0 if when in ("before the mark", "after the mark") else 1)
        for again in claimed:
            if when == "after the claim":
                await desk.erase()
            if not await desk.letters.bury(again, delivery):
                await desk.letters.mark(again, delivery, FAILURE)
        if when == "at the end":
            await desk.erase()
        assert await desk.claim_all() == []
        assert await desk.stores.queue.depth("acme", QUEUE) == 0
        assert "secret" not in str(await desk.held())
        desk.clock.advance(601.0)
        assert await desk.held() == []

    asyncio.run(use())


def test_a_letter_is_written_once_however_often_its_worker_dies() -> None:
    """After the mark, and after the letter before the job went; a mark that expired is made again."""

    async def use() -> None:
        desk = Desk()
        job, delivery = await desk.job()
        await desk.letters.mark(job, delivery, FAILURE)
        desk.clock.advance(601.0)
        job = await desk.claim()
        assert not await desk.letters.bury(job, delivery)
        await desk.letters.mark(job, delivery, FAILURE)
        job = await desk.claim()
        assert await desk.letters.bury(job, delivery)
        assert await desk.letters.bury(job, delivery)
        assert len((await desk.letters.list("acme")).items) == 1

    asyncio.run(use())


def test_letters_are_listed_by_endpoint_and_page() -> None:
    """Each once; removed one by one or all of an endpoint."""

    async def use() -> None:
        desk = Desk()
        for number in range(5):
            await desk.bury(number, "we_1" if number % 2 else "we_2")
        found: list[str] = []
        cursor = None
        while True:
            page = await desk.letters.list("acme", cursor=cursor, limit=2)
            found += [letter.id for letter in page.items]
            cursor = page.next
            if cursor is None:
                break
        assert len(set(found)) == len(found) == 5
        assert len((await desk.letters.list("acme", endpoint="we_1")).items) == 2
        assert await desk.letters.delete_all("acme", "we_2") == 3
        assert await desk.letters.delete("acme", (await desk.letters.list("acme")).items[0].id)
        assert await desk.letters.count("acme") == 1

    asyncio.run(use())


def test_a_letter_is_put_back_once() -> None:
    """The job only names it; asked again while it is queued nothing happens; a job that got lost is made again."""

    async def use() -> None:
        desk = Desk()
        await desk.bury()
        (letter,) = (await desk.letters.list("acme")).items
        assert await desk.letters.redrive("acme", letter)
        assert not await desk.letters.redrive("acme", letter)
        queued = await desk.letters.get("acme", letter.id)
        assert (queued.state, queued.redrives) == (LetterState.QUEUED, 1)
        assert not await desk.letters.redrive("acme", queued)
        job = await desk.claim()
        assert job.payload == {"endpoint": "we_1", "letter": letter.id, "tries": 0}
        assert job.call_id == "call-1"
        assert await desk.letters.count("acme") == 0
        await desk.letters.keep("acme", queued, 2, Failure("timeout"))
        await desk.stores.queue.done(job)
        kept = await desk.letters.get("acme", letter.id)
        assert (kept.state, kept.delivery.tries, kept.failure.reason) == (LetterState.DEAD, 5, "timeout")
        assert await desk.letters.redrive_all("acme", "we_1") == 1
        assert (await desk.claim()).payload["letter"] == letter.id

    asyncio.run(use())


def test_a_fault_between_the_two_steps_costs_no_letter() -> None:
    """The store goes away after the letter was marked as queued: asking again makes the job."""

    async def use() -> None:
        desk = Desk()
        await desk.bury()
        (letter,) = (await desk.letters.list("acme")).items

        class Away:
            async def write(self, _: object) -> list[StoreAwayError]:
                return [StoreAwayError("away")]

        away = DeadLetters(desk.stores.documents, desk.stores.queue, Away(), desk.clock, 1_000.0)  # type: ignore[arg-type]
        with pytest.raises(StoreAwayError):
            await away.redrive("acme", letter)
        queued = await desk.letters.get("acme", letter.id)
        assert queued.state is LetterState.QUEUED
        assert await desk.letters.redrive("acme", queued)
        assert (await desk.claim()).payload["letter"] == letter.id

    asyncio.run(use())


def test_a_letter_that_was_erased_while_it_was_sent_again_stays_away() -> None:
    """It is not written back."""

    async def use() -> None:
        desk = Desk()
        await desk.bury()
        (letter,) = (await desk.letters.list("acme")).items
        await desk.erase()
        await desk.letters.keep("acme", letter, 1, FAILURE)
        assert await desk.held() == []
        assert not await desk.letters.redrive("acme", letter)
        assert await desk.claim_all() == []

    asyncio.run(use())
