"""Deliveries to real receivers on loopback, with time moved by hand."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from dataclasses import replace
from threading import Event

import pytest
from standardwebhooks import Webhook

from app.delivery.desk import CallEvent
from app.delivery.dispatch import Event as Happening
from app.delivery.hooks import Filter, WebhookEndpoint
from app.delivery.letters import LetterState
from app.results.documents import DocumentNotFoundError
from app.results.store import CallInfo, StoreAwayError
from app.results.writes import Enqueue, EraseCall
from tests.delivery.parts import HOST, TENANT, Place, said
from tests.delivery.receiver import Answer, Received, Receiver, receiving
from tests.support.clock import FakeClock
from tests.support.server import eventually

CLAIMED = "kowairo_webhook_deliveries_total"


async def endpoint_at(place: Place, port: int, which: Filter | None = None) -> WebhookEndpoint:
    """An endpoint at a receiver."""
    return await place.desk.hooks.create(TENANT, f"http://{HOST}:{port}/", which=which or Filter())


async def waiting(look: Callable[[], bool]) -> None:
    """Returns when it is so; the loop goes on meanwhile."""
    await asyncio.to_thread(eventually, lambda: look() or None)


def with_receiver(
    use: Callable[[Receiver, int], Awaitable[None]], answer: Callable[[Received], Answer] = lambda _: Answer()
) -> None:
    """Runs a test that has a receiver."""
    with receiving(answer) as (receiver, port):
        asyncio.run(use(receiver, port))  # type: ignore[arg-type]


def test_a_record_is_delivered_signed() -> None:
    """From the record to a receiver that checks it with the scheme's own package."""

    async def use(receiver: Receiver, port: int) -> None:
        place = Place(clock=FakeClock(time.time()))
        endpoint = await endpoint_at(place, port)
        call = await place.open_call()
        await place.record(call, said(1))
        assert await place.deliver() == 1
        (request,) = receiver.received
        payload = Webhook(endpoint.secret).verify(request.body, dict(request.headers))
        assert payload["type"] == "utterance"
        assert payload["data"]["utterance_id"] == "call-1.customer.0001"
        assert await place.depth() == 0
        assert place.sample(CLAIMED, outcome="delivered") == 1
        assert place.sample("kowairo_webhook_delivery_seconds_count") == 1

    with_receiver(use)


def test_repeats_are_delivered_once() -> None:
    """The same record again, and the same event."""

    async def use(receiver: Receiver, port: int) -> None:
        place = Place()
        await endpoint_at(place, port)
        call = await place.open_call()
        for _ in range(3):
            await place.record(call, said(1))
            await place.deliver()
        assert len(receiver.received) == 1

    with_receiver(use)


def test_a_failed_delivery_is_tried_on_schedule_and_given_up() -> None:
    """The same message each time, nothing before its time, a dead letter at the end."""

    async def use(receiver: Receiver, port: int) -> None:
        place = Place(retry_s=(5.0, 300.0))
        await endpoint_at(place, port)
        await place.record(await place.open_call(), said(1))
        await place.deliver()
        assert await place.deliver() == 0
        place.clock.advance(5.0)
        await place.deliver()
        assert len(receiver.received) == 2
        place.clock.advance(300.0)
        await place.deliver()
        assert len(receiver.received) == 3
        assert len({one.headers["webhook-id"] for one in receiver.received}) == 1
        assert len({one.body for one in receiver.received}) == 1
        assert len({one.headers["webhook-timestamp"] for one in receiver.received}) == 3
        (letter,) = (await place.desk.letters.list(TENANT)).items
        assert (letter.failure.reason, letter.failure.status, letter.delivery.tries) == ("rejected", 500, 3)
        assert letter.call_id == "call-1"
        assert await place.depth() == 0
        await place.desk.count_letters()
        assert place.sample("kowairo_webhook_dead_letters") == 1
        assert place.sample(CLAIMED, outcome="rejected") == 3

    with_receiver(use, lambda _: Answer(500))


