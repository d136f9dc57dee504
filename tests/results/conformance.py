"""Words to write scenarios in that every store must live up to, and how they are run over each kind of store."""

from __future__ import annotations

import asyncio
import secrets
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from typing import Any, Protocol, TypeVar

from app.domain import Leg
from app.results.documents import DocumentStore, Journal, WorkQueue
from app.results.memory import MemoryBounds, MemoryStores
from app.results.redis import RedisOptions, RedisStores
from app.results.store import CallInfo, ResultStore
from app.results.writes import AddFeedEntry, AppendRecord, CloseCall, EraseCall, OpenCall
from tests.support.clock import FakeClock
from tests.support.records import make_record
from tests.support.redis import RedisServer

T = TypeVar("T")
NOW = 1_700_000_000.0
RECORDS = 4
"""Records of a call that the stores under test hold."""
FEED = 40
"""Entries of the feed that they hold."""


class Stores(Protocol):
    """The four stores, however they are kept."""

    @property
    def results(self) -> ResultStore:
        """Calls and records."""

    @property
    def documents(self) -> DocumentStore:
        """Documents."""

    @property
    def queue(self) -> WorkQueue:
        """Due work."""

    @property
    def journal(self) -> Journal:
        """Journals."""


@dataclass(frozen=True)
class World:
    """Stores under test. tenant: one of its own for each scenario, so that nobody empties Redis between them."""

    stores: Stores
    tenant: str
    pass_time: Callable[[float], None]

    async def after(self, seconds: float, look: Callable[[], Awaitable[T | None]]) -> T:
        """What `look` finds, not None, once so many seconds have gone by: at once, or on a real clock by waiting."""
        self.pass_time(seconds)
        return await until(look)

    def opening(self, call_id: str = "call-1", **fields: Any) -> OpenCall:
        """A live call begins."""
        call = CallInfo(call_id, "default", (Leg.CUSTOMER, Leg.AGENT), NOW, tenant=self.tenant, owner="me")
        return OpenCall(replace(call, **fields), {"call_id": call_id, "line": fields.get("line", "default")})

    def appending(self, seq: int, call_id: str = "call-1", **fields: Any) -> AppendRecord:
        """A record of a call."""
        leg = fields.pop("leg", Leg.CUSTOMER)
        record = make_record(call_id, seq, leg=leg)
        record = replace(record, seq=seq, created_at=fields.pop("created_at", NOW + seq), **fields)
        return AppendRecord(self.tenant, record, "me")

    def closing(self, call_id: str = "call-1", **fields: Any) -> CloseCall:
        """A call ends."""
        end = CloseCall(
            self.tenant, call_id, "completed", NOW + 60, {"duration_s": 60.0}, {"call_id": call_id}, 600.0
        )
        return replace(end, owner="me", **fields)

    def erasing(self, call_id: str = "call-1") -> EraseCall:
        """A call is erased."""
        return EraseCall(self.tenant, call_id, "me")

    def alerting(self, key: str, call_id: str = "call-1") -> AddFeedEntry:
        """An alert."""
        return AddFeedEntry(self.tenant, "alert", call_id, key, {"rule": key}, "me")


Play = Callable[[Callable[[World], Awaitable[None]]], None]


def play_in_memory(scenario: Callable[[World], Awaitable[None]]) -> None:
    """Runs a scenario over the memory stores."""
    clock = FakeClock(NOW)
    stores = MemoryStores(clock, MemoryBounds(max_records_per_call=RECORDS, feed_entries=FEED))
    world = World(stores, new_tenant(), clock.advance)

    async def work() -> None:
        await scenario(world)

    asyncio.run(work())


def play_in_redis(server: RedisServer, scenario: Callable[[World], Awaitable[None]], **options: Any) -> None:
    """Runs a scenario over Redis."""
    bounds = {"max_records_per_call": RECORDS, "feed_entries": FEED, "timeout_s": 30.0} | options

    async def work() -> None:
        stores = await RedisStores.connect(server.url, RedisOptions(**bounds))
        try:
            await scenario(World(stores, new_tenant(), lambda _: None))
        finally:
            await stores.close()

    asyncio.run(work())


async def until(look: Callable[[], Awaitable[T | None]], timeout_s: float = 60.0) -> T:
    """What `look` finds, asked again and again until it is not None.

    Raises:
        AssertionError: it found nothing in time.
    """
    deadline = time.monotonic() + timeout_s
    while time.monotonic() < deadline:
        found = await look()
        if found is not None:
            return found
        await asyncio.sleep(0.01)
    raise AssertionError(f"nothing was found within {timeout_s} s")


def new_tenant() -> str:
    """A tenant nobody has used."""
    return f"tenant-{secrets.token_hex(6)}"
