"""What a call's events look like to its client and to the live feed."""

from __future__ import annotations

from typing import assert_never

from app.domain import UtteranceRecord
from app.pipeline import Interim, MarkReached, ServerEvent, SessionWarning, SpeechStarted, Summary
from app.results.publish import LiveEvent
from app.wire.replies import (
    encode_interim,
    encode_mark,
    encode_speech_start,
    encode_summary,
    encode_utterance,
    encode_warning,
    record_body,
)


def reply_text(call_id: str, event: ServerEvent) -> str:
    """An event as a message of the native protocol."""
    match event:
        case UtteranceRecord():
            return encode_utterance(event)
        case SpeechStarted():
            return encode_speech_start(call_id, event.leg, event.utterance_id, event.start_s)
        case Interim():
            return encode_interim(event.record)
        case MarkReached():
            return encode_mark(call_id, event.name)
        case SessionWarning():
            return encode_warning(call_id, event.code, event.detail)
        case Summary():
            return encode_summary(event.body())
        case _:
            assert_never(event)


def live_event(call_id: str, event: ServerEvent) -> LiveEvent | None:
    """An event as the live feed tells it; None for what only the client wants to know."""
    match event:
        case UtteranceRecord():
            return LiveEvent("utterance", call_id, record_body(event))
        case Interim():
            return LiveEvent("interim", call_id, record_body(event.record))
        case SpeechStarted():
            body = {
                "call_id": call_id,
                "leg": event.leg.value,
                "utterance_id": event.utterance_id,
                "start_s": event.start_s,
            }
            return LiveEvent("speech_start", call_id, body)
        case SessionWarning():
            return LiveEvent(
                "warning", call_id, {"call_id": call_id, "code": event.code, "detail": event.detail}
            )
        case MarkReached() | Summary():
            return None
        case _:
            assert_never(event)
