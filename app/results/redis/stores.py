"""Everything that is kept in Redis, over one pool of connections."""

from __future__ import annotations

from contextlib import suppress
from typing import Self

from app.results.redis.documents import RedisDocuments, RedisJournal, RedisQueue
from app.results.redis.link import RedisLink
from app.results.redis.options import RedisOptions
from app.results.redis.results import RedisResultStore
from app.results.store import StoreError


class RedisStores:
    """The four stores of one Redis; `connect` makes them."""

    def __init__(self, link: RedisLink) -> None:
        self._link = link
        self.results = RedisResultStore(link)
        self.documents = RedisDocuments(link)
        self.queue = RedisQueue(link)
        self.journal = RedisJournal(link)

    @classmethod
    async def connect(cls, url: str, options: RedisOptions | None = None) -> Self:
        """The stores at a URL. A Redis that is away now is no error: what is asked of it is, until it is back.

        Raises:
            ValueError: not the URL of a Redis.
        """
        link = RedisLink(url, options or RedisOptions())
        with suppress(StoreError):
            await link.one(("PING",))
        return cls(link)

    @property
    def durable(self) -> bool:
        """Whether what is written now is on disk before the answer; see `Durability`."""
        return self.results.durable

    async def compact(self) -> bool:
        """Asks Redis to write its files anew, in the background, so that what was erased leaves the disk too.

        False where it refuses. It drops the old files when it is done.
        """
        return await self._link.compact()

    async def close(self) -> None:
        """Lets go of every connection."""
        await self._link.close()
