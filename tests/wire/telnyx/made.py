"""Telnyx's messages as the tests write them, and protocols that have read some."""

from __future__ import annotations

import base64
import json
from typing import Any

import pytest

from app.domain import AudioPacket
from app.wire.base import Audio, Start, WireError, WireEvent
from app.wire.carrier import CarrierConfig, UpgradeRequest
from app.wire.telnyx import TelnyxProtocol

REQUEST = UpgradeRequest("/v1/ingest/telnyx")
STREAM_ID = "00000000-0000-4000-8000-000000000001"
TOKEN = "x-telnyx-streaming-auth-token"
FORMAT: dict[str, Any] = {"encoding": "PCMU", "sample_rate": 8000, "channels": 1}


def connected(token: str | None = None) -> str:
    """The first message."""
    message: dict[str, Any] = {"event": "connected", "version": "1.0.0"}
    if token is not None:
        message["connected"] = {TOKEN: token}
    return json.dumps(message)


def start(**fields: Any) -> str:
    """The start of a call; fields replace those inside `start`, None leaves one out."""
    body = {
        "user_id": "00000000-0000-4000-8000-0000000000aa",
        "call_control_id": "v3:TEST-call-1",
        "call_session_id": "00000000-0000-4000-8000-0000000000bb",
        "media_format": FORMAT,
    } | fields
    body = {name: value for name, value in body.items() if value is not None}
    return json.dumps({"event": "start", "sequence_number": "1", "stream_id": STREAM_ID, "start": body})


def media(
    chunk: object = None, payload: bytes | str = b"\xff" * 160, track: object = "inbound", **more: Any
) -> str:
    """A packet of audio."""
    encoded = payload if isinstance(payload, str) else base64.b64encode(payload).decode()
    body = {"track": track, "chunk": chunk, "timestamp": "0", "payload": encoded} | more
    body = {name: value for name, value in body.items() if value is not None}
    return json.dumps({"event": "media", "sequence_number": "2", "stream_id": STREAM_ID, "media": body})


def dtmf(digit: object) -> str:
    """A key."""
    body = {"event": "dtmf", "stream_id": STREAM_ID, "occurred_at": "2026-01-01T00:00:01.000000Z"}
    return json.dumps(body | {"sequence_number": "6", "dtmf": {"digit": digit}})


def error(code: object) -> str:
    """What Telnyx says when something went wrong."""
    payload = {"code": code, "title": "some_title", "detail": "some text"}
    return json.dumps({"event": "error", "stream_id": STREAM_ID, "payload": payload})


STOP = json.dumps({"event": "stop", "sequence_number": "9", "stream_id": STREAM_ID, "stop": {}})


def new(
    config: CarrierConfig | None = None, request: UpgradeRequest = REQUEST, **options: str
) -> TelnyxProtocol:
    """A protocol that has read nothing."""
    return TelnyxProtocol(config or CarrierConfig(options=options), request)


def heard(protocol: TelnyxProtocol, *messages: str, now_s: float = 0.0) -> list[WireEvent]:
    """All events of these messages."""
    return [event for message in messages for event in protocol.receive_text(message, now_s)]


def begun(tracks: str = "both", config: CarrierConfig | None = None, **fields: Any) -> TelnyxProtocol:
    """A protocol that has started a call of these tracks."""
    protocol = new(config, tracks=tracks)
    (event,) = heard(protocol, connected(), start(**fields))
    assert isinstance(event, Start)
    return protocol


def refused(protocol: TelnyxProtocol, *messages: str | bytes) -> WireError:
    """The error that the last of these messages raises."""
    for message in messages[:-1]:
        assert isinstance(message, str)
        protocol.receive_text(message, 0.0)
    last = messages[-1]
    read = protocol.receive_text if isinstance(last, str) else protocol.receive_bytes
    with pytest.raises(WireError) as caught:
        read(last, 0.0)  # type: ignore[arg-type]
    return caught.value


def packets(events: list[WireEvent], track: int = 0) -> list[AudioPacket]:
    """The audio of a track."""
    return [event.packet for event in events if isinstance(event, Audio) and event.packet.track == track]
