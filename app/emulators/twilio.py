"""Twilio's side of a Media Stream.

Two legs: `<Start><Stream track="both_tracks">`, one-way. One leg: `<Connect><Stream>`, which tells keys and may be
answered.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

import orjson

from app.audio.g711 import PcmArray, encode_ulaw
from app.emulators.base import EmulatedCall, Emulator, Handshake, Message, json_text
from app.emulators.tracks import MediaClock, track_names
from app.wire.twilio_auth import sign

SAMPLE_RATE_HZ = 8_000


class TwilioEmulator(Emulator):
    """One stream. Signs with the first of the call's secrets; its name is the account's SID where it looks like one.

    The customer is on the inbound track, or whom the parameter `inbound_is` names.
    """

    carrier = "twilio"

    def __init__(self, call: EmulatedCall) -> None:
        super().__init__(call)
        if call.sample_rate_hz != SAMPLE_RATE_HZ:
            raise ValueError(f"twilio sends {SAMPLE_RATE_HZ} Hz only, got {call.sample_rate_hz}")
        self._tracks = track_names(call)
        self._clock = MediaClock(self._tracks, lambda frame: encode_ulaw(frame).tobytes())
        self._two_way = self._tracks == ["inbound"]
        name = next(iter(call.secrets), "")
        self._secret = call.secrets.get(name)
        self._account_sid = name if name.startswith("AC") else "AC" + "0" * 32
        self._stream_sid = "MZ" + hashlib.sha256(call.call_id.encode()).hexdigest()[:32]
        self._number = 0

    def handshake(self) -> Handshake:
        """GET of the path alone (Twilio knows no query), signed for the public address."""
        headers = {}
        if self._secret is not None:
            origin = self.call.public_origin or f"wss://{self.call.host}"
            host = origin.rpartition("://")[2].rstrip("/")
            headers["X-Twilio-Signature"] = sign(f"wss://{host}{self.call.path}", self._secret)
        return Handshake(self.call.path, headers)

    def opening(self) -> list[Message]:
        """`connected` and `start`."""
        parameters = dict(self.call.parameters)
        if self.call.message_secret is not None:
            parameters["token"] = self.call.message_secret
        start: dict[str, object] = {
            "accountSid": self._account_sid,
            "streamSid": self._stream_sid,
            "callSid": self.call.call_id,
            "tracks": sorted(self._tracks),
            "mediaFormat": {"encoding": "audio/x-mulaw", "sampleRate": SAMPLE_RATE_HZ, "channels": 1},
            "customParameters": parameters,
        }
        return [
            json_text({"event": "connected", "protocol": "Call", "version": "1.0.0"}),
            self._numbered("start", start),
        ]

    def audio(self, frames: Sequence[PcmArray]) -> list[Message]:
        """One `media` for each track, the inbound one first."""
        return [self._numbered("media", media) for media in self._clock.media(frames)]

    def closing(self) -> list[Message]:
        """`stop`."""
        return [self._numbered("stop", {"accountSid": self._account_sid, "callSid": self.call.call_id})]

    def dtmf(self, digit: str) -> list[Message]:
        """Told on `<Connect>` only."""
        if not self._two_way:
            return []
        return [self._numbered("dtmf", {"track": "inbound_track", "digit": digit})]

    def resume(self, skipped_frames: int) -> list[Message]:
        """Nothing is said; the clock went on."""
        self._clock.skip(skipped_frames)
        return []

    def receive(self, message: Message) -> list[Message]:
        """Echo marks; anything that Twilio would not accept is a problem, by its error number."""
        if not self._two_way:
            self.problem = "31924: a message was sent on a one-way stream"
        elif isinstance(message, bytes):
            self.problem = "31950: a binary message was sent"
        else:
            return self._heard(message)
        return []

    def _heard(self, text: str) -> list[Message]:
        try:
            message = orjson.loads(text)
        except orjson.JSONDecodeError:
            message = None
        if not isinstance(message, dict):
            self.problem = "31950: a message is not a JSON object"
            return []
        event = message.get("event")
        if event not in ("media", "mark", "clear"):
            self.problem = "31951: a message has an event that Twilio does not take"
        elif message.get("streamSid") != self._stream_sid:
            self.problem = "31951: a message has another streamSid"
        elif event == "clear":
            return []
        elif not isinstance(body := message.get(event), dict):
            self.problem = f"31951: '{event}' lacks its object"
        elif event == "mark":
            return [self._numbered("mark", {"name": body.get("name")})]
        return []

    def _numbered(self, event: str, body: dict[str, object]) -> str:
        self._number += 1
        return json_text(
            {
                "event": event,
                "sequenceNumber": str(self._number),
                event: body,
                "streamSid": self._stream_sid,
            }
        )
