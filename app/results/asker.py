"""Asks a store that may be away, broken or slow, and never waits longer than it was told to."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Sequence
from typing import TypeAlias, TypeVar

from app.results.store import ResultStore, StoreAwayError, Stored, StoreError
from app.results.writes import Write
from app.telemetry.logs import get_logger

T = TypeVar("T")

Answer: TypeAlias = Stored | StoreError
"""What becomes of one change."""

_ERASED = "call_erased"
_STARTED = "call_started"
_FEED_PAGE = 1_000


class StoreFailedError(StoreError):
    """The store broke on what it was given."""


class Asker:
    """Asks a store within a time, and tells three things apart: it answers, it is away, it broke.

    Args:
        store: the store behind.
        timeout_s: after which it counts as away.
    """

    def __init__(self, store: ResultStore, timeout_s: float) -> None:
        self._store = store
        self._timeout_s = timeout_s
        self._log = get_logger(__name__)

    async def write(self, writes: Sequence[Write], timeout_s: float | None = None) -> list[Answer]:
        """Carries out changes; each is answered by itself where the store broke on all of them together.

        Raises:
            StoreAwayError: nobody knows what of them was done.
        """
        try:
            return await self._in_time(self._store.write(writes), timeout_s)
        except StoreFailedError as error:
            if len(writes) == 1:
                return [error]
        return [answer for write in writes for answer in await self.write([write], timeout_s)]

    async def ping(self) -> None:
        """Returns when the store answers.

        Raises:
            StoreAwayError: it does not.
        """
        try:
            await self._in_time(self._store.ping(), None)
        except StoreFailedError:
            raise StoreAwayError("the store does not answer as it should") from None

    async def note_erased(self, tenant: str, after: int, erased: set[str]) -> int:
        """Reads the feed beyond a position, and brings a set of ids of erased calls up to date; how far it was read.

        Entries that lost their call because it expired look like erased ones, but for their empty body.

        Raises:
            StoreAwayError: the store is away.
        """
        while True:
            page = await self._in_time(self._store.read_feed(tenant, after=after, limit=_FEED_PAGE), None)
            for entry in page.items:
                if entry.type == _ERASED and entry.body:
                    erased.add(entry.call_id)
                elif entry.type == _STARTED:  # the id was used again
                    erased.discard(entry.call_id)
            if page.last < after:  # another feed, begun anew
                after = 0
            elif not page.items:
                return after
            else:
                after = page.items[-1].position

    async def _in_time(self, work: Awaitable[T], timeout_s: float | None) -> T:
        try:
            async with asyncio.timeout(self._timeout_s if timeout_s is None else timeout_s):
                return await work
        except (StoreAwayError, OSError) as error:  # a time-out is an OSError
            raise StoreAwayError(f"the store is away: {type(error).__name__}") from None
        except Exception as error:
            self._log.error("store_broke", error=type(error).__name__)
            raise StoreFailedError(f"the store broke: {type(error).__name__}") from None
