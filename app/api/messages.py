"""What a call's events look like to its client and to the live feed."""

from __future__ import annotations

from typing import assert_never

from app.domain import LineEvent, UtteranceRecord
from app.pipeline import (
    Interim,
    KeyPressed,
    MarkReached,
    MetadataAdded,
    PauseChanged,
    ServerEvent,
    SessionWarning,
    SpeechStarted,
    Summary,
)
from app.records import line_event_body, record_body
from app.results.publish import LiveEvent
from app.wire.replies import (
    encode_interim,
    encode_key,
    encode_line_event,
    encode_mark,
    encode_pause,
    encode_speech_start,
    encode_summary,
    encode_utterance,
    encode_warning,
    key_body,
)


def reply_text(call_id: str, event: ServerEvent) -> str | None:
    """An event as a message of the native protocol; None for what a client need not be told."""
    match event:
        case UtteranceRecord() | LineEvent() | SpeechStarted() | Interim():
            return _heard_text(call_id, event)
        case MarkReached():
            return encode_mark(call_id, event.name)
        case SessionWarning():
            return encode_warning(call_id, event.code, event.detail)
        case KeyPressed():
            return encode_key(call_id, event.digit, event.leg, event.at_s)
        case PauseChanged():
            return encode_pause(call_id, event.paused, event.source, event.at_s)
        case MetadataAdded():
            return None
        case Summary():
            return encode_summary(event.body())
        case _:
            assert_never(event)


def _heard_text(call_id: str, event: UtteranceRecord | LineEvent | SpeechStarted | Interim) -> str:
    match event:
        case UtteranceRecord():
            return encode_utterance(event)
        case LineEvent():
            return encode_line_event(event)
        case SpeechStarted():
            return encode_speech_start(call_id, event.leg, event.utterance_id, event.start_s)
        case Interim():
            return encode_interim(event.record)
        case _:
            assert_never(event)


def live_event(call_id: str, event: ServerEvent) -> LiveEvent | None:
    """An event as the live feed tells it; None for what only the client wants to know, and for records.

    A record is told by `CallRecorder`, with its place in the feed.
    """
    match event:
        case LineEvent():
            return LiveEvent("line_event", call_id, line_event_body(event))
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
        case KeyPressed():
            return LiveEvent("dtmf", call_id, key_body(call_id, event.digit, event.leg, event.at_s))
        case PauseChanged():
            kind = "call_paused" if event.paused else "call_resumed"
            return LiveEvent(kind, call_id, {"call_id": call_id, "source": event.source, "at_s": event.at_s})
        case UtteranceRecord() | MarkReached() | MetadataAdded() | Summary():
            return None
        case _:
            assert_never(event)
