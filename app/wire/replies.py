"""What the native protocol answers: every reply as a JSON text, and the record's one public shape."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import orjson

from app.domain import Leg, LineEvent, ModelRef, UtteranceRecord
from app.records import line_event_body, model_body, record_body
from app.wire.base import WireError


def encode_ready(
    call_id: str,
    model: ModelRef,
    unscored: Mapping[Leg, str],
    legs: Sequence[Leg],
    resume: str | None = None,
) -> str:
    """`ready`: the call is accepted. unscored: the legs that policy forbids to score, and why.

    resume: the secret with which the call may be taken up again, should it break off.
    """
    states = {
        leg.value: {"scored": leg not in unscored, "reason": "policy" if leg in unscored else None}
        | {"detail": unscored.get(leg)}
        for leg in legs
    }
    body = {"call_id": call_id, "model": model_body(model), "resume": resume, "legs": states}
    return _encode("ready", body)


def encode_speech_start(call_id: str, leg: Leg, utterance_id: str, start_s: float) -> str:
    """`speech_start`: someone began to speak; start_s in seconds on the leg's clock."""
    body = {"call_id": call_id, "leg": leg.value, "utterance_id": utterance_id, "start_s": start_s}
    return _encode("speech_start", body)


def encode_utterance(record: UtteranceRecord) -> str:
    """`utterance`: an utterance ended and this is its record."""
    return _encode("utterance", record_body(record))


def encode_interim(record: UtteranceRecord) -> str:
    """`interim`: the record of an utterance as far as it has been heard."""
    return _encode("interim", record_body(record))


def encode_line_event(event: LineEvent) -> str:
    """`line_event`: something heard on the line that is not speech."""
    return _encode("line_event", line_event_body(event))


def encode_warning(call_id: str, code: str, detail: str) -> str:
    """`warning`: something was wrong with the audio, the call goes on."""
    return _encode("warning", {"call_id": call_id, "code": code, "detail": detail})


def encode_key(call_id: str, digit: str | None, leg: Leg | None, at_s: float) -> str:
    """`dtmf`: a key was pressed; digit null while the call is paused."""
    return _encode("dtmf", key_body(call_id, digit, leg, at_s))


def key_body(call_id: str, digit: str | None, leg: Leg | None, at_s: float) -> dict[str, object]:
    """A key as a JSON object."""
    return {"call_id": call_id, "leg": None if leg is None else leg.value, "digit": digit, "at_s": at_s}


def encode_pause(call_id: str, paused: bool, source: str, at_s: float) -> str:
    """`paused` or `resumed`: audio is dropped at the door, or heard again; source: who brought it about."""
    return _encode("paused" if paused else "resumed", {"call_id": call_id, "source": source, "at_s": at_s})


def encode_mark(call_id: str, name: str) -> str:
    """`mark`: every utterance that ended before the client's mark has been answered."""
    return _encode("mark", {"call_id": call_id, "name": name})


def encode_summary(body: Mapping[str, object]) -> str:
    """`summary`: the last message of a call that was stopped (`CallSummary.body()`)."""
    return _encode("summary", body)


def encode_error(error: WireError, call_id: str | None = None) -> str:
    """`error`: RFC 9457's title and detail, and our code; the socket closes with `close_code` after it."""
    body = {
        "call_id": call_id,
        "code": error.code,
        "title": error.title,
        "detail": error.detail,
        "close_code": int(error.close_code),
    }
    return _encode("error", body)


def _encode(kind: str, body: Mapping[str, object]) -> str:
    return orjson.dumps({"type": kind, **body}).decode()