def test_a_receiver_is_left_alone_for_as_long_as_it_asks() -> None:
    """`Retry-After` wins over a shorter delay."""

    async def use(receiver: Receiver, port: int) -> None:
        place = Place(retry_s=(5.0,))
        await endpoint_at(place, port)
        await place.record(await place.open_call(), said(1))
        await place.deliver()
        place.clock.advance(119.0)
        assert await place.deliver() == 0
        place.clock.advance(1.0)
        assert await place.deliver() > 0
        assert len(receiver.received) == 2

    with_receiver(use, lambda _: Answer(503, {"Retry-After": "120"}))


def test_an_endpoint_that_is_gone_is_disabled() -> None:
    """410: what was for it is kept as dead letters, which can be sent once it is back."""

    async def use(receiver: Receiver, port: int) -> None:
        place = Place(max_per_endpoint=1)
        endpoint = await endpoint_at(place, port)
        call = await place.open_call()
        for number in (1, 2):
            await place.record(call, said(number))
        place.clock.advance(10.0)
        await place.exhaust()
        assert len(receiver.received) == 1
        gone = await place.desk.hooks.get(TENANT, endpoint.id)
        assert (gone.enabled, gone.disabled_reason) == (False, "gone")
        letters = (await place.desk.letters.list(TENANT)).items
        assert sorted(letter.failure.reason for letter in letters) == ["disabled", "gone"]
        assert await place.desk.follow_ups(TENANT, call, said(3)) == []
        receiver.answer = lambda _: Answer(204)
        await place.desk.hooks.change(TENANT, endpoint.id, lambda one: replace(one, enabled=True))
        assert await place.desk.letters.redrive_all(TENANT, endpoint.id) == 2
        await place.exhaust()
        assert len(receiver.received) == 3
        assert (await place.desk.letters.list(TENANT)).items == ()

    with_receiver(use, lambda _: Answer(410))


def test_what_was_for_a_deleted_endpoint_goes() -> None:
    """Without another attempt, and without a letter; also a letter that was put back."""

    async def use(receiver: Receiver, port: int) -> None:
        place = Place(retry_s=())
        endpoint = await endpoint_at(place, port)
        call = await place.open_call()
        await place.record(call, said(1))
        await place.deliver()
        await place.desk.letters.redrive_all(TENANT, endpoint.id)
        await place.record(call, said(2))
        await place.desk.hooks.delete(TENANT, endpoint.id)
        await place.deliver()
        assert len(receiver.received) == 1
        assert await place.depth() == 0
        assert (await place.stores.documents.list(TENANT, "dead_letter")).items == ()

    with_receiver(use, lambda _: Answer(500))


def test_a_letter_that_fails_again_stays_a_letter() -> None:
    """All tries are made anew; it knows how many there were."""

    async def use(receiver: Receiver, port: int) -> None:
        place = Place(retry_s=(5.0,))
        endpoint = await endpoint_at(place, port)
        await place.record(await place.open_call(), said(1))
        for _ in range(2):
            await place.deliver()
            place.clock.advance(5.0)
        await place.desk.letters.redrive_all(TENANT, endpoint.id)
        for _ in range(2):
            await place.deliver()
            place.clock.advance(5.0)
        (letter,) = (await place.desk.letters.list(TENANT)).items
        assert (letter.state, letter.redrives, letter.delivery.tries) == (LetterState.DEAD, 1, 4)
        assert len({one.headers["webhook-id"] for one in receiver.received}) == 1
        assert len(receiver.received) == 4

    with_receiver(use, lambda _: Answer(500))


def test_a_worker_that_dies_loses_its_jobs_to_another() -> None:
    """After the lease, not before; the receiver knows the repeat by its id."""

    async def use(receiver: Receiver, port: int) -> None:
        place = Place()
        await endpoint_at(place, port)
        await place.record(await place.open_call(), said(1))
        answer_now = Event()
        receiver.answer = lambda _: Answer(after=answer_now)
        await place.desk.worker.look()
        await waiting(lambda: len(receiver.received) == 1)
        await place.desk.worker.drain(0.0)
        answer_now.set()
        assert place.desk.worker.busy == 0
        other = Place(place.stores, place.clock)
        assert await other.deliver() == 0
        place.clock.advance(41.0)
        assert await other.deliver() == 1
        assert await other.depth() == 0
        first, second = receiver.messages
        assert first == second

    with_receiver(use)


