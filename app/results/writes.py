"""Every change of a result store as a value: carried out now, or kept in a spool and carried out in order later."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias

from app.domain import UtteranceRecord
from app.results.store import CallInfo


@dataclass(frozen=True, slots=True)
class OpenCall:
    """A live call begins. Appends `call_started` to the feed with `body`.

    The same call told again (same owner, same start) is a duplicate; another with its id is refused.
    """

    call: CallInfo
    body: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class AppendRecord:
    """A record of a live call. Its `seq` and `created_at` are set.

    A `seq` that is held already is a duplicate and changes nothing. One that skips numbers is taken: the numbers
    between count as `dropped`. Counts towards the statistics where the leg is a customer's. Appends `utterance` to the
    feed; the body of that entry is the record's.
    """

    tenant: str
    record: UtteranceRecord
    owner: str = ""


@dataclass(frozen=True, slots=True)
class AddMetadata:
    """More members of a call's metadata; those of the same names are replaced."""

    tenant: str
    call_id: str
    values: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class CloseCall:
    """A call ends. Appends `call_ended` to the feed with `body`. A second one changes nothing.

    ttl_s: how long the call is kept from now on. resume_until: until when it may be taken up again, epoch seconds;
    None for never.
    """

    tenant: str
    call_id: str
    outcome: str
    ended_at: float
    summary: Mapping[str, Any] | None
    body: Mapping[str, Any]
    ttl_s: float
    resume_until: float | None = None
    owner: str = ""


@dataclass(frozen=True, slots=True)
class AddFeedEntry:
    """Something else for the feed (an alert). key: makes it unique; a second one with it changes nothing."""

    tenant: str
    type: str
    call_id: str
    key: str
    body: Mapping[str, Any]
    owner: str = ""


@dataclass(frozen=True, slots=True)
class Enqueue:
    """Work for later, in a queue of `app.results.queue`. A key that is queued or was done lately changes nothing.

    call_id: whose erasure removes it.
    """

    tenant: str
    queue: str
    key: str
    payload: Mapping[str, Any]
    due_at: float
    call_id: str | None = None


@dataclass(frozen=True, slots=True)
class EraseCall:
    """Everything of an ended call goes.

    That is: itself, its records, its share of the feed and of the statistics, documents and queued work that belong
    to it. Appends `call_erased` to the feed. An unknown call is fine (`duplicate`).

    The entries of the feed keep their positions and become `call_erased` without a body.
    """

    tenant: str
    call_id: str
    owner: str = ""


Write: TypeAlias = OpenCall | AppendRecord | AddMetadata | CloseCall | AddFeedEntry | Enqueue | EraseCall
