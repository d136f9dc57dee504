"""A client's side of AudioHook messages, for the tests of the parser."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import orjson

from app.wire.audiohook import AudioHookProtocol
from app.wire.base import Reply, WireEvent
from app.wire.carrier import CarrierConfig, UpgradeRequest

SESSION = "22222222-2222-4222-8222-222222222222"
ORGANIZATION = "11111111-1111-4111-8111-111111111111"
CONVERSATION = "44444444-4444-4444-8444-444444444444"
PARTICIPANT = "55555555-5555-4555-8555-555555555555"
NULL = "00000000-0000-0000-0000-000000000000"
REQUEST = UpgradeRequest(
    path="/v1/ingest/audiohook",
    headers={
        "host": "kowairo.example",
        "audiohook-organization-id": ORGANIZATION,
        "audiohook-session-id": SESSION,
        "audiohook-correlation-id": "33333333-3333-4333-8333-333333333333",
        "x-api-key": "kowairo-test-key",
    },
)


def media(*channels: str, **fields: Any) -> dict[str, Any]:
    """An element of an offer."""
    return {"type": "audio", "format": "PCMU", "channels": list(channels), "rate": 8000} | fields


STEREO = media("external", "internal")
OPEN: dict[str, Any] = {
    "organizationId": ORGANIZATION,
    "conversationId": CONVERSATION,
    "participant": {"id": PARTICIPANT, "ani": "+15550100", "aniName": "Test", "dnis": "+15550199"},
    "media": [STEREO, media("external")],
}
PROBE = OPEN | {
    "conversationId": NULL,
    "participant": {"id": NULL, "ani": "", "aniName": "", "dnis": ""},
}


class Client:
    """Numbers messages as the client does, and keeps what the server replies."""

    def __init__(self, config: CarrierConfig | None = None, request: UpgradeRequest = REQUEST) -> None:
        self.protocol = AudioHookProtocol(config or CarrierConfig(), request)
        self.seq = 0
        self.replies: list[dict[str, Any]] = []

    def say(self, kind: str, position: str | None = "PT0S", **parameters: Any) -> list[WireEvent]:
        """Send a message; the events but for the replies."""
        return self.send(self.message(kind, position, parameters))

    def message(self, kind: str, position: str | None, parameters: Mapping[str, Any]) -> dict[str, Any]:
        """The next message."""
        self.seq += 1
        stated = {} if position is None else {"position": position}
        return {
            "version": "2",
            "type": kind,
            "id": SESSION,
            "seq": self.seq,
            "serverseq": len(self.replies),
            "parameters": dict(parameters),
        } | stated

    def send(self, message: Mapping[str, Any] | str) -> list[WireEvent]:
        """Send a message as it is."""
        text = message if isinstance(message, str) else orjson.dumps(message).decode()
        return self._sorted(self.protocol.receive_text(text, 0.0))

    def hear(self, payload: bytes) -> list[WireEvent]:
        """Send audio."""
        return self._sorted(self.protocol.receive_bytes(payload, 0.0))

    def farewell(self, **arguments: Any) -> list[dict[str, Any]]:
        """What the server says at the end."""
        said = self.protocol.farewell(arguments.get("error"), arguments.get("draining", False))
        return [orjson.loads(payload) for payload in said]

    def _sorted(self, events: list[WireEvent]) -> list[WireEvent]:
        self.replies += [orjson.loads(event.payload) for event in events if isinstance(event, Reply)]
        return [event for event in events if not isinstance(event, Reply)]


def opened(config: CarrierConfig | None = None, **parameters: Any) -> Client:
    """A session that is open."""
    client = Client(config)
    client.say("open", **(OPEN | parameters))
    return client
