"""What the files of an export hold: their columns, and the rows of calls, records and labels."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from app.domain import UtteranceRecord
from app.records import record_body, rfc3339
from app.results.export import Column, Kind, Row
from app.results.store import CallInfo

_RECORD = (
    Column("call_id", Kind.TEXT),
    Column("seq", Kind.INTEGER),
    Column("utterance_id", Kind.TEXT),
    Column("leg", Kind.TEXT),
    Column("start_s", Kind.NUMBER),
    Column("end_s", Kind.NUMBER),
    Column("emotion", Kind.TEXT),
    Column("abstained", Kind.FLAG),
    Column("reason", Kind.TEXT),
    Column("detail", Kind.TEXT),
    Column("scores", Kind.SCORES),
    Column("confidence", Kind.NUMBER),
    Column("arousal", Kind.NUMBER),
    Column("valence", Kind.NUMBER),
    Column("expected_cost", Kind.NUMBER),
    Column("event", Kind.TEXT),
    Column("event_score", Kind.NUMBER),
    Column("not_speech_kind", Kind.TEXT),
    Column("not_speech_name", Kind.TEXT),
    Column("salience", Kind.NUMBERS),
    Column("latency_ms", Kind.NUMBER),
    Column("created_at", Kind.TIME),
    Column("durable", Kind.FLAG),
    Column("model_bundle", Kind.TEXT),
    Column("model_version", Kind.TEXT),
    Column("model_head", Kind.TEXT),
    Column("line_profile_id", Kind.TEXT),
    Column("line_profile_n", Kind.INTEGER),
    Column("snr_db", Kind.NUMBER),
    Column("clipped", Kind.NUMBER),
    Column("packet_loss", Kind.NUMBER),
    Column("level_dbfs", Kind.NUMBER),
    Column("concealed", Kind.NUMBER),
    Column("codec", Kind.TEXT),
    Column("jitter_ms", Kind.NUMBER),
)

UTTERANCE_COLUMNS = (
    *_RECORD,
    Column("line", Kind.TEXT),
    Column("team", Kind.TEXT),
    Column("language", Kind.TEXT),
    Column("call_started_at", Kind.TIME),
)

CALL_COLUMNS = (
    Column("call_id", Kind.TEXT),
    Column("line", Kind.TEXT),
    Column("team", Kind.TEXT),
    Column("language", Kind.TEXT),
    Column("legs", Kind.TEXTS),
    Column("state", Kind.TEXT),
    Column("outcome", Kind.TEXT),
    Column("started_at", Kind.TIME),
    Column("ended_at", Kind.TIME),
    Column("utterances", Kind.INTEGER),
    Column("dropped", Kind.INTEGER),
    Column("metadata", Kind.OBJECT),
    Column("summary", Kind.OBJECT),
)

FEEDBACK_COLUMNS = (
    Column("label", Kind.TEXT),
    Column("label_confidence", Kind.NUMBER),
    Column("note", Kind.TEXT),
    Column("labeller", Kind.TEXT),
    Column("labelled_at", Kind.TIME),
    Column("label_version", Kind.INTEGER),
    Column("line", Kind.TEXT),
    Column("team", Kind.TEXT),
    Column("language", Kind.TEXT),
    *_RECORD,
)


def utterance_row(record: UtteranceRecord, call: CallInfo) -> Row:
    """A row of `UTTERANCE_COLUMNS`."""
    return {
        **_record_part(record_body(record)),
        "line": call.line,
        "team": call.team,
        "language": call.language,
        "call_started_at": rfc3339(call.started_at),
    }


def call_row(call: CallInfo) -> Row:
    """A row of `CALL_COLUMNS`."""
    return {
        "call_id": call.call_id,
        "line": call.line,
        "team": call.team,
        "language": call.language,
        "legs": [leg.value for leg in call.legs],
        "state": call.state.value,
        "outcome": call.outcome,
        "started_at": rfc3339(call.started_at),
        "ended_at": None if call.ended_at is None else rfc3339(call.ended_at),
        "utterances": call.utterances,
        "dropped": call.dropped,
        "metadata": dict(call.metadata),
        "summary": None if call.summary is None else dict(call.summary),
    }


def feedback_row(feedback: Mapping[str, Any]) -> Row:
    """A row of `FEEDBACK_COLUMNS`; feedback: as `/v1/feedback` shows it."""
    return {
        **_record_part(feedback["record"]),
        "label": feedback["label"],
        "label_confidence": feedback["confidence"],
        "note": feedback["note"],
        "labeller": feedback["labeller"],
        "labelled_at": feedback["labelled_at"],
        "label_version": feedback["version"],
        "line": feedback["line"],
        "team": feedback["team"],
        "language": feedback["language"],
    }


def _record_part(body: Mapping[str, Any]) -> dict[str, Any]:
    """A record's members, with those of its inner objects beside the others."""
    model, profile = body["model"], body["line_profile"]
    return {
        **body,
        **body["audio_quality"],
        "model_bundle": model["bundle"],
        "model_version": model["version"],
        "model_head": model["head"],
        "line_profile_id": profile["id"],
        "line_profile_n": profile["n"],
    }
