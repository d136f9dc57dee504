"""The registry knows who is there, keeps to its limits, and brings everybody to an end."""

from __future__ import annotations

import asyncio

import pytest

from app.api.registry import CallLiveError, CallRegistry, DrainingError, TooManyCallsError
from app.telemetry.metrics import Metrics
from app.wire.base import WireEvent


class Waiting:
    """A call with so much audio waiting."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds

    def backlog_s(self) -> float:
        """As said."""
        return self._seconds

    async def feed(self, event: WireEvent) -> None:
        """Takes it."""


nothing = Waiting(0.0)


def test_calls_are_counted_and_limited() -> None:
    """One id once, and no more calls than allowed; the metrics say the same."""
    metrics = Metrics()
    registry = CallRegistry(2, metrics)
    with registry.call("a", Waiting(1.5)), registry.call("b", Waiting(2.0)):
        assert (registry.active, registry.is_live("a"), registry.backlog_s()) == (2, True, 3.5)
        assert metrics.registry.get_sample_value("kowairo_backlog_seconds") == 3.5
        assert metrics.registry.get_sample_value("kowairo_calls_active") == 2
        with pytest.raises(CallLiveError), registry.call("a", nothing):
            pass
        with pytest.raises(TooManyCallsError), registry.call("c", nothing):
            pass
    assert (registry.active, registry.is_live("a")) == (0, False)
    assert metrics.registry.get_sample_value("kowairo_sheds_total", {"what": "call"}) == 1


def test_draining_ends_connections_and_waits_for_them() -> None:
    """Each is interrupted once; drained when the last is gone; nobody comes in any more."""

    async def scenario() -> None:
        registry = CallRegistry(9, Metrics())
        told = asyncio.Event()

        async def connected() -> None:
            with registry.connection(told.set):
                await told.wait()

        task = asyncio.create_task(connected())
        await asyncio.sleep(0)
        assert await registry.drain(30)
        assert task.done()
        assert registry.draining
        with pytest.raises(DrainingError), registry.connection(told.set):
            pass

    asyncio.run(scenario())


def test_draining_gives_up_on_those_who_stay() -> None:
    """A connection that does not end is not waited for for ever."""

    async def scenario() -> bool:
        registry = CallRegistry(9, Metrics())
        with registry.connection(lambda: None):
            return await registry.drain(0.01)

    assert not asyncio.run(scenario())
