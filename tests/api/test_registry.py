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

    @property
    def resume_secret(self) -> str:
        """None that anybody knows."""
        return "secret"


nothing = Waiting(0.0)
T = "default"


def nobody() -> None:
    """No socket to end."""


def test_calls_are_counted_and_limited() -> None:
    """One id once, and no more calls than allowed; the metrics say the same."""
    metrics = Metrics()
    registry = CallRegistry(2, metrics)
    first, second = Waiting(1.5), Waiting(2.0)
    with registry.call(T, "a", first, nobody), registry.call(T, "b", second, nobody):
        assert (registry.active, registry.live(T, "a"), registry.backlog_s()) == (2, first, 3.5)
        assert registry.live("other", "a") is None
        assert metrics.registry.get_sample_value("kowairo_backlog_seconds") == 3.5
        assert metrics.registry.get_sample_value("kowairo_calls_active") == 2
        with pytest.raises(CallLiveError), registry.call(T, "a", nothing, nobody):
            pass
        with pytest.raises(TooManyCallsError), registry.call(T, "c", nothing, nobody):
            pass
    assert (registry.active, registry.live(T, "a")) == (0, None)
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


def test_a_superseded_call_is_gone_before_the_next_comes() -> None:
    """Its socket is ended, and whoever takes it up waits until its end is on record."""

    async def scenario() -> list[str]:
        registry = CallRegistry(9, Metrics())
        told, log = asyncio.Event(), []

        async def talking() -> None:
            with registry.call(T, "a", nothing, told.set):
                await told.wait()
                log.append("ended")

        task = asyncio.create_task(talking())
        await asyncio.sleep(0)
        await registry.supersede(T, "a")
        log.append("superseded")
        await registry.supersede(T, "a")
        await task
        return log

    assert asyncio.run(scenario()) == ["ended", "superseded"]


def test_calls_may_end_by_themselves_during_the_grace() -> None:
    """A call that is over in time is not interrupted; one that is not, is."""

    async def scenario(grace_s: float) -> bool:
        registry = CallRegistry(9, Metrics())
        told, done = asyncio.Event(), asyncio.Event()

        async def talking() -> None:
            with registry.connection(told.set):
                await done.wait()

        task = asyncio.create_task(talking())
        await asyncio.sleep(0)
        draining = asyncio.create_task(registry.drain(30, grace_s))
        if grace_s < 1:
            await told.wait()
        done.set()
        assert await draining
        await task
        return told.is_set()

    assert [asyncio.run(scenario(grace_s)) for grace_s in (30.0, 0.01)] == [False, True]
