"""The contract of a result store, and the values it holds."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Generic, Protocol, TypeVar

from app.domain import Leg, UtteranceRecord

T = TypeVar("T")


class StoreError(Exception):
    """A store could not do what was asked."""


class CallExistsError(StoreError):
    """A call with this id is known already, live or ended."""


class CallNotFoundError(StoreError):
    """No call with this id is known: never was, expired, or erased."""


class CallActiveError(StoreError):
    """What was asked can only be done once the call has ended."""


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
    utterances: records made so far (also those no longer held). dropped: of these, no longer held.
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


@dataclass(frozen=True, slots=True)
class Page(Generic[T]):
    """One page of a list. `next` asks for the page after it; None on the last."""

    items: tuple[T, ...]
    next: str | None


@dataclass(frozen=True, slots=True)
class CallFilter:
    """Which calls to list; None does not filter."""

    line: str | None = None
    state: CallState | None = None


class ResultStore(Protocol):
    """Where calls and their records are kept, bounded in number and in time."""

    async def open_call(self, call: CallInfo) -> None:
        """Registers a live call.

        Raises:
            CallExistsError: the id is taken by a live call or by an ended one that is still held.
        """
        ...

    async def append(self, record: UtteranceRecord) -> None:
        """Adds a record to its call.

        Raises:
            CallNotFoundError: the call is not held.
        """
        ...

    async def add_metadata(self, call_id: str, values: Mapping[str, Any]) -> None:
        """Adds members to a call's metadata; those of the same names are replaced.

        Raises:
            CallNotFoundError: the call is not held.
        """
        ...

    async def close_call(
        self, call_id: str, *, outcome: str, ended_at: float, summary: Mapping[str, Any]
    ) -> None:
        """Marks a call as ended.

        Raises:
            CallNotFoundError: the call is not held.
        """
        ...

    async def list_calls(self, which: CallFilter, *, cursor: str | None, limit: int) -> Page[CallInfo]:
        """Calls, latest start first.

        Raises:
            BadCursorError: the cursor was not given by this store.
        """
        ...

    async def get_call(self, call_id: str) -> CallInfo:
        """One call.

        Raises:
            CallNotFoundError: it is not held.
        """
        ...

    async def list_utterances(self, call_id: str, *, cursor: str | None, limit: int) -> Page[UtteranceRecord]:
        """The records of a call in the order they were made.

        Raises:
            CallNotFoundError: the call is not held.
            BadCursorError: the cursor was not given by this store.
        """
        ...

    async def delete_call(self, call_id: str) -> None:
        """Erases a call and everything recorded of it.

        Raises:
            CallNotFoundError: it is not held.
            CallActiveError: it has not ended.
        """
        ...

    async def ping(self) -> None:
        """Returns when the store can be used.

        Raises:
            StoreError: it cannot.
        """
        ...
