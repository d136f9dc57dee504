"""Two processes over one Redis: what each viewer sees, also while Redis is away and when it is back."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

from app.results.call_view import CallView
from app.results.feed_view import FeedView
from app.results.follower import FollowOptions
from app.results.hub import Hub
from app.results.live_event import EVERYTHING, LiveEvent
from app.results.opening import open_stores
from app.results.publish import Publisher
from app.results.redis_relay import RedisRelay
from app.results.store import ResultStore
from app.results.store_metrics import NoMetrics
from app.results.views import View, ViewOptions
from app.results.writes import Write
from app.settings import StoreSettings
from app.telemetry.clock import SystemClock
from tests.support.feeds import appending, call_info, closing, event_of, opening, stored
from tests.support.redis import redis_server

SOON_S = 60.0


class Watch(NoMetrics):
    """Counts nothing."""

    def spool_lost(self, why: object, entries: int, size: int) -> None:
        """Nothing is lost here."""


class Process:
    """A store, a publisher and a hub, as one process has them."""

    def __init__(self, name: str, store: ResultStore) -> None:
        self.name = name
        self.store = store
        self.publisher = Publisher(max_subscribers=9, queue_events=256)
        self.told: dict[str, list[LiveEvent]] = {}

    async def tell(self, write: Write) -> None:
        """Writes and publishes, as a call does."""
        self.publisher.publish(event_of(write, (await stored(self.store, write)).position))

    async def watch(self, name: str, since: int | None = None) -> asyncio.Task[None]:
        """A viewer of the tenant's feed, that reads all the time."""
        subscription = self.publisher.subscribe()
        view = FeedView(self.store, subscription, EVERYTHING, since, ViewOptions(), publisher=self.publisher)
        return await self._follow(name, view)

    async def watch_call(self, name: str, call_id: str, since: int) -> asyncio.Task[None]:
        """A viewer of one call."""
        await self.publisher.ready("default")
        subscription = self.publisher.subscribe(call_feed=call_id)
        view = CallView(self.store, subscription, EVERYTHING, since, ViewOptions(), describe=lambda _: {})
        return await self._follow(name, view)

    async def _follow(self, name: str, view: View) -> asyncio.Task[None]:
        await view.open()
        told = self.told.setdefault(name, [])

        async def follow() -> None:
            async for batch in view.batches():
                told.extend(batch)

        return asyncio.create_task(follow())

    def seqs(self, name: str) -> list[int]:
        """The numbers of the records that a viewer was told."""
        return [event.seq for event in self.told[name] if event.seq is not None]


@asynccontextmanager
async def process(name: str, url: str, spool: Path) -> AsyncIterator[Process]:
    """One process."""
    clock = SystemClock()
    settings = StoreSettings(url=url, spool_path=spool / name, timeout_s=1.0)
    stores = open_stores(settings, clock, Watch(), lambda call: {"call_id": call.call_id, "line": call.line})
    one = Process(name, stores.results)
    hub = Hub(stores.results, one.publisher, name, RedisRelay(url, clock), FollowOptions(poll_s=0.2))
    async with stores.running(), hub.running():
        yield one


async def until(come: Callable[[], bool]) -> None:
    """Waits for something."""
    async with asyncio.timeout(SOON_S):
        while not come():  # noqa: ASYNC110 (it comes through a real Redis)
            await asyncio.sleep(0.01)


def test_a_restart_of_redis_costs_no_viewer_anything(tmp_path: Path) -> None:
    """Here at once, elsewhere when Redis is back; everybody gets every record once, and who came later too."""

    async def scenario(url: str, kill: Callable[[], None], start: Callable[[], None]) -> None:
        call = call_info("c", "here")
        async with process("here", url, tmp_path) as here, process("there", url, tmp_path) as there:
            tasks = [await here.watch("feed"), await there.watch("feed")]
            await here.tell(opening(call))
            for seq in range(1, 4):
                await here.tell(appending(seq, call))
            tasks.append(await there.watch_call("call", "c", 1))
            await until(lambda: there.seqs("feed") == there.seqs("call") == [1, 2, 3])
            await asyncio.to_thread(kill)
            for seq in range(4, 7):
                await here.tell(appending(seq, call))
            await until(lambda: here.seqs("feed") == [1, 2, 3, 4, 5, 6])
            await asyncio.to_thread(start)
            await until(lambda: there.seqs("feed") == there.seqs("call") == [1, 2, 3, 4, 5, 6])
            tasks.append(await here.watch("later", 1))
            await here.tell(appending(7, call))
            await here.tell(closing(call, 7))
            everybody = [here.told["feed"], here.told["later"], there.told["feed"], there.told["call"]]
            await until(lambda: all(told and told[-1].type == "call_ended" for told in everybody))
            assert here.seqs("feed") == here.seqs("later") == list(range(1, 8))
            assert there.seqs("feed") == there.seqs("call") == list(range(1, 8))
            for told in everybody:
                assert not [event for event in told if event.type in {"gap", "lagged", "reset"}]
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    with redis_server(tmp_path / "redis", appendonly=True) as redis:
        asyncio.run(scenario(redis.url, redis.kill, redis.start))


def test_processes_write_at_the_same_time_and_all_see_one_order(tmp_path: Path) -> None:
    """Two processes and forty records at once: each viewer gets the positions 1, 2, 3 … wherever it listens."""

    async def talk(place: Process, call_id: str) -> None:
        call = call_info(call_id, place.name)
        await place.tell(opening(call))
        for seq in range(1, 11):
            place.publisher.publish(LiveEvent("interim", call_id, {"call_id": call_id}))
            await place.tell(appending(seq, call))
        await place.tell(closing(call, 10))

    async def scenario(url: str) -> None:
        async with process("here", url, tmp_path) as here, process("there", url, tmp_path) as there:
            tasks = [await here.watch("feed"), await there.watch("feed")]
            await asyncio.gather(
                *(talk(place, f"{place.name}-{number}") for place in (here, there) for number in "12")
            )
            for place in (here, there):
                told = place.told["feed"]
                await until(lambda told=told: len([e for e in told if e.position is not None]) >= 48)  # type: ignore[misc]
                positions = [event.position for event in told if event.position is not None]
                assert positions == list(range(1, 49))
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    with redis_server(tmp_path / "redis") as redis:
        asyncio.run(scenario(redis.url))
