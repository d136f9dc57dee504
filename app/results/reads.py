"""The reading half of a store that may be away."""

from __future__ import annotations

from app.results.store import (
    CallFilter,
    CallInfo,
    FeedRange,
    Page,
    RecordRange,
    ResultStore,
    StatBucket,
    StoreAwayError,
)
from app.results.store_metrics import StoreState


class StoreReads:
    """Reads from the store behind; while it is away, every method raises `StoreAwayError` without asking it."""

    def __init__(self, inner: ResultStore) -> None:
        self._inner = inner
        self._state = StoreState.OK

    @property
    def state(self) -> StoreState:
        """Whether the store can be used."""
        return self._state

    async def list_calls(
        self, tenant: str, which: CallFilter, *, cursor: str | None, limit: int
    ) -> Page[CallInfo]:
        """See `ResultStore.list_calls`."""
        return await self._up().list_calls(tenant, which, cursor=cursor, limit=limit)

    async def get_call(self, tenant: str, call_id: str) -> CallInfo:
        """See `ResultStore.get_call`."""
        return await self._up().get_call(tenant, call_id)

    async def list_records(self, tenant: str, call_id: str, *, from_seq: int, limit: int) -> RecordRange:
        """See `ResultStore.list_records`."""
        return await self._up().list_records(tenant, call_id, from_seq=from_seq, limit=limit)

    async def calls_of_subject(self, tenant: str, subject: str) -> tuple[str, ...]:
        """See `ResultStore.calls_of_subject`."""
        return await self._up().calls_of_subject(tenant, subject)

    async def read_feed(self, tenant: str, *, after: int, limit: int) -> FeedRange:
        """See `ResultStore.read_feed`."""
        return await self._up().read_feed(tenant, after=after, limit=limit)

    async def version(self, tenant: str) -> int:
        """See `ResultStore.version`."""
        return await self._up().version(tenant)

    async def stats(self, tenant: str, *, since: float, until: float) -> list[StatBucket]:
        """See `ResultStore.stats`."""
        return await self._up().stats(tenant, since=since, until=until)

    async def tenants(self) -> tuple[str, ...]:
        """See `ResultStore.tenants`."""
        return await self._up().tenants()

    async def heartbeat(self, owner: str, ttl_s: float) -> None:
        """See `ResultStore.heartbeat`."""
        await self._up().heartbeat(owner, ttl_s)

    async def orphans(self, tenant: str) -> tuple[CallInfo, ...]:
        """See `ResultStore.orphans`."""
        return await self._up().orphans(tenant)

    async def ping(self) -> None:
        """Returns when the store can be read and written.

        Raises:
            StoreAwayError: it cannot.
        """
        await self._up().ping()

    def _up(self) -> ResultStore:
        if self._state is StoreState.AWAY:
            raise StoreAwayError("the store is away")
        return self._inner
