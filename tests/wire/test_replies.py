"""The native protocol's replies: JSON objects with a type, whatever is in them."""

from __future__ import annotations

import json
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from app.domain import AbstainReason, AudioQuality, Leg, LineEvent, LineRef, ModelRef, UtteranceRecord
from app.records import record_body
from app.wire.base import CloseCode, WireError
from app.wire.native import (
    encode_error,
    encode_interim,
    encode_line_event,
    encode_mark,
    encode_ready,
    encode_speech_start,
    encode_summary,
    encode_utterance,
    encode_warning,
)

MODEL = ModelRef("kowairo-8k", "0.1.0", "default")
SCORED = UtteranceRecord(
    call_id="c",
    leg=Leg.CUSTOMER,
    utterance_id="c.customer.0000",
    start_s=0.4,
    end_s=2.06,
    scores={"anger": 0.75, "neutral": 0.25},
    emotion="anger",
    abstained=False,
    reason=None,
    detail=None,
    confidence=0.75,
    arousal=0.5,
    valence=-0.25,
    expected_cost=0.25,
    salience=(0.5, 0.5),
    model=MODEL,
    line_profile=LineRef("default", 3),
    audio_quality=AudioQuality(20.5, 0.0, 0.02, -24.5, 0.01, "pcm_mulaw/8000", 3.2),
    latency_ms=12.5,
    seq=1,
    created_at=1_795_860_002.06,
    durable=True,
)


def test_a_record_has_every_documented_field() -> None:
    """The public shape of a scored record."""
    assert json.loads(encode_utterance(SCORED)) == {
        "type": "utterance",
        "call_id": "c",
        "seq": 1,
        "leg": "customer",
        "utterance_id": "c.customer.0000",
        "start_s": 0.4,
        "end_s": 2.06,
        "scores": {"anger": 0.75, "neutral": 0.25},
        "emotion": "anger",
        "event": None,
        "event_score": None,
        "abstained": False,
        "reason": None,
        "detail": None,
        "not_speech_kind": None,
        "not_speech_name": None,
        "confidence": 0.75,
        "arousal": 0.5,
        "valence": -0.25,
        "expected_cost": 0.25,
        "salience": [0.5, 0.5],
        "model": {"bundle": "kowairo-8k", "version": "0.1.0", "head": "default"},
        "line_profile": {"id": "default", "n": 3},
        "audio_quality": {
            "snr_db": 20.5,
            "clipped": 0.0,
            "packet_loss": 0.02,
            "level_dbfs": -24.5,
            "concealed": 0.01,
            "codec": "pcm_mulaw/8000",
            "jitter_ms": 3.2,
        },
        "latency_ms": 12.5,
        "created_at": "2026-11-28T10:00:02.060Z",
        "durable": True,
    }


def test_an_abstention_keeps_the_shape() -> None:
    """Withheld values are null, the reason is text."""
    record = UtteranceRecord(
        call_id="c",
        leg=Leg.AGENT,
        utterance_id="c.agent.0000",
        start_s=0.0,
        end_s=1.0,
        scores=None,
        emotion=None,
        abstained=True,
        reason=AbstainReason.POLICY,
        detail="why",
        confidence=None,
        arousal=None,
        valence=None,
        expected_cost=None,
        salience=None,
        model=MODEL,
        line_profile=LineRef("default", 0),
        audio_quality=AudioQuality(None, 0.0, 0.0),
    )
    body = record_body(record)
    assert body.keys() == record_body(SCORED).keys()
    assert (body["emotion"], body["scores"], body["salience"], body["reason"]) == (None, None, None, "policy")


def test_an_interim_is_a_record_under_its_own_type() -> None:
    """Interims differ from utterances in their type only."""
    assert json.loads(encode_interim(SCORED)) == record_body(SCORED) | {"type": "interim"}


def test_ready_says_which_legs_will_not_be_scored_and_why() -> None:
    """A leg under policy is named with the reason; resume is null until resuming exists."""
    ready = json.loads(
        encode_ready("c", MODEL, {Leg.AGENT: "no purpose"}, [Leg.CUSTOMER, Leg.AGENT]),
    )
    assert ready == {
        "type": "ready",
        "call_id": "c",
        "model": {"bundle": "kowairo-8k", "version": "0.1.0", "head": "default"},
        "resume": None,
        "legs": {
            "customer": {"scored": True, "reason": None, "detail": None},
            "agent": {"scored": False, "reason": "policy", "detail": "no purpose"},
        },
    }


def test_small_replies_carry_their_fields() -> None:
    """speech_start, warning, mark, summary and line_event are their fields and a type."""
    assert json.loads(encode_speech_start("c", Leg.AGENT, "c.agent.0001", 1.5)) == {
        "type": "speech_start",
        "call_id": "c",
        "leg": "agent",
        "utterance_id": "c.agent.0001",
        "start_s": 1.5,
    }
    assert json.loads(encode_warning("c", "truncated_sample", "d")) == {
        "type": "warning",
        "call_id": "c",
        "code": "truncated_sample",
        "detail": "d",
    }
    assert json.loads(encode_mark("c", "n")) == {"type": "mark", "call_id": "c", "name": "n"}
    assert json.loads(encode_summary({"call_id": "c"})) == {"type": "summary", "call_id": "c"}
    assert json.loads(encode_line_event(LineEvent("c", Leg.AGENT, "tone", "busy", 1.5, 3.0))) == {
        "type": "line_event",
        "call_id": "c",
        "leg": "agent",
        "kind": "tone",
        "name": "busy",
        "start_s": 1.5,
        "end_s": 3.0,
    }


def test_an_error_carries_code_and_close_code() -> None:
    """The error a client reads before the socket closes."""
    error = WireError("not_started", "The call was not started", "expected", CloseCode.POLICY)
    assert json.loads(encode_error(error)) == {
        "type": "error",
        "call_id": None,
        "code": "not_started",
        "title": "The call was not started",
        "detail": "expected",
        "close_code": 1008,
    }


@given(name=st.text(max_size=20), detail=st.text(max_size=40))
def test_any_text_survives_encoding(name: str, detail: str) -> None:
    """Control characters, quotes and every script come back as they were."""
    mark: dict[str, Any] = json.loads(encode_mark("c", name))
    warning: dict[str, Any] = json.loads(encode_warning("c", "code", detail))
    assert (mark["name"], warning["detail"]) == (name, detail)
