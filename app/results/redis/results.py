"""Calls, their records, the feed and the statistics in Redis."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any
from urllib.parse import unquote

from app.records import record_from_body
from app.results.redis.link import Command, RedisLink
from app.results.redis.naming import (
    TENANTS,
    call_from_cursor,
    digest,
    meta_key,
    milliseconds,
    owner_key,
    sortable,
    to_cursor,
)
from app.results.redis.text import loads
from app.results.redis.values import call_of, member_of, outcome_of, run_of, sums_of
from app.results.store import (
    CallFilter,
    CallInfo,
    CallNotFoundError,
    CallState,
    FeedEntry,
    FeedRange,
    NotResumableError,
    Page,
    RecordRange,
    StatBucket,
    Stored,
    StoreError,
)
from app.results.writes import EraseCall, OpenCall, Write

ERASED = "call_erased"
_NOTE_TENANTS = """
local now = redis.call('TIME')
for i = 2, #ARGV do redis.call('ZADD', KEYS[1], now[1], ARGV[i]) end
return redis.call('PEXPIRE', KEYS[1], ARGV[1])
"""
_TENANTS = "return redis.call('ZRANGE', KEYS[1], 0, -1, 'WITHSCORES')"
_FORGET_TENANT = """
local at, now = redis.call('ZSCORE', KEYS[1], ARGV[1]), redis.call('TIME')
if at and tonumber(at) == tonumber(ARGV[2]) and now[1] - at > 3600 then redis.call('ZREM', KEYS[1], ARGV[1]) end
"""
_FEED_STEP = 500
_STATS_STEP = 288
_SCAN_STEP = 250


class RedisResultStore:
    """A `ResultStore` in Redis; see the package for how it lies there.

    A change carried out once answers as a duplicate ever after, so whoever got no answer may send it again. A call
    that Redis no longer holds (it came back without its data) is not known: `CallNotFoundError`.

    erasures: calls erased through here; their bytes are on the disk until `RedisStores.compact`.
    """

    def __init__(self, link: RedisLink) -> None:
        self.erasures = 0
        self._link = link

    @property
    def durable(self) -> bool:
        """Whether what is written now is on disk before the answer; see `Durability`."""
        return self._link.durability.now

    async def write(self, writes: Sequence[Write]) -> list[Stored | StoreError]:
        """Carries out changes in one round trip; see `ResultStore.write`."""
        if not writes:
            return []
        runs = [run_of(self._link, write) for write in writes]
        tenants = sorted({write.call.tenant for write in writes if isinstance(write, OpenCall)})
        kept = milliseconds(2 * self._link.options.tenant_ttl_s)
        noted: list[Command] = [("EVAL", _NOTE_TENANTS, 1, TENANTS, kept, *tenants)] if tenants else []
        answers, durable = await self._link.all([*noted, *runs])
        outcomes = [outcome_of(answer, durable) for answer in answers[len(noted) :]]
        self.erasures += sum(
            isinstance(write, EraseCall) and isinstance(outcome, Stored) and not outcome.duplicate
            for write, outcome in zip(writes, outcomes, strict=True)
        )
        return outcomes

    async def list_calls(
        self, tenant: str, which: CallFilter, *, cursor: str | None, limit: int
    ) -> Page[CallInfo]:
        """Calls, latest start first; see `ResultStore.list_calls`.

        Looks at a bounded number of calls; a page may be short, or empty, although more follow.
        """
        high = _lower_of(
            None if cursor is None else call_from_cursor(cursor),
            None if which.until is None else sortable(which.until),
        )
        low = "-" if which.since is None else f"[{sortable(which.since)}"
        wanted = (_wanted(which.state and which.state[0]), _wanted(which.line))
        index = "calls" if which.line is None else f"line:{which.line}"
        if which.state is CallState.ACTIVE:
            index = "active"
        filters = (*wanted, _wanted(which.team), _wanted(which.outcome))
        found: list[CallInfo] = []
        look, more = max(self._link.options.scan_calls, limit + 1), True
        last = None
        while more and look > 0 and len(found) <= limit:
            step = min(look, _SCAN_STEP)
            asked = (index, high, low, limit + 1 - len(found), step, *filters)
            left, seen, calls = await self._link.one(self._link.rest(meta_key(tenant), "page", *asked))
            found += [call_of(tenant, call) for call in calls]
            more, look = left == 1, look - step
            if seen:
                last, high = seen, f"({seen}"
        if len(found) > limit:
            last, more = member_of(found[limit - 1]) if limit else last, True
        return Page(tuple(found[:limit]), to_cursor(last) if more and last else None)

    async def get_call(self, tenant: str, call_id: str) -> CallInfo:
        """One call; see `ResultStore.get_call`."""
        answer = await self._link.one(self._link.rest(meta_key(tenant), "call", call_id))
        if not answer:
            raise CallNotFoundError(f"call {call_id} is not known")
        return call_of(tenant, answer)

    async def list_records(self, tenant: str, call_id: str, *, from_seq: int, limit: int) -> RecordRange:
        """The records of a call; see `ResultStore.list_records`."""
        asked = (call_id, max(0, from_seq), max(0, limit))
        answer = await self._link.one(self._link.rest(meta_key(tenant), "records", *asked))
        if answer == ["none"]:
            raise CallNotFoundError(f"call {call_id} is not known")
        _, first, last, texts = answer
        items = tuple(record_from_body(self._body(text)) for text in texts)
        return RecordRange(items, first, last)

    async def resume_call(
        self, tenant: str, call_id: str, *, secret_digest: str, owner: str, now: float
    ) -> CallInfo:
        """Makes a call that broke off live again; see `ResultStore.resume_call`."""
        asked = (call_id, secret_digest, owner, repr(float(now)))
        answer = await self._link.one(self._link.write(meta_key(tenant), "resume", *asked))
        if answer == ["none"]:
            raise CallNotFoundError(f"call {call_id} is not known")
        if answer == ["refused"]:
            raise NotResumableError(f"call {call_id} cannot be taken up again")
        return call_of(tenant, answer[1])

    async def calls_of_subject(self, tenant: str, subject: str) -> tuple[str, ...]:
        """Ids of the calls of a subject; see `ResultStore.calls_of_subject`."""
        answer = await self._link.one(self._link.rest(meta_key(tenant), "subject", digest(subject)))
        return tuple(sorted(answer))

    async def read_feed(self, tenant: str, *, after: int, limit: int) -> FeedRange:
        """Entries of the feed; see `ResultStore.read_feed`."""
        items: list[FeedEntry] = []
        while True:
            step = max(0, min(_FEED_STEP, limit - len(items)))
            asked = (max(0, after), step)
            first, last, entries = await self._link.one(self._link.rest(meta_key(tenant), "feed", *asked))
            items += [self._entry(*entry) for entry in entries]
            if len(entries) < step or len(items) >= limit:
                return FeedRange(tuple(items), first, last)
            after = items[-1].position

    async def version(self, tenant: str) -> int:
        """A number that grows with every change; see `ResultStore.version`."""
        return await self._link.count(self._link.rest(meta_key(tenant), "version"))

    async def stats(self, tenant: str, *, since: float, until: float) -> list[StatBucket]:
        """Every bucket of a time; see `ResultStore.stats`."""
        found: list[StatBucket] = []
        low = repr(float(since))
        while True:
            asked = (low, f"({float(until)!r}", _STATS_STEP)
            buckets = await self._link.one(self._link.rest(meta_key(tenant), "stats", *asked))
            for start, fields in buckets:
                for field, value in zip(fields[::2], fields[1::2], strict=True):
                    found.append(StatBucket(float(start), *sums_of(field, value)))
            if len(buckets) < _STATS_STEP:
                return sorted(found, key=lambda bucket: (bucket.start, str(bucket.key)))
            low = f"({buckets[-1][0]}"

    async def tenants(self) -> tuple[str, ...]:
        """Every tenant that has something; see `ResultStore.tenants`."""
        flat = await self._link.one(("EVAL", _TENANTS, 1, TENANTS))
        known = dict(zip(flat[::2], flat[1::2], strict=True))
        if not known:
            return ()
        answers, _ = await self._link.all([("EXISTS", meta_key(tenant)) for tenant in known])
        there = {tenant for tenant, answer in zip(known, answers, strict=True) if answer == 1}
        for tenant in known.keys() - there:
            await self._link.one(("EVAL", _FORGET_TENANT, 1, TENANTS, tenant, known[tenant]))
        return tuple(sorted(there))

    async def heartbeat(self, owner: str, ttl_s: float) -> None:
        """Notes that an owner lives; see `ResultStore.heartbeat`."""
        await self._link.one(("SET", owner_key(owner), 1, "PX", milliseconds(ttl_s)))

    async def orphans(self, tenant: str) -> tuple[CallInfo, ...]:
        """Live calls whose owner's heartbeat has stopped; see `ResultStore.orphans`."""
        flat = await self._link.one(self._link.rest(meta_key(tenant), "owners"))
        owners = dict(zip(flat[::2], flat[1::2], strict=True))
        asked = sorted(set(owners.values()))
        if not asked:
            return ()
        answers, _ = await self._link.all([("EXISTS", owner_key(owner)) for owner in asked])
        gone = {owner for owner, answer in zip(asked, answers, strict=True) if answer != 1}
        left = [call_id for call_id, owner in owners.items() if owner in gone]
        if not left:
            return ()
        hashes, _ = await self._link.all(
            [self._link.rest(meta_key(tenant), "call", call_id) for call_id in left]
        )
        calls = [call_of(tenant, answer) for answer in hashes if answer and isinstance(answer, list)]
        return tuple(call for call in calls if call.state is CallState.ACTIVE and call.owner in gone)

    async def ping(self) -> None:
        """Returns when Redis answers."""
        await self._link.one(("PING",))

    async def close(self) -> None:
        """Lets go of every connection, also those of what is kept beside calls."""
        await self._link.close()

    def _body(self, text: str) -> dict[str, Any]:
        return {**loads(text), "durable": self.durable}

    def _entry(
        self, position: int, kind: str, seq: str, call_id: str, origin: str, text: str | None
    ) -> FeedEntry:
        kind = unquote(kind)
        if kind == ERASED:
            return FeedEntry(position, ERASED, call_id, {"call_id": call_id}, None, origin)
        if text is None:
            return FeedEntry(position, ERASED, call_id, {})
        if seq != "-":
            return FeedEntry(position, kind, call_id, self._body(text), int(seq), origin)
        return FeedEntry(position, kind, call_id, loads(text), None, origin)


def _wanted(value: str | None) -> str:
    return "" if value is None else f"={value}"


def _lower_of(*bounds: str | None) -> str:
    """The lowest of several upper bounds of names, none of which is inside."""
    given = [bound.encode("utf-8", "surrogatepass") for bound in bounds if bound is not None]
    return f"({min(given).decode('utf-8', 'surrogatepass')}" if given else "+"
