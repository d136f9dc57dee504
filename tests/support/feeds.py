"""Viewers of live feeds that read when told to, and what they were told."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncGenerator, Sequence
from dataclasses import replace

from app.domain import DEFAULT_TENANT, Leg
from app.records import record_body
from app.results.live_event import LiveEvent
from app.results.store import CallInfo, ResultStore, Stored
from app.results.writes import AppendRecord, CloseCall, OpenCall, Write
from tests.support.records import make_record

LINE = "trunk-1"


def call_info(call_id: str = "c", owner: str = "here", tenant: str = DEFAULT_TENANT) -> CallInfo:
    """A live call."""
    return CallInfo(call_id, LINE, (Leg.CUSTOMER,), 0.0, tenant=tenant, owner=owner)


def event_of(write: Write, position: int | None = None) -> LiveEvent:
    """What a process tells of what it wrote."""
    match write:
        case OpenCall():
            tenant = write.call.tenant
            return LiveEvent("call_started", write.call.call_id, write.body, tenant, LINE, position)
        case AppendRecord():
            record = write.record
            return LiveEvent(
                "utterance", record.call_id, record_body(record), write.tenant, LINE, position, record.seq
            )
        case CloseCall():
            return LiveEvent("call_ended", write.call_id, write.body, write.tenant, LINE, position)
    raise AssertionError(f"expected a change of a call, got {write}")


def opening(call: CallInfo) -> OpenCall:
    """The begin of a call."""
    return OpenCall(call, {"call_id": call.call_id, "line": call.line})


def appending(seq: int, call: CallInfo, emotion: str = "anger") -> AppendRecord:
    """A record of a call."""
    record = replace(make_record(call.call_id, seq), seq=seq, emotion=emotion, created_at=float(seq))
    return AppendRecord(call.tenant, record, call.owner)


def closing(call: CallInfo, utterances: int = 0) -> CloseCall:
    """The end of a call after so many records."""
    body = {"call_id": call.call_id, "line": call.line, "utterances": utterances}
    return CloseCall(call.tenant, call.call_id, "completed", 9.0, {}, body, 3_600.0, owner=call.owner)


async def stored(store: ResultStore, write: Write) -> Stored:
    """Carries out a change."""
    (answer,) = await store.write([write])
    assert isinstance(answer, Stored), answer
    return answer


async def settle(turns: int = 20) -> None:
    """Lets every task run until it waits for something."""
    for _ in range(turns):
        await asyncio.sleep(0)


class Viewer:
    """Reads a view's batches one at a time, when told to."""

    def __init__(self, batches: AsyncGenerator[list[LiveEvent], None]) -> None:
        self.told: list[LiveEvent] = []
        self.over = False
        self._batches = batches
        self._reading: asyncio.Task[list[LiveEvent]] | None = None

    async def read(self) -> bool:
        """Takes the next batch if there is one; whether there was."""
        if self.over:
            return False
        if self._reading is None:
            self._reading = asyncio.ensure_future(anext(self._batches))  # type: ignore[arg-type]
        await settle()
        if not self._reading.done():
            return False
        task, self._reading = self._reading, None
        try:
            self.told += task.result()
        except StopAsyncIteration:
            self.over = True
        return True

    async def read_all(self) -> None:
        """Takes what there is."""
        while await self.read():
            pass

    async def close(self) -> None:
        """Stops reading."""
        if self._reading is not None:
            self._reading.cancel()
            await asyncio.gather(self._reading, return_exceptions=True)
        await self._batches.aclose()

    def numbers(self, name: str) -> list[int]:
        """The numbers of the events, by `seq` or `position`."""
        return [number for event in self.told if (number := getattr(event, name)) is not None]

    def named(self) -> list[int]:
        """The numbers that were named as missing."""
        return [number for event in self.told for number in missing(event)]


def missing(event: LiveEvent) -> Sequence[int]:
    """The numbers that an event names as missing."""
    if event.type == "gap":
        return range(event.body["from"], event.body["to"] + 1)
    if event.type == "lagged" and event.body["missed"] is not None:
        return range(event.body["missed"]["from"], event.body["missed"]["to"] + 1)
    return ()


def accounted(viewer: Viewer, name: str) -> Counter[int]:
    """How often each number was told or named as missing."""
    return Counter(viewer.numbers(name)) + Counter(viewer.named())
