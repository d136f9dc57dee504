"""Keys in the store, remembered for a few seconds so that requests do not wait for it."""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from dataclasses import dataclass
from typing import Protocol

from app.access.keys import KeyRecord
from app.telemetry.clock import Clock
from app.telemetry.logs import get_logger

FRESH_S = 5.0
"""The longest a key is believed without asking the store: a revocation is in force everywhere after so long."""

RENEW_S = 2.5
"""A key in use that is older than this is asked for again while the answer at hand is used."""

GRACE_S = 300.0
"""How long a key that was valid stays so while the store is away; nobody can revoke one there meanwhile."""

AGAIN_S = 1.0
"""How long a store that did not answer is not asked again."""

MAX_REMEMBERED = 10_000


class KeysAwayError(Exception):
    """The store does not answer, and the key is not remembered."""


class KeySource(Protocol):
    """Where keys are kept."""

    async def find(self, key_id: str) -> KeyRecord | None:
        """The key of this id.

        Raises:
            KeysAwayError: the store does not answer.
        """
        ...


@dataclass(frozen=True, slots=True)
class _Remembered:
    record: KeyRecord | None
    asked_at: float


class StoredKeys:
    """The store's keys. A key that is not there is remembered as well; at most `MAX_REMEMBERED`, the last used."""

    def __init__(self, source: KeySource, clock: Clock, grace_s: float = GRACE_S) -> None:
        self._source = source
        self._clock = clock
        self._grace_s = grace_s
        self._remembered: OrderedDict[str, _Remembered] = OrderedDict()
        self._asking: dict[str, asyncio.Task[KeyRecord | None]] = {}
        self._tasks: set[asyncio.Task[KeyRecord | None]] = set()
        self._away_until = float("-inf")
        self._log = get_logger(__name__)

    async def find(self, key_id: str) -> KeyRecord | None:
        """The key of this id, no older than `FRESH_S` (while the store is away: than the grace).

        Raises:
            KeysAwayError: it is not known, and the store does not answer.
        """
        known = self._remembered.get(key_id)
        age_s = float("inf") if known is None else self._clock.monotonic() - known.asked_at
        if known is not None and age_s < FRESH_S:
            self._remembered.move_to_end(key_id)
            if age_s >= RENEW_S:
                self._ask(key_id)
            return known.record
        try:
            return await asyncio.shield(self._ask(key_id))
        except KeysAwayError:
            if known is not None and known.record is not None and age_s < self._grace_s:
                return known.record
            raise

    async def recall(self, key_id: str) -> KeyRecord | None:
        """The key of this id if it was ever found, as fresh as `find` gives it; others are not asked for.

        Raises:
            KeysAwayError: see `find`.
        """
        known = self._remembered.get(key_id)
        return None if known is None or known.record is None else await self.find(key_id)

    def forget(self, key_id: str) -> None:
        """Asks the store again the next time: the key was changed here."""
        self._remembered.pop(key_id, None)
        self._asking.pop(key_id, None)

    async def close(self) -> None:
        """Stops asking."""
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def _ask(self, key_id: str) -> asyncio.Task[KeyRecord | None]:
        """One question to the store at a time for each key, however many wait for the answer."""
        task = self._asking.get(key_id)
        if task is None:
            task = asyncio.create_task(self._answer(key_id))
            self._asking[key_id] = task
            self._tasks.add(task)
            task.add_done_callback(lambda done: self._asked(key_id, done))
        return task

    async def _answer(self, key_id: str) -> KeyRecord | None:
        started = self._clock.monotonic()
        if started < self._away_until:
            raise KeysAwayError("the store did not answer a moment ago")
        try:
            record = await self._source.find(key_id)
        except KeysAwayError:
            self._away_until = self._clock.monotonic() + AGAIN_S
            raise
        if self._asking.get(key_id) is asyncio.current_task():  # else it was changed here meanwhile
            # Counted from before the question: what was revoked since may not be in the answer.
            self._remembered[key_id] = _Remembered(record, started)
            self._remembered.move_to_end(key_id)
            while len(self._remembered) > MAX_REMEMBERED:
                self._remembered.popitem(last=False)
        return record

    def _asked(self, key_id: str, task: asyncio.Task[KeyRecord | None]) -> None:
        self._tasks.discard(task)
        if self._asking.get(key_id) is task:
            del self._asking[key_id]
        error = None if task.cancelled() else task.exception()
        if error is not None and not isinstance(error, KeysAwayError):
            self._log.error("key_lookup_failed", exc_info=error)
