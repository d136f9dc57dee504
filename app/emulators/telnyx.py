"""Telnyx's side of a media stream, in both directions (`stream_track=both_tracks`, `stream_bidirectional_mode=rtp`)."""

from __future__ import annotations

import binascii
from collections.abc import Sequence
from datetime import UTC, datetime
from uuid import NAMESPACE_OID, uuid5

import orjson

from app.audio.g711 import PcmArray, encode
from app.domain import Encoding
from app.emulators.base import EmulatedCall, Emulator, Handshake, Message, json_text
from app.emulators.tracks import MediaClock, track_names
from app.wire.telnyx_auth import TOKEN_NAME

_CODECS = {Encoding.PCM_MULAW: "PCMU", Encoding.PCM_ALAW: "PCMA", Encoding.PCM_S16LE: "L16"}
_G711_RATE_HZ = 8_000


class TelnyxEmulator(Emulator):
    """One stream. Shows the first of the call's secrets as `stream_auth_token`; L16 is big-endian.

    The customer is on the inbound track, or whom the parameter `inbound_is` names.
    """

    carrier = "telnyx"

    def __init__(self, call: EmulatedCall) -> None:
        super().__init__(call)
        if call.encoding is not Encoding.PCM_S16LE and call.sample_rate_hz != _G711_RATE_HZ:
            raise ValueError(f"telnyx sends G.711 at {_G711_RATE_HZ} Hz only, got {call.sample_rate_hz}")
        self._tracks = track_names(call)
        self._clock = MediaClock(self._tracks, self._encoded)
        self._token = next(iter(call.secrets.values()), None)
        self._stream_id = str(uuid5(NAMESPACE_OID, f"stream {call.call_id}"))
        self._user_id = str(uuid5(NAMESPACE_OID, "user"))
        self._number = 0

    def handshake(self) -> Handshake:
        """GET, with the token where the stream was started with one."""
        target = self.call.path + (f"?{self.call.query}" if self.call.query else "")
        return Handshake(target, {} if self._token is None else {TOKEN_NAME: self._token})

    def opening(self) -> list[Message]:
        """`connected` and `start`."""
        call = self.call
        connected: dict[str, object] = {"event": "connected", "version": "1.0.0"}
        if self._token is not None:
            connected["connected"] = {TOKEN_NAME: self._token}
        parameters = dict(call.parameters)
        if call.message_secret is not None:
            parameters["token"] = call.message_secret
        start: dict[str, object] = {
            "user_id": self._user_id,
            "call_control_id": call.call_id,
            "call_session_id": str(uuid5(NAMESPACE_OID, f"session {call.call_id}")),
            "from": "+15550100000",
            "to": "+15550100001",
            "tags": [],
            "client_state": "",
            "custom_parameters": parameters,
            "media_format": {
                "encoding": _CODECS[call.encoding],
                "sample_rate": call.sample_rate_hz,
                "channels": 1,
            },
        }
        return [json_text(connected), self._numbered("start", start)]

    def audio(self, frames: Sequence[PcmArray]) -> list[Message]:
        """One `media` for each track, the inbound one first; chunks are numbered by track."""
        return [self._numbered("media", media) for media in self._clock.media(frames)]

    def closing(self) -> list[Message]:
        """`stop`."""
        return [
            self._numbered("stop", {"user_id": self._user_id, "call_control_id": self.call.call_id}),
        ]

    def dtmf(self, digit: str) -> list[Message]:
        """A key, with when it was pressed and not by whom."""
        pressed = datetime.fromtimestamp(self.call.now_s + self._clock.sent_ms / 1_000, UTC)
        return [
            self._numbered("dtmf", {"digit": digit}, occurred_at=pressed.strftime("%Y-%m-%dT%H:%M:%S.%fZ")),
        ]

    def resume(self, skipped_frames: int) -> list[Message]:
        """Nothing is said; the clock went on, the numbers did not."""
        self._clock.skip(skipped_frames)
        return []

    def receive(self, message: Message) -> list[Message]:
        """Return marks; what Telnyx would not accept is a problem, and answered with its error."""
        if isinstance(message, bytes):
            return self._refused(100003, "malformed_frame", "a binary message was sent")
        try:
            heard = orjson.loads(message)
        except orjson.JSONDecodeError:
            heard = None
        if not isinstance(heard, dict):
            return self._refused(100003, "malformed_frame", "a message is not a JSON object")
        event = heard.get("event")
        if event == "clear":
            return []
        body = heard.get(event) if event in ("media", "mark") else None
        if not isinstance(body, dict):
            return self._refused(100003, "malformed_frame", "a message is no media, mark or clear")
        if event == "mark":
            return [self._numbered("mark", {"name": body.get("name")})]
        try:
            binascii.a2b_base64(body.get("payload") or "", strict_mode=True)
        except (TypeError, ValueError):
            return self._refused(100004, "invalid_media", "a payload is not base64")
        return []

    def _encoded(self, frame: PcmArray) -> bytes:
        if self.call.encoding is Encoding.PCM_S16LE:
            return frame.astype(">i2").tobytes()
        return encode(frame, self.call.encoding)

    def _refused(self, code: int, title: str, detail: str) -> list[Message]:
        self.problem = f"{code}: {detail}"
        payload = {"code": code, "title": title, "detail": detail}
        return [json_text({"event": "error", "stream_id": self._stream_id, "payload": payload})]

    def _numbered(self, event: str, body: dict[str, object], **more: str) -> str:
        self._number += 1
        message: dict[str, object] = {
            "event": event,
            "sequence_number": str(self._number),
            "stream_id": self._stream_id,
            **more,
            event: body,
        }
        return json_text(message)
