"""What becomes of an event."""

from __future__ import annotations

import asyncio

from app.delivery.dispatch import Delivery, Dispatcher, Event, event_of, message_id
from app.delivery.hooks import Filter, HookBook
from app.results.memory import MemoryStores
from app.results.memory_beside import MemoryDocuments
from app.results.store import StoreAwayError
from app.telemetry.tracing import NullTracer
from tests.support.clock import FakeClock

EVENT = Event("call_ended", "call-1", "sales", None, {"call_id": "call-1"}, "call_ended:5", 1_700_000_000.0)


def test_every_endpoint_that_wants_an_event_gets_a_job_of_its_own() -> None:
    """The disabled and those that filter it out get none; asked again, the jobs are the same."""

    async def use() -> None:
        clock = FakeClock()
        stores = MemoryStores(clock)
        book = HookBook(stores.documents, clock, 5.0)
        wants = await book.create("acme", "https://hooks.example/", which=Filter())
        await book.create("acme", "https://hooks.example/", which=Filter(types=("alert",)))
        await book.create("acme", "https://hooks.example/", which=Filter(), enabled=False)
        dispatcher = Dispatcher(book, clock, NullTracer())
        (work,) = await dispatcher.writes_for("acme", EVENT)
        assert (work.tenant, work.queue, work.call_id) == ("acme", "webhook", "call-1")
        assert work.key == f"{wants.id}:call-1:call_ended:5"
        assert work.due_at == clock.now()
        assert work.payload == {
            "endpoint": wants.id,
            "tries": 0,
            "id": message_id(work.key),
            "type": "call_ended",
            "timestamp": "2023-11-14T22:13:20.000Z",
            "data": {"call_id": "call-1"},
        }
        assert Delivery.from_payload(work.payload).payload() == work.payload
        again = await dispatcher.writes_for("acme", EVENT)
        assert again == [work]
        await stores.results.write([work, *again])
        assert await stores.queue.depth("acme", "webhook") == 1
        assert await dispatcher.writes_for("other", EVENT) == []

    asyncio.run(use())


def test_the_news_of_an_erasure_survives_it() -> None:
    """It belongs to no call, and holds nothing but the id."""

    async def use() -> None:
        clock = FakeClock()
        book = HookBook(MemoryStores(clock).documents, clock, 5.0)
        await book.create("acme", "https://hooks.example/", which=Filter())
        event = Event("call_erased", "call-1", "sales", None, {"call_id": "call-1"}, "call_erased:5", 5.0)
        (work,) = await Dispatcher(book, clock, NullTracer()).writes_for("acme", event)
        assert work.call_id is None

    asyncio.run(use())


def test_while_nobody_knows_the_endpoints_the_event_itself_waits() -> None:
    """The store has been away since the process began: nothing is lost, the endpoints are chosen later."""

    class Away(MemoryDocuments):
        async def list(self, *_: object, **__: object) -> object:  # type: ignore[override]
            raise StoreAwayError("away")

    async def use() -> None:
        clock = FakeClock()
        (work,) = await Dispatcher(HookBook(Away(clock), clock, 5.0), clock, NullTracer()).writes_for(
            "acme", EVENT
        )
        assert work.key == "?:call-1:call_ended:5"
        assert work.call_id == "call-1"
        assert event_of(work.payload) == EVENT

    asyncio.run(use())


def test_message_ids_tell_nothing_and_are_safe_to_sign() -> None:
    """No full stop, no call in them, and different for different work."""
    ids = {message_id(f"we_1:call.{number}:1") for number in range(100)}
    assert len(ids) == 100
    assert all("." not in one and "call" not in one and len(one) == 36 for one in ids)
