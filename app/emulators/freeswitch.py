"""FreeSWITCH's side of a fork of a call: mod_audio_fork, mod_audio_stream or jambonz `listen`."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from urllib.parse import urlencode

import numpy as np
import orjson

from app.audio.g711 import PcmArray, encode
from app.domain import Encoding, Leg
from app.emulators.base import EmulatedCall, Emulator, Handshake, Message, json_text
from app.wire.basic_auth import BEARER
from app.wire.freeswitch import RATES_HZ

MAX_TEXT_BYTES = 65 * 1024 * 10
"""mod_audio_fork drops a longer text."""

SENDERS = ("fork", "stream", "jambonz")

_TYPES = frozenset(
    {
        "transcription",
        "json",
        "transfer",
        "disconnect",
        "error",
        "playAudio",
        "killAudio",
        "mark",
        "clearMarks",
    }
)
_SUBPROTOCOLS = {"fork": ("audio.drachtio.org",), "stream": (), "jambonz": ("audio.jambonz.org",)}
_NOT_METADATA = ("sender", "graceful")


class FreeswitchEmulator(Emulator):
    """One connection: stereo for two legs (the first is the read stream), mono for one, mixed where it is named so.

    Parameters of its own: `sender` (`fork`, `stream`, `jambonz`), `graceful` (`false`: `stop` with a last text instead
    of a graceful shutdown, after which the server closes). All others are metadata, together with the legs.
    """

    carrier = "freeswitch"

    def __init__(self, call: EmulatedCall) -> None:
        super().__init__(call)
        self._sender = call.parameters.get("sender", SENDERS[0])
        if self._sender not in SENDERS:
            raise ValueError(f"sender: expected one of {', '.join(SENDERS)}")
        if call.sample_rate_hz not in RATES_HZ:
            raise ValueError(f"freeswitch sends multiples of 8000 Hz, got {call.sample_rate_hz}")
        if len(call.legs) > 2:
            raise ValueError(f"freeswitch carries one or two legs, got {len(call.legs)}")
        self._mix = "stereo" if len(call.legs) == 2 else "mono"
        if call.legs == (Leg.MIXED,):
            self._mix = "mixed"
        self._graceful = self._sender != "stream" and call.parameters.get("graceful", "true") == "true"
        self._frames = 0
        self._metadata_due = self._sender == "stream"

    def handshake(self) -> Handshake:
        """The URL of the command; rate and channels are in it where the wire does not say them."""
        call = self.call
        stated = {}
        if self._sender != "jambonz":
            stated = {"rate": str(call.sample_rate_hz), "ch": "mixed" if self._mix == "mixed" else ""}
            stated["ch"] = stated["ch"] or str(len(call.legs))
        query = "&".join(filter(None, (call.query, urlencode(stated))))
        headers = {}
        for name, secret in list(call.secrets.items())[:1]:
            pair = base64.b64encode(f"{name}:{secret}".encode()).decode()
            headers["Authorization"] = f"Bearer {secret}" if name == BEARER else f"Basic {pair}"
        target = f"{call.path}?{query}" if query else call.path
        return Handshake(target, headers, _SUBPROTOCOLS[self._sender])

    def opening(self) -> list[Message]:
        """The metadata; mod_audio_stream sends audio before it."""
        return [] if self._metadata_due else [self._metadata()]

    def audio(self, frames: Sequence[PcmArray]) -> list[Message]:
        """L16, interleaved."""
        self._frames += 1
        samples = frames[0] if len(frames) == 1 else np.stack(frames, axis=1).reshape(-1)
        return [encode(samples, Encoding.PCM_S16LE)]

    def closing(self) -> list[Message]:
        """Graceful shutdown (the module says nothing but empty messages from then on), or a last text."""
        late: list[Message] = [self._metadata()] if self._metadata_due else []
        self._metadata_due = False
        if self._graceful:
            self.ended = False  # the server closes
            return [*late, b"", b""]
        return [*late, '{"event":"bye"}'] if self._sender != "stream" else late

    def elapse(self, now_s: float) -> list[Message]:
        """The metadata of mod_audio_stream, after the first audio."""
        if not self._metadata_due or self._frames == 0:
            return []
        self._metadata_due = False
        return [self._metadata()]

    def dtmf(self, digit: str) -> list[Message]:
        """As jambonz tells it with `passDtmf`; by `send_text` of the controller elsewhere."""
        if self._sender == "jambonz":
            return [json_text({"event": "dtmf", "dtmf": digit, "duration": "1600"})]
        return [json_text({"event": "dtmf", "digit": digit})]

    def pause(self) -> list[Message]:
        """The controller says it, for the modules do not."""
        return [json_text({"event": "pause"})]

    def resume(self, skipped_frames: int) -> list[Message]:
        """The controller says it."""
        return [json_text({"event": "resume"})]

    def receive(self, message: Message) -> list[Message]:
        """Take what the module hands on; what it would drop is a problem."""
        if isinstance(message, bytes):
            self.problem = "a binary message, which is discarded"
        elif len(message.encode()) > MAX_TEXT_BYTES:
            self.problem = f"a text of more than {MAX_TEXT_BYTES} bytes"
        else:
            try:
                parsed = orjson.loads(message)
            except orjson.JSONDecodeError:
                parsed = None
            if not isinstance(parsed, dict) or parsed.get("type") not in _TYPES:
                self.problem = "a text without a type that is handed on"
        return []

    def _metadata(self) -> str:
        call = self.call
        metadata: dict[str, object] = {
            name: value for name, value in call.parameters.items() if name not in _NOT_METADATA
        }
        if self._mix == "mono" and call.legs[0] is not Leg.CUSTOMER:
            metadata.setdefault("leg", call.legs[0].value)
        if self._mix == "stereo":
            metadata.setdefault("inbound_is", call.legs[0].value)
        if call.message_secret is not None:
            metadata["token"] = call.message_secret
        if self._sender != "jambonz":
            return json_text({**metadata, "call": call.call_id})
        return json_text(
            {
                "sampleRate": call.sample_rate_hz,
                "mixType": self._mix,
                "callSid": call.call_id,
                "direction": "inbound",
                "from": "+15550100",
                "to": "+15550199",
                "callId": "emulated",
                "callStatus": "in-progress",
                "accountSid": "22222222-2222-4222-8222-222222222222",
                **metadata,
            }
        )