def test_an_erased_calls_deliveries_are_gone() -> None:
    """Those that wait to be tried again, the dead letters, and those put back."""

    async def use(receiver: Receiver, port: int) -> None:
        place = Place(retry_s=())
        endpoint = await endpoint_at(place, port)
        call = await place.open_call()
        for number in (1, 2):
            await place.record(call, said(number))
            await place.deliver()
        first = (await place.desk.letters.list(TENANT)).items[0]
        await place.desk.letters.redrive(TENANT, first)
        await place.record(call, said(3))
        await place.end_call(call)
        await place.stores.results.write([EraseCall(TENANT, "call-1")])
        seen = len(receiver.received)
        place.clock.advance(100.0)
        assert await place.deliver() == 0
        assert await place.depth() == 0
        assert (await place.stores.documents.list(TENANT, "dead_letter")).items == ()
        assert len(receiver.received) == seen
        assert (await place.desk.hooks.get(TENANT, endpoint.id)).enabled

    with_receiver(use, lambda _: Answer(500))


def test_a_letter_whose_call_is_erased_after_it_was_put_back_is_not_sent() -> None:
    """The job is claimed, the letter is not there any more."""

    async def use(receiver: Receiver, port: int) -> None:
        place = Place()
        endpoint = await endpoint_at(place, port)
        payload = {"endpoint": endpoint.id, "letter": "dl_1", "tries": 0}
        work = Enqueue(TENANT, "webhook", "dl_1#1", payload, place.clock.now(), "call-1")
        await place.open_call()
        await place.stores.results.write([work])
        assert await place.deliver() == 1
        assert receiver.received == []
        assert await place.depth() == 0

    with_receiver(use)


def test_one_slow_endpoint_never_holds_up_others() -> None:
    """It has a backlog much longer than there are places; the others' deliveries go out while it answers nothing."""

    async def use(receiver: Receiver, port: int) -> None:
        place = Place(max_parallel=8, max_per_endpoint=2, timeout_s=120.0)
        answer_now = Event()
        receiver.answer = lambda _: Answer(after=answer_now)
        call = await place.open_call()
        slow = await endpoint_at(place, port)
        for number in range(1, 81):
            await place.record(call, said(number))
        await place.desk.hooks.change(
            TENANT, slow.id, lambda one: replace(one, filter=Filter(types=("call_erased",)))
        )
        with receiving() as (quick, quick_port):
            await endpoint_at(place, quick_port)
            for number in range(81, 101):
                await place.record(call, said(number))
            for _ in range(100):
                await place.desk.worker.look()
                await waiting(lambda: place.desk.worker.busy <= 2)
                if len(quick.received) == 20:
                    break
                place.clock.advance(0.1)
            assert len(quick.received) == 20
            assert place.desk.worker.busy == 2
            assert len(receiver.received) == 2
        answer_now.set()
        await place.desk.worker.settle()
        await place.exhaust()
        assert len({number for number, _ in receiver.messages}) == 80

    with_receiver(use)


def test_attempts_are_bounded_in_all() -> None:
    """However many endpoints there are; the rest is left in the queue for others."""

    async def use(receiver: Receiver, port: int) -> None:
        place = Place(max_parallel=3, max_per_endpoint=2)
        answer_now = Event()
        receiver.answer = lambda _: Answer(after=answer_now)
        for _ in range(5):
            await endpoint_at(place, port)
        await place.record(await place.open_call(), said(1))
        assert await place.desk.worker.look() == 3
        assert await place.desk.worker.look() == 0
        assert (place.desk.worker.busy, await place.depth()) == (3, 5)
        answer_now.set()
        await place.desk.worker.settle()
        await place.deliver()
        assert len(receiver.received) == 5

    with_receiver(use)


