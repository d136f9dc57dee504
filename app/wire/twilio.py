"""Twilio Media Streams (twilio.com/docs/voice/media-streams/websocket-messages), the receiving side.

Text messages, JSON: `connected`, `start`, then `media`, `dtmf` and `mark`, at last `stop`. Nothing is ever sent: a
`<Start>` stream allows nothing, a `<Connect>` stream only audio for the caller.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import Enum, auto

from app.domain import AudioFormat, AudioPacket, Encoding, Leg
from app.wire.base import Audio, Dtmf, Notices, Start, Stop, WireError, WireEvent
from app.wire.carrier import Carrier, CarrierConfig, CarrierProtocol, UpgradeRequest
from app.wire.envelope import (
    base64_field,
    dtmf_digit,
    invalid,
    number_field,
    object_field,
    optional_text,
    out_of_order,
    parse_object,
    text_field,
    unsupported,
)
from app.wire.parameters import Described, describe
from app.wire.twilio_auth import TwilioAuthenticator

OPTIONS: frozenset[str] = frozenset()

SAMPLE_RATE_HZ = 8_000
SAMPLES_PER_MS = 8
FRAME_SAMPLES = 160
"""A timestamp nearer than 20 ms to the end of the audio before it is taken as contiguous: it is in whole ms."""

_TRACKS = ("inbound", "outbound")


class _State(Enum):
    NEW = auto()
    STARTED = auto()
    ENDED = auto()


class TwilioProtocol(CarrierProtocol):
    """One stream of one call."""

    def __init__(self, config: CarrierConfig, request: UpgradeRequest) -> None:
        check_options(config)
        self._config = config
        self._state = _State.NEW
        self._stream_sid: str | None = None
        self._track_of: dict[str, int] = {}
        self._expected = [0, 0]  # samples: where the next packet of each track starts if nothing was lost
        self._last_number = 0
        self._notices = Notices()

    def receive_text(self, text: str, now_s: float) -> list[WireEvent]:
        """Read one message.

        Raises:
            WireError: not JSON, a broken field, a format that is no µ-law, or audio before `start`.
        """
        if self._state is _State.ENDED:
            return []
        try:
            message = parse_object(text)
            event = message.get("event")
            if event == "media":
                return self._media(message)
            if not isinstance(event, str):
                raise invalid("event", "text")
            return self._other(event, message)
        except WireError:
            self._state = _State.ENDED
            raise

    def receive_bytes(self, payload: bytes, now_s: float) -> list[WireEvent]:
        """Twilio sends no binary messages.

        Raises:
            WireError: always, before the end.
        """
        if self._state is _State.ENDED:
            return []
        self._state = _State.ENDED
        raise unsupported("message", "text, audio is base64 in JSON on this wire")

    def _media(self, message: dict[str, object]) -> list[WireEvent]:
        if self._state is not _State.STARTED:
            raise out_of_order("expected 'start' before 'media'")
        events: list[WireEvent] = []
        if not self._is_next(message, events):
            return events
        media = object_field(message, "media")
        payload = base64_field(media, "payload")
        track = self._track(media)
        if track is None:
            events += self._notices.once(
                "unknown_track", "audio of a track that `start` does not name was left out"
            )
            return events
        position = expected = self._expected[track]
        if "timestamp" in media:
            stated = number_field(media, "timestamp") * SAMPLES_PER_MS
            if not -FRAME_SAMPLES < stated - expected < FRAME_SAMPLES:
                position = stated
        if payload:
            self._expected[track] = position + len(payload)
            events.append(Audio(AudioPacket(payload, position, track)))
        return events

    def _track(self, media: Mapping[str, object]) -> int | None:
        """Which track a message belongs to; where it does not say and there is only one, that."""
        name = media.get("track")
        if name is None and len(self._track_of) == 1:
            return 0
        return self._track_of.get(name) if isinstance(name, str) else None

    def _is_next(self, message: Mapping[str, object], events: list[WireEvent]) -> bool:
        """Whether a message is of this stream and was not seen before."""
        if not self._is_own(message, events):
            return False
        if "sequenceNumber" not in message:
            return True
        number = number_field(message, "sequenceNumber")
        last = self._last_number
        if number <= last:
            events += self._notices.once(
                "duplicate", "a message whose sequenceNumber was seen before was left out"
            )
            return False
        self._last_number = number
        if number != last + 1 and last:
            events += self._notices.once(
                "sequence_jump", "a sequenceNumber was skipped: Twilio discarded messages"
            )
        return True

    def _is_own(self, message: Mapping[str, object], events: list[WireEvent]) -> bool:
        if self._stream_sid is None or message.get("streamSid", self._stream_sid) == self._stream_sid:
            return True
        events += self._notices.once("foreign_stream", "a message of another stream was left out")
        return False

    def _other(self, event: str, message: dict[str, object]) -> list[WireEvent]:
        if event == "start":
            return self._start(message)
        if event == "stop":
            return self._stop(message)
        if event not in ("dtmf", "mark"):  # `connected`, and what later versions bring
            return []
        if self._state is _State.NEW:
            raise out_of_order(f"expected 'start' before '{event}'")
        events: list[WireEvent] = []
        if self._is_next(message, events) and event == "dtmf":
            self._dtmf(object_field(message, "dtmf"), events)
        return events

    def _start(self, message: dict[str, object]) -> list[WireEvent]:
        if self._state is not _State.NEW:
            raise out_of_order("expected one 'start' a stream, got a second one")
        start = object_field(message, "start")
        _check_format(start)
        tracks = _tracks(start)
        call_sid = text_field(start, "callSid")
        self._stream_sid = optional_text(message, "streamSid") or text_field(start, "streamSid")
        parameters = start.get("customParameters")
        if parameters is None:
            parameters = {}
        if not isinstance(parameters, dict):
            raise invalid("customParameters", "an object")
        if "sequenceNumber" in message:
            self._last_number = number_field(message, "sequenceNumber")
        described = describe(parameters, self._config)
        self._track_of = {name: track for track, name in enumerate(tracks)}
        ids = {"carrier": "twilio", "call_sid": call_sid, "stream_sid": self._stream_sid}
        if account_sid := optional_text(start, "accountSid"):
            ids["account_sid"] = account_sid
        audio = AudioFormat(
            Encoding.PCM_MULAW, SAMPLE_RATE_HZ, _legs(tracks, described, parameters), separate=len(tracks) > 1
        )
        self._state = _State.STARTED
        return [Start(described.start(call_sid, audio, ids)), *described.notices]

    def _stop(self, message: dict[str, object]) -> list[WireEvent]:
        """The end, whatever its number; before `start` too."""
        events: list[WireEvent] = []
        if not self._is_own(message, events):
            return events
        self._state = _State.ENDED
        return [Stop()]

    def _dtmf(self, dtmf: Mapping[str, object], events: list[WireEvent]) -> None:
        digit = dtmf_digit(dtmf.get("digit"))
        if digit is None:
            events += self._notices.once("invalid_dtmf", "a key that no telephone has was left out")
            return
        name = dtmf.get("track")  # `inbound_track`, unlike that of media
        events.append(
            Dtmf(digit, self._track_of.get(name.removesuffix("_track")) if isinstance(name, str) else None)
        )


def check_options(config: CarrierConfig) -> None:
    """Twilio has no options of its own.

    Raises:
        ValueError: there are some.
    """
    if unknown := set(config.options) - OPTIONS:
        raise ValueError(f"twilio has no options, got {', '.join(sorted(unknown))}")


def _check_format(start: Mapping[str, object]) -> None:
    """Only G.711 µ-law, 8 kHz, mono is documented; where nothing is said it is that."""
    if "mediaFormat" not in start:
        return
    media_format = object_field(start, "mediaFormat")
    if (
        text_field(media_format, "encoding") != "audio/x-mulaw"
        or number_field(media_format, "sampleRate") != SAMPLE_RATE_HZ
        or number_field(media_format, "channels") != 1
    ):
        raise unsupported("mediaFormat", "audio/x-mulaw, 8000 Hz, 1 channel")


def _tracks(start: Mapping[str, object]) -> tuple[str, ...]:
    """The tracks of the stream, inbound first; Twilio's default where they are not named."""
    value = start.get("tracks", ["inbound"])
    if not isinstance(value, list) or not value or any(track not in _TRACKS for track in value):
        raise invalid("tracks", "an array of 'inbound', 'outbound' or both")
    return tuple(track for track in _TRACKS if track in value)


def _legs(tracks: tuple[str, ...], described: Described, parameters: Mapping[str, object]) -> tuple[Leg, ...]:
    """Who is on each track. The parameter `leg` is about a stream of one."""
    if len(tracks) == 1 and parameters.get("leg") in tuple(Leg):
        return (described.single,)
    return tuple(described.inbound if track == "inbound" else described.outbound for track in tracks)


def _authenticator(config: CarrierConfig) -> TwilioAuthenticator:
    check_options(config)
    return TwilioAuthenticator(config)


CARRIER = Carrier("twilio", TwilioProtocol, _authenticator)
