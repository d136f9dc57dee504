"""Carries what passes (interims, warnings …) between processes by Redis pub/sub: nothing of it is kept anywhere."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from typing import Any

from redis.asyncio import Redis
from redis.asyncio.client import PubSub
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff

from app.results.hub import Heard
from app.results.redis.failures import CAUGHT
from app.telemetry.clock import Clock
from app.telemetry.logs import get_logger

MAX_WAITING = 1_000
"""Messages that wait to be sent; the oldest go."""

QUIET_S = 1.0
"""After nobody heard a tenant's message, nothing is sent for so long."""

_BATCH = 100
_BACKOFF_S = (0.1, 5.0)
_MAX_QUIET = 10_000
_LISTEN_S = 10.0


def channel_of(tenant: str) -> str:
    """Where a tenant's messages go; the braces keep a tenant on one shard of a cluster."""
    return f"kowairo:{{{tenant}}}:live"


class RedisRelay:
    """A `Relay` over Redis. Messages are lost while Redis is away, or come faster than it takes them.

    In a cluster any node carries a message to all others, so one that can be reached is enough.

    Args:
        url: as of the store.
        clock: for how long a tenant stays quiet.
        timeout_s: of connections and answers.
        on_drop: told how many messages were lost here.
    """

    def __init__(
        self,
        url: str,
        clock: Clock,
        *,
        timeout_s: float = 2.0,
        on_drop: Callable[[int], None] = lambda _: None,
    ) -> None:
        self._url = url.replace("+cluster://", "://", 1)
        # A node of a cluster counts its own listeners only.
        self._counts = self._url == url
        self._clock = clock
        self._timeout_s = timeout_s
        self._on_drop = on_drop
        self._waiting: deque[tuple[str, bytes]] = deque()
        self._quiet: dict[str, float] = {}
        self._wanted: set[str] = set()
        self._heard_of: set[str] = set()
        self._to_send = asyncio.Event()
        self._changed = asyncio.Event()
        self._log = get_logger(__name__)

    def send(self, tenant: str, message: bytes) -> None:
        """See `Relay.send`. Nothing is sent while nobody elsewhere listens."""
        if self.quiet(tenant):
            return
        if len(self._waiting) >= MAX_WAITING:
            self._waiting.popleft()
            self._on_drop(1)
        self._waiting.append((tenant, message))
        self._to_send.set()

    def quiet(self, tenant: str) -> bool:
        """Whether nobody elsewhere heard the tenant's last message, a moment ago."""
        return self._quiet.get(tenant, 0.0) > self._clock.monotonic()

    def listen(self, tenant: str) -> None:
        """See `Relay.listen`."""
        self._wanted.add(tenant)
        self._changed.set()

    def leave(self, tenant: str) -> None:
        """See `Relay.leave`."""
        self._wanted.discard(tenant)
        self._changed.set()

    async def run(self, heard: Heard) -> None:
        """See `Relay.run`."""
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._again_and_again(self._sending))
            tasks.create_task(self._again_and_again(lambda client: self._hearing(client, heard)))

    async def _again_and_again(self, work: Callable[[Redis], Any]) -> None:
        """Does something with a connection, and again with another one when it breaks."""
        backoff_s = _BACKOFF_S[0]
        while True:
            client = self._client()
            started = self._clock.monotonic()
            try:
                await work(client)
            except CAUGHT as error:
                # The text of an error may quote the address.
                self._log.debug("relay_broke", kind=type(error).__name__)
            except Exception:
                self._log.exception("relay_failed")
            finally:
                await client.aclose()
            if self._clock.monotonic() - started > _BACKOFF_S[1]:
                backoff_s = _BACKOFF_S[0]
            await asyncio.sleep(backoff_s)
            backoff_s = min(2 * backoff_s, _BACKOFF_S[1])

    def _client(self) -> Redis:
        # A connection through a proxy that forgot it would wait for ever otherwise; a socket of files has no such peer.
        more: dict[str, Any] = {} if self._url.startswith("unix:") else {"socket_keepalive": True}
        return Redis.from_url(
            self._url,
            socket_timeout=self._timeout_s,
            socket_connect_timeout=self._timeout_s,
            retry=Retry(NoBackoff(), 0),
            **more,
        )

    async def _sending(self, client: Redis) -> None:
        while True:
            await self._to_send.wait()
            batch = [self._waiting.popleft() for _ in range(min(_BATCH, len(self._waiting)))]
            if not self._waiting:
                self._to_send.clear()
            pipeline = client.pipeline(transaction=False)
            for tenant, message in batch:
                pipeline.publish(channel_of(tenant), message)
            try:
                hearers = await pipeline.execute()
            except CAUGHT:
                self._on_drop(len(batch))
                raise
            for (tenant, _), count in zip(batch, hearers, strict=True):
                self._note_hearers(tenant, count)

    def _note_hearers(self, tenant: str, count: int) -> None:
        elsewhere = count - int(tenant in self._heard_of)
        if elsewhere > 0:
            self._quiet.pop(tenant, None)
        elif self._counts:
            if len(self._quiet) >= _MAX_QUIET:
                self._quiet.clear()
            self._quiet[tenant] = self._clock.monotonic() + QUIET_S

    async def _hearing(self, client: Redis, heard: Heard) -> None:
        """Hears the wanted tenants until the connection breaks."""
        while not self._wanted:
            self._changed.clear()
            await self._changed.wait()
        async with client.pubsub(ignore_subscribe_messages=True) as pubsub:
            await self._adjust(pubsub)
            listening = asyncio.create_task(self._listen(pubsub, heard))
            try:
                while not listening.done():
                    changed = asyncio.create_task(self._changed.wait())
                    await asyncio.wait({listening, changed}, return_when=asyncio.FIRST_COMPLETED)
                    changed.cancel()
                    if not listening.done():
                        await self._adjust(pubsub)
                listening.result()
            finally:
                self._heard_of.clear()
                listening.cancel()
                await asyncio.gather(listening, return_exceptions=True)

    async def _listen(self, pubsub: PubSub, heard: Heard) -> None:
        tenants: dict[bytes, str] = {}
        while True:
            # Without a time of its own it would take silence for a broken connection.
            message = await pubsub.get_message(timeout=_LISTEN_S)
            if message is None:
                continue
            channel = message["channel"]
            tenant = tenants.get(channel)
            if tenant is None:
                tenants = {channel_of(known).encode(): known for known in self._wanted}
                tenant = tenants.get(channel)
            if tenant is not None:
                heard(tenant, message["data"])

    async def _adjust(self, pubsub: PubSub) -> None:
        """Subscribes and unsubscribes as wanted. The last channel is kept: without one the connection idles oddly."""
        self._changed.clear()
        new, old = self._wanted - self._heard_of, self._heard_of - self._wanted
        if new:
            await pubsub.subscribe(*map(channel_of, sorted(new)))
            self._heard_of |= new
        if len(old) == len(self._heard_of):
            old = set(sorted(old)[1:])
        if old:
            await pubsub.unsubscribe(*map(channel_of, sorted(old)))
            self._heard_of -= old
