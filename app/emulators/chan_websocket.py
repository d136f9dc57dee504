"""Asterisk's side of chan_websocket, as the client of an outgoing connection (`Dial(WebSocket/…)`)."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from urllib.parse import urlencode

import orjson

from app.audio.g711 import PcmArray, encode
from app.domain import Encoding, Leg
from app.emulators.base import FRAME_S, EmulatedCall, Emulator, Handshake, Message
from app.wire.chan_websocket import FORMATS

MAX_COMMAND_BYTES = 128
MAX_BINARY_BYTES = 65_500
"""What Asterisk takes at most; it ignores longer commands, and closes the call at a longer message."""

_CHANNEL = "WebSocket/kowairo/0x7f10c4002a50"
_CHANNEL_ID = "1760000000.7"
_COMMANDS = frozenset(
    {
        "ANSWER",
        "HANGUP",
        "START_MEDIA_BUFFERING",
        "STOP_MEDIA_BUFFERING",
        "MARK_MEDIA",
        "FLUSH_MEDIA",
        "PAUSE_MEDIA",
        "CONTINUE_MEDIA",
        "REPORT_QUEUE_DRAINED",
        "GET_STATUS",
    }
)
_STATUS: dict[str, object] = {
    "queue_length": 0,
    "xon_level": 800,
    "xoff_level": 900,
    "queue_full": False,
    "bulk_media": False,
    "media_paused": False,
}


class ChanWebsocketEmulator(Emulator):
    """One connection, one leg. Its parameters go into the query, as `v()` puts them there.

    A parameter of its own: `control` = `plain-text`, as from versions (and sites) without JSON.
    """

    carrier = "chan_websocket"

    def __init__(self, call: EmulatedCall) -> None:
        super().__init__(call)
        if len(call.legs) != 1:
            raise ValueError(f"chan_websocket carries one leg a connection, got {len(call.legs)}")
        encoding = call.encoding if call.sample_rate_hz == 8_000 else Encoding.PCM_S16LE
        names = {known: name for name, known in FORMATS.items()}
        if (encoding, call.sample_rate_hz) not in names:
            raise ValueError(f"chan_websocket has no format of {call.sample_rate_hz} Hz")
        control = call.parameters.get("control", "json")
        if control not in ("json", "plain-text"):
            raise ValueError("control: expected json or plain-text")
        self._json = control == "json"
        self._encoding = encoding
        self._format = names[encoding, call.sample_rate_hz]
        self._silent = False

    def handshake(self) -> Handshake:
        """The URI of websocket_client.conf with the query of `v()`."""
        call = self.call
        headers = {}
        for user, password in list(call.secrets.items())[:1]:
            pair = base64.b64encode(f"{user}:{password}".encode()).decode()
            headers["Authorization"] = f"Basic {pair}"
        query = "&".join(filter(None, (call.query, self._query())))
        return Handshake(f"{call.path}?{query}", headers, ("media",))

    def opening(self) -> list[Message]:
        """MEDIA_START."""
        rate = self.call.sample_rate_hz
        frame_bytes = round(rate * FRAME_S) * self._encoding.sample_bytes
        fields: dict[str, object] = {
            "connection_id": "kowairo",
            "channel": _CHANNEL,
            "channel_id": _CHANNEL_ID,
            "format": self._format,
            "optimal_frame_size": frame_bytes,
            "ptime": 20,
        }
        if self._json:
            options = self._query().replace("&", ",")
            fields["channel_variables"] = {
                "DIALEDPEERNUMBER": f"kowairo/c({self._format})f(json)d(in)v({options})",
                "MEDIA_WEBSOCKET_CONNECTION_ID": "kowairo",
                "MEDIA_WEBSOCKET_OPTIMAL_FRAME_SIZE": str(frame_bytes),
            }
        return [self._event("MEDIA_START", fields)]

    def audio(self, frames: Sequence[PcmArray]) -> list[Message]:
        """One binary message, unless the server asked for silence."""
        return [] if self._silent else [encode(frames[0], self._encoding)]

    def closing(self) -> list[Message]:
        """Nothing: the socket is closed."""
        return []

    def dtmf(self, digit: str) -> list[Message]:
        """DTMF_END."""
        return [self._event("DTMF_END", {"digit": digit, "channel_id": _CHANNEL_ID})]

    def receive(self, message: Message) -> list[Message]:
        """Obey commands as Asterisk does; what it would refuse is a problem."""
        if isinstance(message, bytes):
            if len(message) > MAX_BINARY_BYTES:
                self.problem = f"a binary message of more than {MAX_BINARY_BYTES} bytes"
            return []
        if len(message.encode()) > MAX_COMMAND_BYTES:
            self.problem = f"a command of more than {MAX_COMMAND_BYTES} bytes"
            return []
        command: dict[str, object] = {"command": message.partition(" ")[0]}
        if self._json:
            try:
                parsed = orjson.loads(message)
            except orjson.JSONDecodeError:
                parsed = None
            if not isinstance(parsed, dict):
                self.problem = "a command is not a JSON object"
                return [self._event("ERROR", {"channel_id": _CHANNEL_ID, "error_text": "Not JSON"})]
            command = parsed
        return self._obey(command)

    def _obey(self, command: dict[str, object]) -> list[Message]:
        name = command.get("command")
        if name == "SET_MEDIA_DIRECTION" and self._json:
            if command.get("direction") in ("both", "in", "out"):
                self._silent = command["direction"] == "out"
            else:
                self.problem = "SET_MEDIA_DIRECTION: expected both, in or out"
        elif name == "HANGUP":
            self.hung_up = True
        elif name == "GET_STATUS":
            return [self._event("STATUS", {"channel_id": _CHANNEL_ID, **_STATUS})]
        elif name not in _COMMANDS:
            self.problem = "a command that Asterisk does not know"
        return []

    def _query(self) -> str:
        """What `v()` says."""
        call = self.call
        parameters = {name: value for name, value in call.parameters.items() if name != "control"}
        if call.legs[0] is not Leg.CUSTOMER:
            parameters.setdefault("leg", call.legs[0].value)
        if call.message_secret is not None:
            parameters["token"] = call.message_secret
        parameters["call"] = call.call_id
        return urlencode(parameters)

    def _event(self, name: str, fields: dict[str, object]) -> str:
        if self._json:
            return orjson.dumps({"event": name, **fields}).decode()
        written = (
            f"{key}:{str(value).lower() if isinstance(value, bool) else value}"
            for key, value in fields.items()
        )
        return " ".join((name, *written))
