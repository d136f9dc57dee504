"""Follows one tenant's feed: its events in the order of their positions, whichever process they come from."""

from __future__ import annotations

import asyncio
import contextlib
from collections import deque
from dataclasses import dataclass
from typing import Any, Protocol

from app.results.live_event import KEPT, LiveEvent, entry_event, gap_event
from app.results.store import FeedEntry, ResultStore, StoreAwayError, StoreError
from app.telemetry.logs import get_logger

FAR = 2**53 - 1
"""A position that no feed reaches."""

_MAX_HELD = 10_000
_MAX_UNPLACED = 20_000
_MAX_FED = 1_000
_BACKOFF_S = (0.1, 2.0)

Key = tuple[str, str, int | None]


class Listeners(Protocol):
    """To whom events are handed (`app.results.publish.Publisher`)."""

    def tell_call(self, event: LiveEvent, *, born_after: int | None = None) -> None:
        """To the listeners of its call."""
        ...

    def tell_tenant(self, event: LiveEvent, *, born_after: int | None = None) -> None:
        """To the listeners of its tenant."""
        ...

    def tell_all(self, event: LiveEvent) -> None:
        """To the listeners of its tenant, whatever their filter."""
        ...

    def tick(self) -> int:
        """The next number of the count by which it is known what came first."""
        ...


@dataclass(frozen=True, slots=True)
class FollowOptions:
    """poll_s: the feed is looked at so often, where nothing says that it grew. page: entries read at a time."""

    poll_s: float = 0.5
    page: int = 200


class Follower:
    """One tenant's feed, while somebody of the tenant listens here. `run` in a task.

    The feed in the store is the truth. What this process writes is told at once where its position is the next one;
    otherwise it is held until the feed has given what comes before. What it writes while the store is away has no
    position: it is told at once, and when it turns up in the feed, only to those who came later.
    """

    def __init__(
        self, tenant: str, owner: str, store: ResultStore, listeners: Listeners, options: FollowOptions
    ) -> None:
        self._tenant = tenant
        self._owner = owner
        self._store = store
        self._listeners = listeners
        self._options = options
        self._next = 0  # not known yet
        self._held: dict[int, LiveEvent] = {}
        self._unplaced: dict[Key, deque[int]] = {}
        self._fed: dict[Key, int] = {}
        self._wake = asyncio.Event()
        self._tried = asyncio.Event()
        self._log = get_logger(__name__)

    @property
    def told(self) -> int | None:
        """The position up to which everything was told; None until the feed could be read once."""
        return self._next - 1 if self._next else None

    def wake(self) -> None:
        """Something says that the feed grew."""
        self._wake.set()

    async def ready(self) -> None:
        """Returns once everything that enters the feed from now on is told.

        Raises:
            StoreAwayError: the feed could not be read yet.
        """
        if not self._next:
            await self._tried.wait()
        if not self._next:
            raise StoreAwayError("the feed cannot be read")

    def published(self, event: LiveEvent) -> None:
        """Tells something that happened in this process."""
        if event.type not in KEPT:
            self._tell(event)
        elif event.position is None:
            self._unplaced_event(event)
        else:
            self._placed_event(event, event.position)

    async def run(self) -> None:
        """Follows until cancelled."""
        backoff_s = _BACKOFF_S[0]
        while True:
            try:
                await self._catch_up()
            except StoreError:
                self._log.debug("feed_waits", exc_info=True)
                self._tried.set()
                await asyncio.sleep(backoff_s)
                backoff_s = min(2 * backoff_s, _BACKOFF_S[1])
                continue
            except Exception:
                self._log.exception("feed_failed")
                self._tried.set()
                await asyncio.sleep(_BACKOFF_S[1])
                continue
            backoff_s = _BACKOFF_S[0]
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(self._options.poll_s):
                    await self._wake.wait()

    async def _catch_up(self) -> None:
        """Reads until there is nothing that was not told."""
        if not self._next:
            newest = await self._store.read_feed(self._tenant, after=FAR, limit=1)
            # What was held meanwhile was written after its listeners came: they get all of it.
            self._next = min([newest.last + 1, *self._held])
            self._tried.set()
        more = True
        while more:
            self._wake.clear()
            asked = self._next
            found = await self._store.read_feed(self._tenant, after=asked - 1, limit=self._options.page)
            if found.last < asked - 1:
                self._start_again(found.last + 1)
                return
            self._skip_to(min(found.first, found.last + 1))
            for entry in found.items:
                self._place(entry)
            more = bool(found.items) and found.items[-1].position < found.last
        self._release()

    def _start_again(self, position: int) -> None:
        """The feed is behind what was told: the store lost it, and its numbers begin anew."""
        self._log.warning("feed_began_anew")
        self._next = position
        self._held.clear()
        self._fed.clear()
        self._listeners.tell_all(LiveEvent("reset", "", {"next_position": position}, self._tenant))

    def _skip_to(self, position: int) -> None:
        """Names what is not held any more."""
        if position > self._next:
            self._listeners.tell_all(gap_event(self._tenant, self._next, position - 1))
            self._next = position

    def _place(self, entry: FeedEntry) -> None:
        """Tells an entry of the feed, if it was not told before."""
        if entry.position < self._next:
            return
        self._skip_to(entry.position)
        self._next = entry.position + 1
        held = self._held.pop(entry.position, None)
        if held is not None:
            self._listeners.tell_tenant(held)
            return
        event = entry_event(self._tenant, entry)
        born_after = None
        if entry.origin == self._owner:
            born_after = self._forget_unplaced(event.key)
            if born_after is None:
                _remember(self._fed, event.key, entry.position, _MAX_FED)
        self._tell(event, born_after)

    def _placed_event(self, event: LiveEvent, position: int) -> None:
        if self._fed.get(event.key) == position:
            del self._fed[event.key]  # the feed was faster than the answer to the write
            return
        self._listeners.tell_call(event)
        if position >= self._next:
            _remember(self._held, position, event, _MAX_HELD)
            self._release()
            if self._held:
                self._wake.set()

    def _unplaced_event(self, event: LiveEvent) -> None:
        if self._fed.pop(event.key, None) is not None:
            return  # the write was carried out, only its answer was lost
        self._tell(event)
        numbers = self._unplaced.get(event.key)
        if numbers is None:
            numbers = _remember(self._unplaced, event.key, deque(), _MAX_UNPLACED)
        numbers.append(self._listeners.tick())

    def _forget_unplaced(self, key: Key) -> int | None:
        """When an event was told without a position; None where it was not."""
        numbers = self._unplaced.get(key)
        if numbers is None:
            return None
        number = numbers.popleft()
        if not numbers:
            del self._unplaced[key]
        return number

    def _release(self) -> None:
        """Tells what is held and comes next."""
        while self._next in self._held:
            self._listeners.tell_tenant(self._held.pop(self._next))
            self._next += 1

    def _tell(self, event: LiveEvent, born_after: int | None = None) -> None:
        self._listeners.tell_call(event, born_after=born_after)
        self._listeners.tell_tenant(event, born_after=born_after)


def _remember(where: dict[Any, Any], key: Any, value: Any, most: int) -> Any:
    where[key] = value
    if len(where) > most:
        del where[next(iter(where))]
    return value
