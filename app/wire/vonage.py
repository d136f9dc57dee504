"""The WebSocket endpoint of Vonage's Voice API (developer.vonage.com/en/voice/voice-api/concepts/websockets).

The first message is the text `websocket:connected`, after it binary messages are 16-bit linear audio and text messages
are events. There are no tracks, clocks, numbers or last message: it is one participant that hears the mix of the
others, until the socket closes. Nothing is ever sent: what is sent is played to the call.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from app.domain import AudioFormat, Encoding, Leg
from app.wire.arrival import ArrivalClock
from app.wire.base import Dtmf, Notice, Notices, Start, WireError, WireEvent
from app.wire.carrier import Carrier, CarrierConfig, CarrierProtocol, UpgradeRequest, check_options
from app.wire.envelope import (
    dtmf_digit,
    invalid,
    optional_text,
    out_of_order,
    parse_object,
    too_big,
    unsupported,
)
from app.wire.l16 import ByteOrderCheck, swap_bytes
from app.wire.native import random_call_id
from app.wire.parameters import describe, query_parameters
from app.wire.vonage_auth import CUSTOM, VonageAuthenticator

SAMPLE_RATES_HZ = (8_000, 16_000, 24_000)
_RATES = {str(rate): rate for rate in SAMPLE_RATES_HZ}
_OPTIONS = {
    "application_id": None,
    "byte_order": frozenset({"little", "big"}),
    "sample_rate": frozenset(_RATES),
}
OPTIONS = frozenset(_OPTIONS)
"""application_id: the only one that is admitted. byte_order: `little` (default) or `big`. sample_rate: where the first
message does not say it, 8000 by default."""

MAX_TEXT_BYTES = 8 * 1024
MAX_AUDIO_BYTES = 64 * 1024

_IDS = ("call_uuid", "uuid", "conversation_uuid", "conversation_id")
# One description has NCCO `headers` sent as HTTP headers. Of those only these are looked for: the rest is HTTP's.
_HTTP_NAMES = (*_IDS, "token", "line", "language", "consent", "notice_given", "leg", "role")
_RESERVED = frozenset({"event", "content-type"})


class VonageProtocol(CarrierProtocol):
    """One connection."""

    ends_by_closing = True

    def __init__(
        self,
        config: CarrierConfig,
        request: UpgradeRequest,
        new_call_id: Callable[[], str] = random_call_id,
    ) -> None:
        check_config(config)
        self._config = config
        self._new_call_id = new_call_id
        self._given = query_parameters(request.query)
        self._given |= {name: request.headers[name] for name in _HTTP_NAMES if name in request.headers}
        self._swap = config.options.get("byte_order") == "big"
        self._clock: ArrivalClock | None = None
        self._byte_order = ByteOrderCheck(SAMPLE_RATES_HZ[0])
        self._failed = False
        self._notices = Notices()

    def receive_text(self, text: str, now_s: float) -> list[WireEvent]:
        """Read one event.

        Raises:
            WireError: not JSON, a broken field, audio of a kind that is not supported, or an event out of order.
        """
        if self._failed:
            return []
        try:
            message = parse_object(text, MAX_TEXT_BYTES)
            event = message.get("event")
            if not isinstance(event, str):
                raise invalid("event", "text")
            if event == "websocket:connected":
                return self._connected(message)
            if event != "websocket:dtmf":  # answers to what we never say, and what later versions bring
                return []
            if self._clock is None:
                raise out_of_order("expected 'websocket:connected' before 'websocket:dtmf'")
        except WireError:
            self._failed = True
            raise
        digit = _digit(message)
        if digit is None:
            return self._notices.once("invalid_dtmf", "a key that no telephone has was left out")
        return [Dtmf(digit)]

    def receive_bytes(self, payload: bytes, now_s: float) -> list[WireEvent]:
        """Read audio of any length.

        Raises:
            WireError: more than the largest message, or audio before `websocket:connected`.
        """
        if self._failed:
            return []
        if self._clock is None:
            self._failed = True
            raise out_of_order("expected 'websocket:connected' before audio")
        if len(payload) > MAX_AUDIO_BYTES:
            self._failed = True
            raise too_big(MAX_AUDIO_BYTES)
        events: list[WireEvent] = []
        if len(payload) % 2:
            payload = payload[:-1]
            events += self._notices.once(
                "odd_length", "the last byte of a message of odd length was left out"
            )
        if not payload:
            return events
        if self._swap:
            payload = swap_bytes(payload)
        if self._byte_order.push(payload):
            events += self._notices.once(
                "byte_order_suspect",
                "the audio is far smoother in the other byte order: see the option byte_order",
            )
        return events + self._clock.audio(now_s, payload, 2)

    def _connected(self, message: Mapping[str, object]) -> list[WireEvent]:
        if self._clock is not None:
            raise out_of_order("expected one 'websocket:connected' a connection, got a second one")
        rate = _sample_rate(message.get("content-type"))
        parameters = self._given | {name: value for name, value in message.items() if name not in _RESERVED}
        if not parameters.get("leg") and parameters.get("role") in tuple(Leg):
            parameters["leg"] = parameters.pop("role")
        described = describe(parameters, self._config)
        notices = list(described.notices)
        if rate is None:
            rate = _RATES[self._config.options.get("sample_rate", "8000")]
            notices.append(
                Notice("sample_rate_assumed", f"the first message names no rate: taken as {rate} Hz")
            )
        extra: dict[str, object] = {"carrier": "vonage"}
        ids = [(name, optional_text(parameters, name)) for name in _IDS]
        name, call_id = next(((name, found) for name, found in ids if found is not None), ("", None))
        if call_id is None:
            call_id = self._new_call_id()
            notices.append(Notice("call_id_made_up", "the NCCO's headers hold no call_uuid"))
        else:
            extra[name] = call_id
        self._clock = ArrivalClock(rate)
        self._byte_order = ByteOrderCheck(rate)
        audio = AudioFormat(Encoding.PCM_S16LE, rate, (described.single,))
        return [Start(described.start(call_id, audio, extra)), *notices]


def check_config(config: CarrierConfig) -> None:
    """Hold the options against what this carrier knows.

    Raises:
        ValueError: an unknown option, or a value that it cannot have.
    """
    check_options(config.options, _OPTIONS)
    if "application_id" in config.options and not set(config.secrets) - {CUSTOM}:
        raise ValueError("vonage: the option application_id needs an API key among the secrets")


def _sample_rate(content_type: object) -> int | None:
    """The rate of `audio/l16;rate=…`, None where it is not said.

    Raises:
        WireError: no text, another type or rate, more than one channel.
    """
    if content_type is None:
        return None
    if not isinstance(content_type, str):
        raise invalid("content-type", "text")
    kind, *rest = (part.strip().lower() for part in content_type.split(";"))
    fields = dict(part.partition("=")[::2] for part in rest)
    values = {name.strip(): value.strip().strip('"') for name, value in fields.items()}
    rate = values.get("rate")
    if kind != "audio/l16" or values.get("channels", "1") != "1" or (rate is not None and rate not in _RATES):
        raise unsupported("content-type", "audio/l16, rate 8000, 16000 or 24000, one channel")
    return None if rate is None else _RATES[rate]


def _digit(message: Mapping[str, object]) -> str | None:
    """The key, as `digit`, `dtmf.digit` or `dtmf`: clients of this wire expect all three."""
    value = message.get("digit", message.get("dtmf"))
    if isinstance(value, dict):
        value = value.get("digit")
    return dtmf_digit(value)


def _authenticator(config: CarrierConfig) -> VonageAuthenticator:
    check_config(config)
    return VonageAuthenticator(config)


CARRIER = Carrier("vonage", VonageProtocol, _authenticator)
