"""Messages of a Twilio stream, and a protocol that hears them."""

from __future__ import annotations

import base64
import json
from typing import Any

from app.wire.base import Audio, WireEvent
from app.wire.carrier import CarrierConfig, UpgradeRequest
from app.wire.twilio import CARRIER, TwilioProtocol

STREAM = "MZ00000000000000000000000000000001"
CALL = "CA00000000000000000000000000000001"
ACCOUNT = "AC00000000000000000000000000000001"
FORMAT = {"encoding": "audio/x-mulaw", "sampleRate": 8000, "channels": 1}
REQUEST = UpgradeRequest("/v1/ingest/twilio")
FRAME = bytes(range(160))


def start(**members: Any) -> str:
    """A `start`; members of its `start` object may be replaced, None leaves one out."""
    body: dict[str, Any] = {
        "accountSid": ACCOUNT,
        "streamSid": STREAM,
        "callSid": CALL,
        "tracks": ["inbound"],
        "mediaFormat": FORMAT,
        "customParameters": {},
    } | members
    body = {name: value for name, value in body.items() if value is not None}
    return json.dumps({"event": "start", "sequenceNumber": "1", "start": body, "streamSid": STREAM})


def media(number: object = 2, **members: Any) -> str:
    """A `media`; a number of None leaves the sequenceNumber out, as None does with members of `media`."""
    body = {
        "track": "inbound",
        "chunk": "1",
        "timestamp": "0",
        "payload": base64.b64encode(FRAME).decode(),
    } | members
    body = {name: value for name, value in body.items() if value is not None}
    message = {"event": "media", "media": body, "streamSid": STREAM}
    return json.dumps(message if number is None else message | {"sequenceNumber": number})


def event(name: str, **members: Any) -> str:
    """Any other message of the stream."""
    return json.dumps({"event": name, "streamSid": STREAM} | members)


def protocol(config: CarrierConfig | None = None) -> TwilioProtocol:
    """A protocol that has heard nothing yet."""
    made = CARRIER.new_protocol(config or CarrierConfig(), REQUEST)
    assert isinstance(made, TwilioProtocol)
    return made


def started(config: CarrierConfig | None = None, **members: Any) -> TwilioProtocol:
    """A protocol whose stream has started."""
    made = protocol(config)
    made.receive_text(start(**members), 0.0)
    return made


def hear(listener: TwilioProtocol, *messages: str) -> list[WireEvent]:
    """All events of some messages."""
    return [event for message in messages for event in listener.receive_text(message, 0.0)]


def places(events: list[WireEvent]) -> list[tuple[int | None, int, int]]:
    """Position, length and track of all audio among events."""
    packets = [event.packet for event in events if isinstance(event, Audio)]
    return [(packet.position_samples, len(packet.payload), packet.track) for packet in packets]
