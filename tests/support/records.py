"""Records to put into stores and feeds."""

from __future__ import annotations

from app.domain import AbstainReason, AudioQuality, Leg, LineRef, ModelRef, UtteranceRecord


def make_record(
    call_id: str = "call-1", index: int = 0, *, leg: Leg = Leg.CUSTOMER, reason: AbstainReason | None = None
) -> UtteranceRecord:
    """One record: scored, or abstained on for `reason`."""
    scores = None if reason is not None and reason.hides_scores else {"anger": 0.7, "neutral": 0.3}
    return UtteranceRecord(
        call_id=call_id,
        leg=leg,
        utterance_id=f"{call_id}.{leg}.{index:04d}",
        start_s=2.0 * index,
        end_s=2.0 * index + 1.5,
        scores=scores,
        emotion="anger" if reason is None else None,
        abstained=reason is not None,
        reason=reason,
        detail=None,
        confidence=None if scores is None else 0.7,
        arousal=None if scores is None else 0.4,
        valence=None if scores is None else -0.5,
        expected_cost=None if scores is None else 0.3,
        salience=None,
        model=ModelRef("tiny", "0.0.1", "default"),
        line_profile=LineRef("default", index),
        audio_quality=AudioQuality(20.0, 0.0, 0.0),
    )
