"""What one record adds to the statistics. Customers only: nobody is ever ranked by how their own voice sounds."""

from __future__ import annotations

from app.domain import Leg, UtteranceRecord
from app.results.store import STAT_BUCKET_S, StatKey, StatSums

SCORED = "scored"


def contribution(
    record: UtteranceRecord, line: str, team: str | None
) -> tuple[int, StatKey, StatSums] | None:
    """The start of the bucket (epoch seconds), what to count apart, and the sums; None for who is not counted."""
    if record.leg is not Leg.CUSTOMER or record.created_at is None:
        return None
    start = int(record.created_at // STAT_BUCKET_S) * STAT_BUCKET_S
    outcome = SCORED if record.reason is None else record.reason.value
    key = StatKey(line, team, record.emotion, outcome)
    seconds = round(record.end_s - record.start_s, 3)
    if record.confidence is None:
        return start, key, StatSums(1, seconds)
    sums = StatSums(
        1,
        seconds,
        1,
        record.confidence,
        record.arousal or 0.0,
        record.valence or 0.0,
        record.expected_cost or 0.0,
    )
    return start, key, sums
