"""Between the processes of one service: what is kept comes from the tenants' feeds, what passes through a relay."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Protocol

import orjson

from app.results.follower import Follower, FollowOptions
from app.results.live_event import KEPT, PASSING, LiveEvent
from app.results.publish import Publisher
from app.results.store import ResultStore, StoreAwayError
from app.telemetry.logs import get_logger

_NUDGE = "n"

Heard = Callable[[str, bytes], None]
"""Given a tenant and a message that another process (or this one) sent."""


class Relay(Protocol):
    """Carries messages that may be lost between the processes of one service; `run` in a task."""

    def send(self, tenant: str, message: bytes) -> None:
        """Sends to every process that listens to the tenant; never waits."""
        ...

    def listen(self, tenant: str) -> None:
        """From now on hears what is sent to a tenant."""
        ...

    def leave(self, tenant: str) -> None:
        """Hears no more of it."""
        ...

    async def run(self, heard: Heard) -> None:
        """Works until cancelled; connections that break are made again."""
        ...


class Hub:
    """A publisher's bridge. Use `running` around the life of the service.

    Args:
        store: whose feeds are followed.
        publisher: whose listeners are told.
        owner: this process, as it signs what it writes to the store.
        relay: to the other processes; None where there are none.
        options: how feeds are followed.
    """

    def __init__(
        self,
        store: ResultStore,
        publisher: Publisher,
        owner: str,
        relay: Relay | None = None,
        options: FollowOptions | None = None,
    ) -> None:
        self._store = store
        self._publisher = publisher
        self._owner = owner
        self._relay = relay
        self._options = options or FollowOptions()
        self._followers: dict[str, Follower] = {}
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self._leaving: set[asyncio.Task[None]] = set()
        self._log = get_logger(__name__)

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Bridges while the context is open."""
        relaying = None
        if self._relay is not None:
            relaying = asyncio.create_task(self._relay.run(self._heard))
        self._publisher.attach(self)
        try:
            yield
        finally:
            self._publisher.attach(None)
            tasks = {*self._tasks.values(), *self._leaving}
            tasks |= {relaying} if relaying is not None else set()
            self._followers.clear()
            self._tasks.clear()
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    def published(self, event: LiveEvent) -> None:
        """Something happened in this process; see `Bridge.published`."""
        follower = self._followers.get(event.tenant)
        if follower is not None:
            follower.published(event)
        if self._relay is None:
            return
        if event.type in PASSING:
            self._relay.send(event.tenant, event.form("relay", self._encode))
        elif event.position is not None:
            self._relay.send(event.tenant, orjson.dumps({"o": self._owner, "t": _NUDGE}))

    def listening(self, tenant: str) -> None:
        """The first listener of a tenant came; see `Bridge.listening`."""
        follower = Follower(tenant, self._owner, self._store, self._publisher, self._options)
        self._followers[tenant] = follower
        self._tasks[tenant] = asyncio.create_task(follower.run())
        if self._relay is not None:
            self._relay.listen(tenant)

    def silent(self, tenant: str) -> None:
        """The last listener of a tenant went; see `Bridge.silent`."""
        self._followers.pop(tenant, None)
        task = self._tasks.pop(tenant, None)
        if task is not None:
            task.cancel()
            self._leaving.add(task)
            task.add_done_callback(self._leaving.discard)
        if self._relay is not None:
            self._relay.leave(tenant)

    async def ready(self, tenant: str) -> None:
        """See `Bridge.ready`."""
        follower = self._followers.get(tenant)
        if follower is None:
            raise StoreAwayError("the service shuts down")
        await follower.ready()

    def told(self, tenant: str) -> int | None:
        """See `Bridge.told`."""
        follower = self._followers.get(tenant)
        return None if follower is None else follower.told

    def _encode(self, event: LiveEvent) -> bytes:
        return orjson.dumps(
            {"o": self._owner, "t": event.type, "c": event.call_id, "l": event.line, "b": dict(event.body)}
        )

    def _heard(self, tenant: str, message: bytes) -> None:
        """Takes what another process said."""
        try:
            said = orjson.loads(message)
            if said["o"] == self._owner:
                return
            if said["t"] == _NUDGE:
                follower = self._followers.get(tenant)
                if follower is not None:
                    follower.wake()
                return
            event = LiveEvent(said["t"], said["c"], said["b"], tenant, said["l"])
        except (ValueError, TypeError, KeyError):
            self._log.debug("relayed_message_unreadable")
            return
        if event.type not in KEPT:
            self._publisher.tell_call(event)
            self._publisher.tell_tenant(event)
