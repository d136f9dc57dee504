"""Keys in the document store: found by id for whoever presents one, listed by tenant for whoever looks after them.

A key is one document of the tenant `_site`; beside it an empty one of its own tenant says that it is there, so that
a list of one tenant's keys, its cursor included, tells nothing of another's.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import replace

from app.access.keys import SITE_TENANT, KeyFormatError, KeyRecord
from app.access.stored import KeysAwayError
from app.results.documents import Document, DocumentConflictError, DocumentNotFoundError, DocumentStore
from app.results.store import Page, StoreAwayError
from app.telemetry.clock import Clock
from app.telemetry.logs import get_logger

KIND = "api_key"
INDEX = "api_key_of"
KEPT_S = 30 * 86_400.0
"""How long a key that no longer holds can still be looked at."""

MAX_KEYS = 1_000
"""Keys of one tenant, those that no longer hold included."""

_TRIES = 5
_CHUNK = 200


class TooManyKeysError(Exception):
    """The tenant has as many keys as it may."""


class KeyDesk:
    """Makes, finds, lists and ends keys. Every method may raise `StoreAwayError`, `find` excepted."""

    def __init__(self, documents: DocumentStore, clock: Clock) -> None:
        self._documents = documents
        self._clock = clock
        self._log = get_logger(__name__)

    async def find(self, key_id: str) -> KeyRecord | None:
        """The key of this id; see `app.access.stored.KeySource`."""
        try:
            found = await self._found(key_id)
        except StoreAwayError as error:
            raise KeysAwayError("the store does not answer") from error
        return None if found is None else found[0]

    async def get(self, key_id: str) -> KeyRecord | None:
        """The key of this id."""
        found = await self._found(key_id)
        return None if found is None else found[0]

    async def add(self, record: KeyRecord) -> None:
        """Keeps a new key.

        Raises:
            TooManyKeysError: the tenant has too many.
        """
        if await self._count(record.tenant) >= MAX_KEYS:
            raise TooManyKeysError(f"expected at most {MAX_KEYS} keys of a tenant")
        # First that it is there: a key that could be used and is not listed could not be revoked.
        await self._documents.put(record.tenant, INDEX, record.key_id, {}, ttl_s=self._ttl_s(record))
        await self._put(record, 0)

    async def change(self, key_id: str, how: Callable[[KeyRecord], KeyRecord]) -> KeyRecord | None:
        """Replaces a key by what `how` makes of it, also where somebody else changes it meanwhile."""
        for attempt in range(1, _TRIES + 1):
            found = await self._found(key_id)
            if found is None:
                return None
            changed = how(found[0])
            try:
                await self._put(changed, found[1])
            except DocumentConflictError:
                if attempt == _TRIES:
                    raise
                continue
            await self._documents.put(changed.tenant, INDEX, key_id, {}, ttl_s=self._ttl_s(changed))
            return changed
        return None

    async def revoke(self, key_id: str) -> KeyRecord | None:
        """Ends a key now; one that was revoked stays so since then."""
        now = self._clock.now()
        return await self.change(
            key_id, lambda key: key if key.revoked_at is not None else replace(key, revoked_at=now)
        )

    async def list(self, tenant: str | None, *, cursor: str | None, limit: int) -> Page[KeyRecord]:
        """Keys of a tenant (None: of all of them), by id; a page may be short although more follow.

        Raises:
            BadCursorError: the cursor is not of such a list.
        """
        if tenant is None:
            page = await self._documents.list(SITE_TENANT, KIND, cursor=cursor, limit=limit)
            records = [self._read(document) for document in page.items]
        else:
            page = await self._documents.list(tenant, INDEX, cursor=cursor, limit=limit)
            records = list(await asyncio.gather(*(self.get(document.key) for document in page.items)))
        return Page(tuple(record for record in records if record is not None), page.next)

    async def _found(self, key_id: str) -> tuple[KeyRecord, int] | None:
        try:
            document = await self._documents.get(SITE_TENANT, KIND, key_id)
        except DocumentNotFoundError:
            return None
        record = self._read(document)
        return None if record is None else (record, document.version)

    async def _put(self, record: KeyRecord, version: int) -> None:
        await self._documents.put(
            SITE_TENANT,
            KIND,
            record.key_id,
            record.to_json(),
            ttl_s=self._ttl_s(record),
            expected_version=version,
        )

    async def _count(self, tenant: str) -> int:
        count, cursor = 0, None
        while count < MAX_KEYS:
            page = await self._documents.list(tenant, INDEX, cursor=cursor, limit=_CHUNK)
            count, cursor = count + len(page.items), page.next
            if cursor is None:
                break
        return count

    def _ttl_s(self, record: KeyRecord) -> float | None:
        ends = [at for at in (record.expires_at, record.revoked_at) if at is not None]
        return max(1.0, min(ends) - self._clock.now() + KEPT_S) if ends else None

    def _read(self, document: Document) -> KeyRecord | None:
        """What a document says; one that cannot be read is a key that does not hold."""
        try:
            record = KeyRecord.from_json(document.value)
        except KeyFormatError as error:
            self._log.error("stored_key_unreadable", why=str(error))
            return None
        return record if record.key_id == document.key else None
