"""Opens the hub that a site's settings ask for."""

from __future__ import annotations

from collections.abc import Callable

from app.results.follower import FollowOptions
from app.results.hub import Hub
from app.results.publish import Publisher
from app.results.redis_relay import RedisRelay
from app.results.store import ResultStore
from app.settings import Settings
from app.telemetry.clock import Clock


def open_hub(
    settings: Settings,
    store: ResultStore,
    publisher: Publisher,
    owner: str,
    clock: Clock,
    *,
    on_drop: Callable[[int], None] = lambda _: None,
) -> Hub:
    """A hub; with a relay to the other processes where the store is one that they share. Use its `running`.

    on_drop: told how many passing events did not reach the other processes.
    """
    where, live = settings.store, settings.live
    relay = None
    if not where.in_memory:
        relay = RedisRelay(where.url, clock, timeout_s=where.timeout_s, on_drop=on_drop)
    return Hub(store, publisher, owner, relay, FollowOptions(live.poll_s, live.page_events))
