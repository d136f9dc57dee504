"""Messages of a Vonage WebSocket, and a protocol that hears them."""

from __future__ import annotations

import json
from typing import Any

from app.domain import Leg
from app.wire.base import WireEvent
from app.wire.carrier import CarrierConfig, UpgradeRequest
from app.wire.vonage import VonageProtocol

CALL = "aaaaaaaa-bbbb-cccc-dddd-0123456789ab"
MIXED = CarrierConfig(single=Leg.MIXED)
FRAME = bytes.fromhex("e803" * 4 + "18fc" * 4) * 20
"""20 ms of a 1 kHz square wave of ±1000 at 8 kHz."""


def connected(content_type: object = "audio/l16;rate=8000", **headers: Any) -> str:
    """The first message; a content type of None leaves it out, as None does with headers."""
    message = {"event": "websocket:connected", "content-type": content_type, "call_uuid": CALL} | headers
    return json.dumps({name: value for name, value in message.items() if value is not None})


def event(name: str, **members: Any) -> str:
    """Any other text message."""
    return json.dumps({"event": f"websocket:{name}"} | members)


def protocol(config: CarrierConfig = MIXED, query: str = "", **headers: str) -> VonageProtocol:
    """A protocol that has heard nothing yet; ids that must be made up are `made-up`."""
    request = UpgradeRequest("/v1/ingest/vonage", query, headers)
    return VonageProtocol(config, request, new_call_id=lambda: "made-up")


def started(config: CarrierConfig = MIXED, content_type: object = "audio/l16;rate=8000") -> VonageProtocol:
    """A protocol whose call has started."""
    made = protocol(config)
    made.receive_text(connected(content_type), 0.0)
    return made


def hear(listener: VonageProtocol, *messages: str | bytes, at_s: float = 0.0) -> list[WireEvent]:
    """All events of some messages, which come at once."""
    events: list[WireEvent] = []
    for message in messages:
        if isinstance(message, str):
            events += listener.receive_text(message, at_s)
        else:
            events += listener.receive_bytes(message, at_s)
    return events
