"""FreeSWITCH: mod_audio_fork (drachtio), mod_audio_stream (amigniter) and jambonz `listen`.

One optional text of metadata, then bare L16 in little-endian order. What a sender does not say of its audio (only
jambonz does) comes from the URL or from the options. Wire: the modules' READMEs and source, jambonz `listen.js`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from json import JSONDecoder
from typing import TypeVar

import orjson

from app.domain import AudioFormat, Encoding, Leg
from app.wire.arrival import ArrivalClock
from app.wire.base import (
    Dtmf,
    Metadata,
    Notice,
    Notices,
    Pause,
    Resume,
    Start,
    Stop,
    WireError,
    WireEvent,
)
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
from app.wire.envelope import MAX_TEXT_BYTES, dtmf_digit, optional_text, too_big, unsupported
from app.wire.native import random_call_id
from app.wire.parameters import Described, describe, query_parameters
from app.wire.replies import encode_error

RATES_HZ = tuple(range(8_000, 96_001, 8_000))
"""What the modules can be asked for: any multiple of 8 kHz."""

MAX_BINARY_BYTES = 1 << 20
MAX_RESULT_BYTES = 640_000
"""The modules drop a message of more than 650 KB."""

EARLY_MESSAGES = 3
"""So much audio waits for the metadata (mod_audio_stream may send it late); then the call starts without."""

MAX_UPDATES = 32
"""Later texts that add to a call's metadata; more are left out."""

_RATE_NAMES = ("sampleRate", "rate")
_LAYOUT_NAMES = ("mixType", "channels", "ch")
_ID_NAMES = ("call", "call_id", "callSid", "callId", "uuid")
_LAYOUTS = {"mono": "mono", "1": "mono", "mixed": "mixed", "stereo": "stereo", "2": "stereo"}
_RATES = {f"{rate // 1000}k": rate for rate in RATES_HZ} | {str(rate): rate for rate in RATES_HZ}
_OPTIONS = {
    "rate": frozenset(_RATES),
    "channels": frozenset(_LAYOUTS),
    "results": frozenset({"true", "false"}),
}
OPTIONS = frozenset(_OPTIONS)
_EVENTS = ("dtmf", "pause", "resume")
_SCANNER = JSONDecoder()
_Value = TypeVar("_Value", str, int)


class FreeswitchProtocol(CarrierProtocol):
    """One connection.

    Raises:
        ValueError: an unknown option.
    """

    ends_by_closing = True

    def __init__(self, config: CarrierConfig, request: UpgradeRequest) -> None:
        check_options(config.options, _OPTIONS)
        self._config = config
        self._query = query_parameters(request.query)
        self._results = config.options.get("results", "true") == "true"
        self._clock: ArrivalClock | None = None
        self._frame_bytes = 2
        self._early: list[tuple[float, bytes]] = []
        self._paused = False
        self._updates = 0
        self._ended = False
        self._notices = Notices()

    def receive_text(self, text: str, now_s: float) -> list[WireEvent]:
        """Read a text: the metadata first, then whatever the controller sends; several objects may be glued.

        Raises:
            WireError: `message_too_big`, `unsupported` (rate or channels), `unauthorized` (token).
        """
        if self._ended:
            return []
        try:
            if len(text) > MAX_TEXT_BYTES:
                raise too_big(MAX_TEXT_BYTES)
            objects = list(glued_objects(text))
            events: list[WireEvent] = []
            if self._clock is None:
                first = objects.pop(0) if objects and _is_metadata(objects[0]) else None
                events += self._start(first or {})
            for found in objects:
                events += self._object(found)
            return events
        except WireError:
            self._ended = True
            raise

    def receive_bytes(self, payload: bytes, now_s: float) -> list[WireEvent]:
        """Take audio; an empty message is mod_audio_fork's graceful shutdown, and then the service closes.

        Raises:
            WireError: `message_too_big`, and as `receive_text` where the call starts without metadata.
        """
        if self._ended:
            return []
        if not payload:
            events = self.lost()
            self._ended = True
            return [*events, Stop()]
        if len(payload) > MAX_BINARY_BYTES:
            self._ended = True
            raise too_big(MAX_BINARY_BYTES)
        if self._clock is not None:
            return self._clock.audio(now_s, payload, self._frame_bytes, self._paused)
        self._early.append((now_s, payload))
        if len(self._early) < EARLY_MESSAGES:
            return []
        try:
            return self._start({})
        except WireError:
            self._ended = True
            raise

    def lost(self) -> list[WireEvent]:
        """A call so short that it never came to its metadata starts now, with the audio it had."""
        if self._ended or self._clock is not None or not self._early:
            return []
        try:
            return self._start({})
        except WireError:
            return []

    def result(self, message: str) -> list[Payload]:
        """What all three senders hand to the application: `{"type":"json","data":…}`."""
        if not self._results or self._clock is None or len(message.encode()) > MAX_RESULT_BYTES:
            return []
        return [f'{{"type":"json","data":{message}}}']

    def farewell(self, error: WireError | None, draining: bool) -> list[Payload]:
        """Why the call ended, where it was an error; closing says the rest."""
        return self.result(encode_error(error)) if error is not None else []

    def _start(self, first: Mapping[str, object]) -> list[WireEvent]:
        parameters = {**self._query, **first}
        described = describe(parameters, self._config)
        notices: list[WireEvent] = [*described.notices]
        sources = (first, self._query)
        options = self._config.options
        rate = _stated(sources, _RATE_NAMES, _RATES, notices) or _RATES[options.get("rate", "8000")]
        layout = (
            _stated(sources, _LAYOUT_NAMES, _LAYOUTS, notices) or _LAYOUTS[options.get("channels", "mono")]
        )
        audio_format = AudioFormat(Encoding.PCM_S16LE, rate, _legs(layout, described))
        self._frame_bytes = audio_format.frame_bytes
        clock = self._clock = ArrivalClock(rate)
        call_id = next(filter(None, (optional_text(parameters, name) for name in _ID_NAMES)), None)
        call = described.start(call_id or random_call_id(), audio_format, {"carrier": CARRIER.name})
        events: list[WireEvent] = [Start(call), *notices]
        for now_s, payload in self._early:
            events += clock.audio(now_s, payload, self._frame_bytes, self._paused)
        self._early = []
        return events

    def _object(self, found: dict[str, object] | None) -> list[WireEvent]:
        """What a later text says."""
        if found is None:
            return self._notices.once("text_not_json", "a text is not a JSON object and was left out")
        if not _is_event(found):
            return self._update(found)
        event = found.get("event")
        if event == "dtmf":
            digit = dtmf_digit(found.get("dtmf", found.get("digit")))
            if digit is None:
                return self._notices.once("invalid_dtmf", "dtmf: expected one key of a telephone")
            return [Dtmf(digit)]
        if event == "pause":
            return self._pause(True)
        return self._pause(False) if event == "resume" else []

    def _pause(self, paused: bool) -> list[WireEvent]:
        if paused is self._paused:
            return []
        self._paused = paused
        if paused and self._clock is not None:
            self._clock.announced = True
        return [Pause("carrier") if paused else Resume("carrier")]

    def _update(self, found: Mapping[str, object]) -> list[WireEvent]:
        if not found:
            return []
        self._updates += 1
        if self._updates > MAX_UPDATES:
            return self._notices.once("metadata_dropped", f"expected at most {MAX_UPDATES} texts of metadata")
        described = describe(found, self._config, trusted=True)
        dropped: list[WireEvent] = []
        for notice in described.notices:
            dropped += self._notices.once(notice.code, notice.detail)
        return [Metadata(described.metadata), *dropped] if described.metadata else dropped


