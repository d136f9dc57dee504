"""The contract of a result store, and the values it holds.

Everything belongs to a *tenant*: two of them may use the same call ids and never see each other's. What changes the
store is a value (`app.results.writes`), so that it can wait in a spool on disk while the store is away.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING, Any, Generic, Protocol, TypeVar

from app.domain import DEFAULT_TENANT, Leg, UtteranceRecord

if TYPE_CHECKING:
    from app.results.writes import Write

T = TypeVar("T")


class StoreError(Exception):
    """A store could not do what was asked."""


class StoreAwayError(StoreError):
    """The store does not answer; what was asked may or may not have been done."""


class CallExistsError(StoreError):
    """A call with this id is known already, live or ended."""


class CallNotFoundError(StoreError):
    """No call with this id is known: never was, expired, or erased."""


class CallActiveError(StoreError):
    """What was asked can only be done once the call has ended."""


class NotResumableError(StoreError):
    """The call cannot be taken up again: wrong secret, too late, or it ended as it should."""


class BadCursorError(StoreError):
    """A cursor that this store never gave."""


class CallState(StrEnum):
    """Where a call is in its life."""

    ACTIVE = "active"
    ENDED = "ended"


@dataclass(frozen=True, slots=True)
class CallInfo:
    """One call as the store knows it.

    started_at, ended_at: seconds since the epoch. outcome: how the call ended, None while it is live.
    metadata: what the client gave at the start, untouched, and what came later; erased with the call.
    summary: the end-of-call accounting of `docs/protocol.md`, None while it is live.
    utterances: records made so far (also those no longer held). dropped: of these, no longer held, or never stored.
    team: a tag of the call for statistics. subject: a pseudonym of the caller, by which calls can be erased.
    owner: the process that works the call, as a random text.
    resume: digest of the secret with which the call may be taken up again; resume_until: seconds since the epoch.
    version: grows by one with every change of the call.
    """

    call_id: str
    line: str
    legs: tuple[Leg, ...]
    started_at: float
    state: CallState = CallState.ACTIVE
    language: str | None = None
    ended_at: float | None = None
    outcome: str | None = None
    metadata: Mapping[str, Any] = field(default_factory=dict)
    summary: Mapping[str, Any] | None = None
    utterances: int = 0
    dropped: int = 0
    tenant: str = DEFAULT_TENANT
    team: str | None = None
    subject: str | None = None
    owner: str = ""
    resume: str | None = None
    resume_until: float | None = None
    version: int = 0


@dataclass(frozen=True, slots=True)
class Page(Generic[T]):
    """One page of a list. `next` asks for the page after it; None on the last."""

    items: tuple[T, ...]
    next: str | None


@dataclass(frozen=True, slots=True)
class CallFilter:
    """Which calls to list; None does not filter. since, until: bounds of the start, epoch seconds, [since, until)."""

    line: str | None = None
    state: CallState | None = None
    team: str | None = None
    outcome: str | None = None
    since: float | None = None
    until: float | None = None


@dataclass(frozen=True, slots=True)
class RecordRange:
    """Records of one call, in order of `seq`.

    first_seq: the oldest still held (last_seq + 1 where none is); last_seq: the newest there ever was, 0 for none.
    What lies between the number asked for and the first item, and between items, is not held any more.
    """

    items: tuple[UtteranceRecord, ...]
    first_seq: int
    last_seq: int


@dataclass(frozen=True, slots=True)
class FeedEntry:
    """Something of lasting interest that happened to a tenant's calls.

    position: 1, 2, 3 … without holes within the tenant. type: `call_started`, `utterance`, `call_ended`,
    `call_erased`, `alert`. body: JSON-ready. seq: of the record, for an utterance. origin: the owner that wrote it.
    """

    position: int
    type: str
    call_id: str
    body: Mapping[str, Any]
    seq: int | None = None
    origin: str = ""


@dataclass(frozen=True, slots=True)
class FeedRange:
    """Entries of a tenant's feed. first: the oldest position held (last + 1 where none is); last: the newest ever."""

    items: tuple[FeedEntry, ...]
    first: int
    last: int


@dataclass(frozen=True, slots=True)
class Stored:
    """What became of a write. durable: it survives a killed process and a killed store. position: in the feed.

    duplicate: it was there already. waiting: it lies in the spool.
    """

    durable: bool = False
    position: int | None = None
    duplicate: bool = False
    waiting: bool = False


