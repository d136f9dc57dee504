"""What the records of a leg come to."""

from __future__ import annotations

from dataclasses import replace

from app.domain import AbstainReason, Leg
from app.results.leg_summary import leg_summaries
from tests.support.records import make_record


def test_a_leg_is_summed_up() -> None:
    """Means are weighted by duration; peaks are the largest posteriors, of abstentions too."""
    records = [
        replace(make_record(index=0), end_s=1.0, arousal=0.5, valence=-1.0, scores={"anger": 0.9, "joy": 0.1}),
        replace(make_record(index=1), start_s=2.0, end_s=5.0, arousal=0.1, valence=0.0),
        replace(make_record(index=2, reason=AbstainReason.UNCERTAIN), scores={"joy": 0.4}, arousal=None, valence=None),
        make_record(index=3, reason=AbstainReason.TOO_SHORT),
    ]  # fmt: skip
    summary = leg_summaries(records)["customer"]
    assert (summary["utterances"], summary["seconds"], summary["abstained_share"]) == (4, 7.0, 0.5)
    assert summary["abstained"] == {
        "too_short": {"utterances": 1, "share": 0.25},
        "uncertain": {"utterances": 1, "share": 0.25},
    }
    sound = summary["sound"]
    assert (sound["arousal"], sound["valence"]) == (0.2, -0.25)
    assert sound["emotion_seconds"] == {"anger": 4.0}
    assert sound["peaks"]["anger"] == {"score": 0.9, "at_s": 0.0, "utterance_id": "call-1.customer.0000"}
    assert sound["peaks"]["joy"] == {"score": 0.4, "at_s": 4.0, "utterance_id": "call-1.customer.0002"}


def test_an_agent_who_was_not_scored_has_no_sound() -> None:
    """One who lawfully was has."""
    unscored = make_record(index=0, leg=Leg.AGENT, reason=AbstainReason.POLICY)
    assert leg_summaries([unscored])["agent"]["sound"] is None
    assert leg_summaries([unscored, make_record(index=1, leg=Leg.AGENT)])["agent"]["sound"] is not None


def test_a_silent_call_has_no_legs() -> None:
    """And a leg that nothing is known of has no means."""
    assert leg_summaries([]) == {}
    sound = leg_summaries([make_record(reason=AbstainReason.TOO_SHORT)])["customer"]["sound"]
    assert (sound["arousal"], sound["peaks"], sound["emotion_seconds"]) == (None, {}, {})
