"""A record's one public shape, as every door publishes it and every store keeps it, and the way back."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from app.domain import (
    AbstainReason,
    AudioQuality,
    Leg,
    LineEvent,
    LineRef,
    ModelRef,
    UtteranceRecord,
)

_PLAIN = (
    "call_id",
    "seq",
    "utterance_id",
    "start_s",
    "end_s",
    "scores",
    "emotion",
    "event",
    "event_score",
    "abstained",
    "detail",
    "not_speech_kind",
    "not_speech_name",
    "confidence",
    "arousal",
    "valence",
    "expected_cost",
    "latency_ms",
    "durable",
)
"""Members of a body that are the record's own values."""


def rfc3339(epoch_s: float) -> str:
    """Seconds since the epoch as RFC 3339 in UTC, to the millisecond."""
    return datetime.fromtimestamp(epoch_s, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def epoch_s(text: str) -> float:
    """RFC 3339 with a zone as seconds since the epoch.

    Raises:
        ValueError: not such a text.
    """
    moment = datetime.fromisoformat(text)
    if moment.tzinfo is None:
        raise ValueError("expected a time with its zone")
    return moment.timestamp()


def record_body(record: UtteranceRecord) -> dict[str, object]:
    """A record as the JSON object every door publishes (socket, REST, SSE, command line)."""
    quality = record.audio_quality
    return {
        "call_id": record.call_id,
        "seq": record.seq,
        "leg": record.leg.value,
        "utterance_id": record.utterance_id,
        "start_s": record.start_s,
        "end_s": record.end_s,
        "scores": None if record.scores is None else dict(record.scores),
        "emotion": record.emotion,
        "event": record.event,
        "event_score": record.event_score,
        "abstained": record.abstained,
        "reason": None if record.reason is None else record.reason.value,
        "detail": record.detail,
        "not_speech_kind": record.not_speech_kind,
        "not_speech_name": record.not_speech_name,
        "confidence": record.confidence,
        "arousal": record.arousal,
        "valence": record.valence,
        "expected_cost": record.expected_cost,
        "salience": None if record.salience is None else list(record.salience),
        "model": model_body(record.model),
        "line_profile": {"id": record.line_profile.id, "n": record.line_profile.n},
        "audio_quality": {
            "snr_db": quality.snr_db,
            "clipped": quality.clipped,
            "packet_loss": quality.packet_loss,
            "level_dbfs": quality.level_dbfs,
            "concealed": quality.concealed,
            "codec": quality.codec,
            "jitter_ms": quality.jitter_ms,
        },
        "latency_ms": record.latency_ms,
        "created_at": None if record.created_at is None else rfc3339(record.created_at),
        "durable": record.durable,
    }


def record_from_body(body: Mapping[str, Any]) -> UtteranceRecord:
    """The record of which `record_body` made this; times to the millisecond.

    Raises:
        KeyError, TypeError, ValueError: something that `record_body` never made.
    """
    reason, salience, created_at = body["reason"], body["salience"], body["created_at"]
    return UtteranceRecord(
        **{name: body[name] for name in _PLAIN},
        leg=Leg(body["leg"]),
        reason=None if reason is None else AbstainReason(reason),
        salience=None if salience is None else tuple(salience),
        model=ModelRef(**body["model"]),
        line_profile=LineRef(**body["line_profile"]),
        audio_quality=AudioQuality(**body["audio_quality"]),
        created_at=None if created_at is None else epoch_s(created_at),
    )


def model_body(model: ModelRef) -> dict[str, object]:
    """Which bundle and head, as a JSON object."""
    return {"bundle": model.bundle, "version": model.version, "head": model.head}


def line_event_body(event: LineEvent) -> dict[str, object]:
    """What is not speech, as a JSON object."""
    return {
        "call_id": event.call_id,
        "leg": event.leg.value,
        "kind": event.kind,
        "name": event.name,
        "start_s": event.start_s,
        "end_s": event.end_s,
    }