@dataclass(frozen=True, slots=True)
class StatKey:
    """What a statistic counts apart. outcome: `scored`, or why not. Only customers are counted, ever."""

    line: str
    team: str | None
    emotion: str | None
    outcome: str


@dataclass(frozen=True, slots=True)
class StatSums:
    """Sums over utterances; divide by `n` for means. scored: of the n, those with arousal, valence and confidence."""

    n: int = 0
    seconds: float = 0.0
    scored: int = 0
    confidence: float = 0.0
    arousal: float = 0.0
    valence: float = 0.0
    expected_cost: float = 0.0

    def __add__(self, other: StatSums) -> StatSums:
        return StatSums(
            self.n + other.n,
            self.seconds + other.seconds,
            self.scored + other.scored,
            self.confidence + other.confidence,
            self.arousal + other.arousal,
            self.valence + other.valence,
            self.expected_cost + other.expected_cost,
        )

    def negated(self) -> StatSums:
        """What takes these sums away again."""
        return StatSums(
            -self.n,
            -self.seconds,
            -self.scored,
            -self.confidence,
            -self.arousal,
            -self.valence,
            -self.expected_cost,
        )


@dataclass(frozen=True, slots=True)
class StatBucket:
    """One combination in one stretch of time. start: epoch seconds, a multiple of `STAT_BUCKET_S`."""

    start: float
    key: StatKey
    sums: StatSums


STAT_BUCKET_S = 300
"""Statistics are kept in stretches of five minutes; longer ones are sums of these."""


class ResultStore(Protocol):
    """Where calls and their records are kept, bounded in number and in time.

    Every method may raise `StoreAwayError`.
    """

    async def write(self, writes: Sequence[Write]) -> list[Stored | StoreError]:
        """Carries out changes in order; each is atomic and may be repeated without effect.

        Returns, for each, what became of it, or the error that refused this one (the others are carried out):
        `CallExistsError` (OpenCall of an id that is held by another call), `CallNotFoundError` (AppendRecord,
        AddMetadata or CloseCall of a call that is not held), `CallActiveError` (EraseCall of a live one).
        """
        ...

    async def list_calls(
        self, tenant: str, which: CallFilter, *, cursor: str | None, limit: int
    ) -> Page[CallInfo]:
        """Calls, latest start first. A page may be short although more follow; `next` tells.

        Raises:
            BadCursorError: the cursor was not given by this store.
        """
        ...

    async def get_call(self, tenant: str, call_id: str) -> CallInfo:
        """One call.

        Raises:
            CallNotFoundError: it is not held.
        """
        ...

    async def list_records(self, tenant: str, call_id: str, *, from_seq: int, limit: int) -> RecordRange:
        """The records of a call with `seq` at least `from_seq`, in order; at most `limit`.

        Raises:
            CallNotFoundError: the call is not held.
        """
        ...

    async def resume_call(
        self, tenant: str, call_id: str, *, secret_digest: str, owner: str, now: float
    ) -> CallInfo:
        """Makes a call that broke off live again, for a new owner; only one of several that try succeeds.

        Raises:
            CallNotFoundError: it is not held.
            NotResumableError: it is live, ended as it should, the secret is another, or it is too late.
        """
        ...

    async def calls_of_subject(self, tenant: str, subject: str) -> tuple[str, ...]:
        """Ids of the calls of a subject that are held."""
        ...

    async def read_feed(self, tenant: str, *, after: int, limit: int) -> FeedRange:
        """Entries of the feed with positions above `after`, in order."""
        ...

    async def version(self, tenant: str) -> int:
        """A number that grows with every change of the tenant's calls (cheap: for ETags)."""
        ...

    async def stats(self, tenant: str, *, since: float, until: float) -> list[StatBucket]:
        """Every bucket that begins in [since, until), by time."""
        ...

    async def tenants(self) -> tuple[str, ...]:
        """Every tenant that ever opened a call and still has something."""
        ...

    async def heartbeat(self, owner: str, ttl_s: float) -> None:
        """Says that an owner lives for at least so long."""
        ...

    async def orphans(self, tenant: str) -> tuple[CallInfo, ...]:
        """Live calls whose owner's heartbeat has stopped."""
        ...

    async def ping(self) -> None:
        """Returns when the store can be used."""
        ...

    async def close(self) -> None:
        """Lets go of connections."""
        ...
