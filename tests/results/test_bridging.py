"""A hub has a relay where the store is one that processes share."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from app.results.bridging import open_hub
from app.results.memory import MemoryBounds, MemoryStores
from app.results.publish import Publisher
from app.settings import Settings
from tests.support.clock import FakeClock
from tests.support.feeds import settle


@pytest.mark.parametrize("shared", [False, True])
def test_it_runs_with_and_without_others(tmp_path: Path, shared: bool) -> None:
    """Whether or not the other processes can be reached, this one's listeners are told when the hub is ready."""
    url = f"unix://{tmp_path}/none.sock" if shared else "memory://"
    settings = Settings.model_validate({"store": {"url": url}})

    async def scenario() -> None:
        clock = FakeClock()
        publisher = Publisher(max_subscribers=1, queue_events=2)
        store = MemoryStores(clock, MemoryBounds()).results
        async with open_hub(settings, store, publisher, "here", clock).running():
            with publisher.subscribe():
                await publisher.ready("default")
                assert publisher.told("default") == 0
                await settle()

    asyncio.run(scenario())
