"""Asterisk chan_websocket: control in text messages (plain text or JSON), bare audio in binary ones, one leg.

Wire: asterisk `channels/chan_websocket.c`. The kind of control is the call's own and told by its first text.
"""

from __future__ import annotations

from collections.abc import Mapping

from app.domain import AudioFormat, Encoding
from app.wire.arrival import ArrivalClock
from app.wire.base import Dtmf, Notices, Start, WireError, WireEvent
from app.wire.basic_auth import BasicAuthenticator
from app.wire.carrier import (
    Authenticator,
    Carrier,
    CarrierConfig,
    CarrierProtocol,
    Payload,
    UpgradeRequest,
    check_options,
)
from app.wire.envelope import (
    MAX_TEXT_BYTES,
    dtmf_digit,
    not_json,
    optional_text,
    out_of_order,
    parse_object,
    text_field,
    too_big,
    unsupported,
)
from app.wire.native import random_call_id
from app.wire.parameters import describe, query_parameters

FORMATS: Mapping[str, tuple[Encoding, int]] = {
    "ulaw": (Encoding.PCM_MULAW, 8_000),
    "alaw": (Encoding.PCM_ALAW, 8_000),
    "slin": (Encoding.PCM_S16LE, 8_000),
    "slin12": (Encoding.PCM_S16LE, 12_000),
    "slin16": (Encoding.PCM_S16LE, 16_000),
    "slin24": (Encoding.PCM_S16LE, 24_000),
    "slin32": (Encoding.PCM_S16LE, 32_000),
    "slin44": (Encoding.PCM_S16LE, 44_100),
    "slin48": (Encoding.PCM_S16LE, 48_000),
    "slin96": (Encoding.PCM_S16LE, 96_000),
    "slin192": (Encoding.PCM_S16LE, 192_000),
}
"""Asterisk's names of what can be read."""

MAX_EARLY_BYTES = 96_000
MAX_EARLY_MESSAGES = 50
"""Audio that overtook MEDIA_START is kept up to here: a second, of 20 ms each or of the widest common format."""

MAX_BINARY_BYTES = 1 << 20
_MAX_FORMAT_CHARS = 64
_OPTIONS = {"hangup": frozenset({"true", "false"})}
OPTIONS = frozenset(_OPTIONS)
# Asterisk's own channel variables say nothing of the call; DIALEDPEERNUMBER is the whole dial string, token and all.
_OWN_VARIABLES = ("MEDIA_WEBSOCKET_", "DIALEDPEERNUMBER")


