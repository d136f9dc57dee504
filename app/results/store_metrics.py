"""What a durable store tells of itself, for metrics and readiness."""

from __future__ import annotations

from enum import StrEnum
from typing import Protocol


class StoreState(StrEnum):
    """OK: changes go to the store. AWAY: it does not answer. REPLAYING: it does, and what waited comes first."""

    OK = "ok"
    AWAY = "away"
    REPLAYING = "replaying"


class Refused(StrEnum):
    """Why a change that waited was not carried out: somebody else has the id, the call is not known, or was erased.

    UNREADABLE: not a change that this version knows. REJECTED: the store refused it otherwise.
    """

    EXISTS = "call_exists"
    UNKNOWN = "call_unknown"
    ERASED = "call_erased"
    UNREADABLE = "unreadable"
    REJECTED = "rejected"


class StoreMetrics(Protocol):
    """Who counts. All on the event loop."""

    def state(self, state: StoreState) -> None:
        """How the store stands from now on."""
        ...

    def spool(self, entries: int, size: int) -> None:
        """How many changes wait, and the bytes on disk, from now on."""
        ...

    def held(self, entries: int) -> None:
        """So many changes more went into the spool."""
        ...

    def carried_out(self, entries: int) -> None:
        """So many changes more came out of it and were carried out (or had been already)."""
        ...

    def refused(self, why: Refused, entries: int) -> None:
        """So many changes more that had been acknowledged were not carried out."""
        ...


class NoMetrics:
    """Counts nothing."""

    def state(self, state: StoreState) -> None:
        """Nothing."""

    def spool(self, entries: int, size: int) -> None:
        """Nothing."""

    def held(self, entries: int) -> None:
        """Nothing."""

    def carried_out(self, entries: int) -> None:
        """Nothing."""

    def refused(self, why: Refused, entries: int) -> None:
        """Nothing."""
