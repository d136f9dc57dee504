"""Lines for people."""

from __future__ import annotations

from typing import Any

import pytest

from app.cli.show import message_line, utterance_line
from app.domain import AbstainReason
from app.records import record_body
from tests.support.records import make_record


def body(reason: AbstainReason | None = None, detail: str | None = None) -> dict[str, Any]:
    """A record as the service sends it."""
    return record_body(make_record(reason=reason)) | {"detail": detail}


def test_a_scored_utterance_says_what_how_sure_and_what_else() -> None:
    """Times, leg, emotion, confidence, arousal and valence, and the runner-up."""
    line = utterance_line(body())
    assert (
        line == "   0.00 -   1.50 s  customer  anger       70 %  arousal +0.40  valence -0.50  (neutral 30 %)"
    )


def test_an_abstention_says_why_and_what_it_leans_to() -> None:
    """An uncertain utterance has no emotion, but its scores are worth seeing."""
    line = utterance_line(body(AbstainReason.UNCERTAIN, "confidence 0.40, 0.50 is needed"))
    assert "abstained   uncertain: confidence 0.40, 0.50 is needed; arousal +0.40" in line
    assert line.endswith("(anger 70 %, neutral 30 %)")


def test_an_event_stands_beside_the_scores() -> None:
    """Laughter and the like in brackets, whether or not an emotion is named."""
    scored = utterance_line(body() | {"event": "laughter", "event_score": 0.9})
    assert scored.endswith("valence -0.50  [laughter]  (neutral 30 %)")
    unsure = utterance_line(body(AbstainReason.UNCERTAIN) | {"event": "cough", "event_score": 0.9})
    assert "[cough]" in unsure


def test_withheld_scores_leave_only_the_reason() -> None:
    """Policy and the like show no figure at all."""
    line = utterance_line(body(AbstainReason.POLICY, "agents are not scored"))
    assert line.endswith("not scored  policy: agents are not scored")


def test_what_a_call_says_is_for_people() -> None:
    """Utterances, interims, warnings and the summary are lines; the rest is not."""
    assert message_line({"type": "utterance", **body()}) == utterance_line(body())
    assert message_line({"type": "interim", **body()}) == utterance_line(body()) + "  so far"
    warning = message_line({"type": "warning", "code": "long_gap", "detail": "3 s"})
    assert warning is not None
    assert warning.strip() == "warning: long_gap: 3 s"
    audio = {"scored_s": 2.0, "silence_s": 3.0, "rejected_s": 1.0, "lost_s": 0.0}
    summary = {"duration_s": 6.0, "legs": {"customer": {"utterances": 1, "audio": audio}}}
    assert message_line({"type": "summary", **summary}) == (
        "The call lasted 6.0 s.\n"
        "  customer: 1 utterances; 2.0 s scored, 1.0 s not scored, 3.0 s of silence, 0.0 s lost"
    )


@pytest.mark.parametrize("kind", ["ready", "speech_start", "mark", "something_new"])
def test_what_people_need_not_see_is_no_line(kind: str) -> None:
    """Messages without news, and those of later versions, are passed over."""
    assert message_line({"type": kind}) is None