def glued_objects(text: str) -> Iterator[dict[str, object] | None]:
    """The JSON objects of a text, written one after another; None for a rest (or a value) that is no object.

    The scanner only tells where a value ends; it is read by the stricter of the two parsers.
    """
    at, size = 0, len(text)
    while at < size:
        if text[at].isspace():
            at += 1
            continue
        try:
            _, end = _SCANNER.raw_decode(text, at)
            value = orjson.loads(text[at:end])
        except (ValueError, RecursionError):  # both parsers' errors are ValueErrors, UnicodeEncodeError too
            yield None
            return
        yield value if isinstance(value, dict) else None
        at = end


def _is_metadata(found: Mapping[str, object] | None) -> bool:
    """Whether a first text is what it should be, though it may hold an `event` of the site's own."""
    return found is not None and found.get("event") not in _EVENTS


def _is_event(found: Mapping[str, object]) -> bool:
    """Whether an object says that something happened, rather than something of the call."""
    return isinstance(found.get("event"), str) or (
        isinstance(found.get("type"), str) and isinstance(found.get("data"), dict)
    )


def _stated(
    sources: Sequence[Mapping[str, object]],
    names: Sequence[str],
    known: Mapping[str, _Value],
    notices: list[WireEvent],
) -> _Value | None:
    """What the first source that says it says; words that mean nothing here are noticed and passed over.

    Raises:
        WireError: `unsupported`, a number that is none of those known.
    """
    for source in sources:
        for name in names:
            value = source.get(name)
            if isinstance(value, int) and not isinstance(value, bool):
                value = str(value)
            if value is None or value == "":
                continue
            found = known.get(value.lower()) if isinstance(value, str) else None
            if found is not None:
                return found
            if isinstance(value, str) and value.lstrip("-").isdecimal():
                raise unsupported(name, f"one of {', '.join(known)}")
            detail = f"the parameter `{name}` says nothing known of the audio and was passed over"
            notices.append(Notice("invalid_parameter", detail))
    return None


def _legs(layout: str, described: Described) -> tuple[Leg, ...]:
    """mono: the read stream. stereo: channel 0 the read stream, channel 1 the write stream."""
    if layout == "stereo":
        return described.inbound, described.outbound
    return (Leg.MIXED,) if layout == "mixed" else (described.single,)


def _authenticator(config: CarrierConfig) -> Authenticator:
    check_options(config.options, _OPTIONS)
    return BasicAuthenticator(config.secrets, bearer=True)


CARRIER = Carrier(
    name="freeswitch",
    new_protocol=FreeswitchProtocol,
    new_authenticator=_authenticator,
    subprotocols=("audio.drachtio.org", "audio.jambonz.org"),
    idle_timeout_s=600.0,
)
