"""Vonage's side of a WebSocket endpoint: one participant that hears the mix of the others."""

from __future__ import annotations

from collections.abc import Sequence
from uuid import uuid4

import jwt
import numpy as np
import orjson

from app.audio.g711 import PcmArray, encode
from app.domain import Encoding, Leg
from app.emulators.base import FRAME_S, EmulatedCall, Emulator, Handshake, Message, json_text
from app.wire.vonage import SAMPLE_RATES_HZ
from app.wire.vonage_auth import CUSTOM, ISSUER

_KEY_MS = 260


class VonageEmulator(Emulator):
    """One connection.

    The call's parameters are the NCCO's `headers`; `application_id` is none of them but goes into the token. With one
    leg, the header `role` names it. Of the secrets, `authorization` is sent verbatim; otherwise the first is an API
    key with its signature secret.
    """

    carrier = "vonage"

    def __init__(self, call: EmulatedCall) -> None:
        super().__init__(call)
        if call.sample_rate_hz not in SAMPLE_RATES_HZ:
            rates = ", ".join(map(str, SAMPLE_RATES_HZ))
            raise ValueError(f"vonage sends one of {rates} Hz, got {call.sample_rate_hz}")
        self._frame_bytes = 2 * round(FRAME_S * call.sample_rate_hz)
        self._ncco_headers = dict(call.parameters)
        self._application_id = self._ncco_headers.pop("application_id", None)

    def handshake(self) -> Handshake:
        """GET of path and query, with `Authorization` where there are secrets."""
        target = self.call.path + (f"?{self.call.query}" if self.call.query else "")
        if CUSTOM in self.call.secrets:
            return Handshake(target, {"Authorization": self.call.secrets[CUSTOM]})
        for api_key, secret in self.call.secrets.items():
            return Handshake(target, {"Authorization": f"Bearer {self._token(api_key, secret)}"})
        return Handshake(target)

    def opening(self) -> list[Message]:
        """`websocket:connected` with the NCCO's headers as members."""
        headers = {"call_uuid": self.call.call_id}
        if (
            len(self.call.legs) == 1
            and self.call.legs[0] is not Leg.MIXED
            and "leg" not in self._ncco_headers
        ):
            headers["role"] = self.call.legs[0].value
        headers |= self._ncco_headers
        if self.call.message_secret is not None:
            headers["token"] = self.call.message_secret
        content_type = f"audio/l16;rate={self.call.sample_rate_hz}"
        return [json_text({"event": "websocket:connected", "content-type": content_type, **headers})]

    def audio(self, frames: Sequence[PcmArray]) -> list[Message]:
        """The sum of the legs, little-endian; always the full 20 ms."""
        mix = np.clip(np.sum(np.stack(frames), axis=0, dtype=np.int32), -32_768, 32_767).astype(np.int16)
        return [encode(mix, Encoding.PCM_S16LE).ljust(self._frame_bytes, b"\0")]

    def closing(self) -> list[Message]:
        """Nothing: the socket is closed."""
        return []

    def dtmf(self, digit: str) -> list[Message]:
        """One event a key."""
        return [json_text({"event": "websocket:dtmf", "digit": digit, "duration": _KEY_MS})]

    def receive(self, message: Message) -> list[Message]:
        """Answer `clear` and `notify`; audio of another length than 20 ms is what makes Vonage hang up."""
        if isinstance(message, bytes):
            if len(message) != self._frame_bytes:
                self.problem = f"unexpected frame size {len(message)}, when required {self._frame_bytes}"
            return []
        try:
            said = orjson.loads(message)
        except orjson.JSONDecodeError:
            said = None
        action = said.get("action") if isinstance(said, dict) else None
        if action == "clear":
            return [json_text({"event": "websocket:cleared"})]
        if action == "notify" and isinstance(said.get("payload"), dict):
            return [json_text({"event": "websocket:notify", "payload": said["payload"]})]
        self.problem = "a text message that is neither clear nor notify"
        return []

    def _token(self, api_key: str, secret: str) -> str:
        """The JWT of signed webhooks, a new one each time."""
        claims = {
            "iat": int(self.call.now_s),
            "jti": str(uuid4()),
            "iss": ISSUER,
            "api_key": api_key,
        }
        if self._application_id is not None:
            claims["application_id"] = self._application_id
        return jwt.encode(claims, secret, algorithm="HS256")