class ChanWebsocketProtocol(CarrierProtocol):
    """One connection.

    Raises:
        ValueError: an unknown option.
    """

    ends_by_closing = True

    def __init__(self, config: CarrierConfig, request: UpgradeRequest) -> None:
        check_options(config.options, _OPTIONS)
        self._config = config
        self._parameters = query_parameters(request.query)
        self._hangup = config.options.get("hangup") == "true"
        self._json: bool | None = None
        self._clock: ArrivalClock | None = None
        self._frame_bytes = 1
        self._early: list[tuple[float, bytes]] = []
        self._early_bytes = 0
        self._paused = False
        self._failed = False
        self._notices = Notices()

    def receive_text(self, text: str, now_s: float) -> list[WireEvent]:
        """Read one event of Asterisk.

        Raises:
            WireError: `message_too_big`, `invalid_json`, `invalid_field`, `unsupported` (format), `out_of_order` (a
                second MEDIA_START), `unauthorized` (token).
        """
        if self._failed:
            return []
        try:
            event = self._parse(text)
            name = event.get("event")
            if name == "MEDIA_START":
                return self._start(event)
            return self._event(name, event)
        except WireError:
            self._failed = True
            raise

    def receive_bytes(self, payload: bytes, now_s: float) -> list[WireEvent]:
        """Take audio; what comes before MEDIA_START waits for it.

        Raises:
            WireError: `message_too_big`; `out_of_order`, more than a second before MEDIA_START.
        """
        if self._failed or not payload:
            return []
        if len(payload) > MAX_BINARY_BYTES:
            self._failed = True
            raise too_big(MAX_BINARY_BYTES)
        if self._clock is None:
            return self._keep(payload, now_s)
        return self._clock.audio(now_s, payload, self._frame_bytes, self._paused)

    def paused(self, paused: bool) -> list[Payload]:
        """Ask Asterisk to stop (or to send) audio; only its JSON control knows that. Older versions ignore it."""
        if not self._json or self._clock is None:
            return []
        self._paused = paused
        if paused:
            self._clock.announced = True
        direction = "out" if paused else "both"
        return [f'{{"command":"SET_MEDIA_DIRECTION","direction":"{direction}"}}']

    def farewell(self, error: WireError | None, draining: bool) -> list[Payload]:
        """Closing the socket hangs the leg up anyhow; `HANGUP` says it, where the site wants that."""
        if not self._hangup or self._json is None or (error is None and not draining):
            return []
        return ['{"command":"HANGUP"}' if self._json else "HANGUP"]

    def _parse(self, text: str) -> dict[str, object]:
        if len(text) > MAX_TEXT_BYTES:
            raise too_big(MAX_TEXT_BYTES)
        if self._json is None:
            self._json = text.lstrip().startswith("{")
        if self._json:
            return parse_object(text)
        if not _is_unicode(text):
            raise not_json()
        return parse_plain(text)

    def _start(self, event: dict[str, object]) -> list[WireEvent]:
        if self._clock is not None:
            raise out_of_order("expected one MEDIA_START a connection, got a second one")
        known = FORMATS.get(text_field(event, "format", _MAX_FORMAT_CHARS))
        if known is None:
            raise unsupported("format", f"one of {', '.join(FORMATS)}")
        encoding, rate = known
        variables = event.get("channel_variables")
        parameters = {
            **(_callers(variables) if isinstance(variables, dict) else {}),
            **self._parameters,
        }
        described = describe(parameters, self._config)
        call_id = (
            optional_text(parameters, "call")
            or optional_text(parameters, "call_id")
            or optional_text(event, "channel_id")
            or optional_text(event, "channel")
            or random_call_id()
        )
        extra: dict[str, object] = {"carrier": CARRIER.name}
        for name in ("channel", "channel_id", "connection_id"):
            value = optional_text(event, name)
            if value is not None:
                extra[name] = value
        audio_format = AudioFormat(encoding, rate, (described.single,))
        clock = self._clock = ArrivalClock(rate)
        self._frame_bytes = audio_format.frame_bytes
        events: list[WireEvent] = [
            Start(described.start(call_id, audio_format, extra)),
            *described.notices,
        ]
        for now_s, payload in self._early:
            events += clock.audio(now_s, payload, self._frame_bytes, self._paused)
        self._early = []
        return events

    def _event(self, name: object, event: dict[str, object]) -> list[WireEvent]:
        if name == "ERROR":
            return self._notices.once("peer_error", "Asterisk refused a command of this service")
        if name != "DTMF_END":
            return []
        if self._clock is None:
            return self._notices.once("early_event", "a key came before MEDIA_START and was left out")
        digit = dtmf_digit(event.get("digit"))
        if digit is None:
            return self._notices.once("invalid_dtmf", "digit: expected one key of a telephone")
        return [Dtmf(digit, track=0)]

    def _keep(self, payload: bytes, now_s: float) -> list[WireEvent]:
        self._early_bytes += len(payload)
        if self._early_bytes > MAX_EARLY_BYTES or len(self._early) >= MAX_EARLY_MESSAGES:
            self._failed = True
            raise out_of_order("expected MEDIA_START within a second of the first audio")
        self._early.append((now_s, payload))
        return []


def parse_plain(text: str) -> dict[str, object]:
    """A plain-text event (`NAME key:value …`) as its JSON twin; `error_text` takes the rest of the line.

    A token without a colon is left out; values may hold colons.
    """
    name, _, rest = text.strip().partition(" ")
    event: dict[str, object] = {}
    while rest:
        token, _, rest = rest.partition(" ")
        key, colon, value = token.partition(":")
        if key == "error_text":
            value, rest = f"{value} {rest}", ""
        if colon and key:
            event[key] = value
    event["event"] = name
    return event


def _is_unicode(text: str) -> bool:
    """Whether it can be written down again: no half of a surrogate pair."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _callers(variables: Mapping[str, object]) -> dict[str, object]:
    """Channel variables by their names: one inherited from `Set(__name=…)` still comes with its underscores."""
    named = ((name.removeprefix("_").removeprefix("_"), value) for name, value in variables.items())
    return {name: value for name, value in named if name and not name.startswith(_OWN_VARIABLES)}


def _authenticator(config: CarrierConfig) -> Authenticator:
    check_options(config.options, _OPTIONS)
    return BasicAuthenticator(config.secrets)


CARRIER = Carrier(
    name="chan_websocket",
    new_protocol=ChanWebsocketProtocol,
    new_authenticator=_authenticator,
    subprotocols=("media",),
    idle_timeout_s=600.0,
    pings=False,  # Asterisk before 20.18, 22.8 and 23.2 hangs up on one
)
