"""A result store that goes away as stores do: before, after, or in the middle of what it was asked."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from enum import StrEnum

from app.results.memory import MemoryStore, MemoryStores
from app.results.reads import StoreReads
from app.results.store import CallInfo, StoreAwayError, Stored, StoreError
from app.results.writes import Write
from app.telemetry.clock import Clock


class Mood(StrEnum):
    """UP: works. BEFORE: away. AFTER: does it and does not answer. HALF: does half of it. HANGS: waits for ever."""

    UP = "up"
    BEFORE = "before"
    AFTER = "after"
    HALF = "half"
    HANGS = "hangs"


class FlakyStore(StoreReads):
    """A memory store behind a bad line.

    mood: how it behaves from now on; moods: how it behaves for the next writes, one each. asked: the writes it got
    while up. turn: called before every write, to change things at the worst moment.
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        super().__init__(MemoryStores(clock).results)
        self.mood = Mood.UP
        self.moods: list[Mood] = []
        self.closed = False
        self.calls = 0
        self.turn: Callable[[], None] = lambda: None

    @property
    def memory(self) -> MemoryStore:
        """The store without the line."""
        assert isinstance(self._inner, MemoryStore)
        return self._inner

    def forget(self) -> None:
        """It loses everything, as a server without persistence that is started again."""
        self._inner = MemoryStores(self._clock).results

    async def write(self, writes: Sequence[Write]) -> list[Stored | StoreError]:
        """See `ResultStore.write`, and the mood."""
        self.calls += 1
        self.turn()
        mood = self.moods.pop(0) if self.moods else self.mood
        if mood is Mood.HANGS:
            await asyncio.Event().wait()
        await asyncio.sleep(0)
        done = {Mood.UP: len(writes), Mood.AFTER: len(writes), Mood.HALF: len(writes) // 2}.get(mood, 0)
        answers = await self.memory.write(writes[:done])
        await asyncio.sleep(0)
        if mood is not Mood.UP:
            raise StoreAwayError("connection lost")
        return answers

    async def resume_call(
        self, tenant: str, call_id: str, *, secret_digest: str, owner: str, now: float
    ) -> CallInfo:
        """See `ResultStore.resume_call`."""
        return await self._up().resume_call(
            tenant, call_id, secret_digest=secret_digest, owner=owner, now=now
        )

    async def ping(self) -> None:
        """See `ResultStore.ping`, and the mood."""
        self.calls += 1
        if self.mood is not Mood.UP:
            raise StoreAwayError("connection refused")

    async def close(self) -> None:
        """Notes that it was closed."""
        self.closed = True
