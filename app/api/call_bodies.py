"""The shapes of answers about one call."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from app.api.protocol import (
    Body,
    CallDetailBody,
    Listing,
    UtteranceBody,
    call_detail_body,
)
from app.domain import AbstainReason, Leg, UtteranceRecord
from app.records import record_body
from app.results.leg_summary import leg_summaries
from app.results.store import CallInfo, RecordRange


class AbstainedBody(Body):
    """Utterances abstained on for one reason. `share`: of all utterances of the leg."""

    utterances: int
    share: float


class PeakBody(Body):
    """Where an emotion's posterior was largest. `at_s`: when that utterance began."""

    score: float
    at_s: float
    utterance_id: str


class SoundBody(Body):
    """How a leg sounded. `arousal`, `valence`: means weighted by duration; `emotion_seconds`: by named emotion."""

    arousal: float | None
    valence: float | None
    emotion_seconds: dict[str, float]
    peaks: dict[str, PeakBody]


class LegSummaryBody(Body):
    """What the records of a leg come to. `sound` is null for an agent who was not scored."""

    utterances: int
    seconds: float
    abstained_share: float
    abstained: dict[AbstainReason, AbstainedBody]
    sound: SoundBody | None


class CallReportBody(CallDetailBody):
    """A call with everything but its full records. `by_leg` is made of the records that are held."""

    by_leg: dict[Leg, LegSummaryBody]


class GapBody(Body):
    """Records that are not held any more: both numbers included."""

    from_seq: int
    to_seq: int


class RecordListing(Listing[UtteranceBody]):
    """A page of a call's records.

    `first_seq`: of the oldest record held; `last_seq`: of the newest there ever was (0 for none). `gaps`: which of the
    numbers that the page covers are not held any more.
    """

    first_seq: int
    last_seq: int
    gaps: list[GapBody]


class UtteranceDetailBody(UtteranceBody):
    """One record, and where its call came from."""

    line: str
    team: str | None


def call_report_body(call: CallInfo, records: tuple[UtteranceRecord, ...]) -> dict[str, Any]:
    """A call as a `CallReportBody`."""
    return {**call_detail_body(call, records), "by_leg": leg_summaries(records)}


def record_listing(found: RecordRange, from_seq: int, limit: int) -> tuple[dict[str, Any], int | None]:
    """What was asked for from `from_seq` on, without `next`; and the number the next page begins with."""
    seqs = [record.seq or 0 for record in found.items]
    # A full page covers what it shows; one that is not covers everything there ever was.
    end = seqs[-1] if len(seqs) >= limit else found.last_seq
    body = {
        "items": [record_body(record) for record in found.items],
        "first_seq": found.first_seq,
        "last_seq": found.last_seq,
        "gaps": gaps(seqs, from_seq, end),
    }
    return body, end + 1 if end < found.last_seq else None


def gaps(seqs: Sequence[int], begin: int, end: int) -> list[dict[str, int]]:
    """The numbers of [begin, end] that are not among `seqs` (ascending), as ranges."""
    found: list[dict[str, int]] = []
    expected = begin
    for seq in [*seqs, end + 1]:
        if seq > expected:
            found.append({"from_seq": expected, "to_seq": seq - 1})
        expected = seq + 1
    return found