def test_no_tenant_takes_all_places() -> None:
    """Where there are several, each gets at most half of them."""

    async def use(receiver: Receiver, port: int) -> None:
        place = Place(max_parallel=4, max_per_endpoint=4)
        answer_now = Event()
        receiver.answer = lambda _: Answer(after=answer_now)
        call = await place.open_call()
        for tenant in (TENANT, "other"):
            await place.desk.hooks.create(tenant, f"http://{HOST}:{port}/{tenant}", which=Filter())
            for number in range(1, 7):
                await place.stores.results.write(await place.desk.follow_ups(tenant, call, said(number)))
        await place.desk.worker.look()
        await waiting(lambda: len(receiver.received) == 4)
        assert sorted(one.path for one in receiver.received) == ["/acme"] * 2 + ["/other"] * 2
        answer_now.set()
        await place.desk.worker.settle()

    with_receiver(use)


def test_an_endpoint_made_elsewhere_is_found() -> None:
    """What this process remembers of the endpoints is older than the job."""

    async def use(receiver: Receiver, port: int) -> None:
        here = Place()
        there = Place(here.stores, here.clock)
        call = await here.open_call()
        assert await here.desk.hooks.known(TENANT) == ()
        await endpoint_at(there, port)
        await there.record(call, said(1))
        await here.deliver()
        assert len(receiver.received) == 1

    with_receiver(use)


def test_an_event_whose_endpoints_nobody_knew_is_delivered() -> None:
    """They are chosen when the job is due."""

    async def use(receiver: Receiver, port: int) -> None:
        place = Place()
        await place.open_call()
        await endpoint_at(place, port, Filter(lines=("sales",)))
        await endpoint_at(place, port, Filter(lines=("help",)))
        event = {"type": "call_ended", "call_id": "call-1", "line": "sales", "team": None, "body": {"a": 1}}
        payload = {"event": {**event, "unique": "call_ended:1", "at": place.clock.now()}}
        await place.stores.results.write(
            [Enqueue(TENANT, "webhook", "?:call-1:1", payload, place.clock.now(), "call-1")]
        )
        await place.deliver()
        (request,) = receiver.received
        assert request.json["data"] == {"a": 1}
        assert await place.depth() == 0
        assert Happening(**payload["event"]).line == "sales"

    with_receiver(use)


def test_a_store_that_goes_away_costs_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """The delivery is made; that it was made cannot be noted, so it is made again."""

    async def use(receiver: Receiver, port: int) -> None:
        place = Place()
        await endpoint_at(place, port)
        await place.record(await place.open_call(), said(1))

        async def away(_: object) -> None:
            raise StoreAwayError("away")

        with monkeypatch.context() as patch:
            patch.setattr(place.stores.queue, "done", away)
            await place.deliver()
        assert await place.depth() == 1
        place.clock.advance(41.0)
        await place.deliver()
        assert await place.depth() == 0
        first, second = receiver.messages
        assert first == second

    with_receiver(use)


def test_a_tenant_without_endpoints_is_seldom_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    """Until something is queued for it."""

    async def use(receiver: Receiver, port: int) -> None:
        place = Place()
        call: CallInfo = await place.open_call()
        asked = []
        claim = place.stores.queue.claim

        async def counted(tenant: str, queue: str, **options: object) -> object:
            asked.append(tenant)
            return await claim(tenant, queue, **options)  # type: ignore[arg-type]

        monkeypatch.setattr(place.stores.queue, "claim", counted)
        for _ in range(10):
            await place.desk.worker.look()
            place.clock.advance(1.0)
        assert len(asked) == 1
        await endpoint_at(place, port)
        await place.stores.results.write(
            await place.desk.follow_ups(TENANT, call, CallEvent("call_ended", {}, place.clock.now()))
        )
        await place.deliver()
        assert len(receiver.received) == 1

    with_receiver(use)


def test_a_job_that_cannot_be_read_harms_no_other() -> None:
    """It is left where it is, and logged."""

    async def use(receiver: Receiver, port: int) -> None:
        place = Place()
        endpoint = await endpoint_at(place, port)
        call = await place.open_call()
        await place.stores.results.write(
            [Enqueue(TENANT, "webhook", "odd", {"endpoint": endpoint.id}, place.clock.now())]
        )
        await place.record(call, said(1))
        await place.deliver()
        assert len(receiver.received) == 1
        assert await place.depth() == 1
        with pytest.raises(DocumentNotFoundError):
            await place.desk.letters.get(TENANT, "odd")

    with_receiver(use)
