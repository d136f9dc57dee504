"""Telnyx media streaming (developers.telnyx.com, "Media streaming over WebSockets"), the receiving side.

Text messages, JSON: `connected`, `start`, then `media` (in no promised order), `dtmf`, `mark` and `error`, at last
`stop`. Nothing is ever sent: what Telnyx does not know it answers with errors.

`start` does not say which tracks will come. Where nobody says it, the call is opened once the first media show it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum, auto

from app.domain import AudioFormat, AudioPacket, Encoding
from app.wire.base import Audio, Dtmf, Notice, Notices, Start, Stop, WireError, WireEvent
from app.wire.carrier import Carrier, CarrierConfig, CarrierProtocol, UpgradeRequest, same_secret
from app.wire.envelope import (
    base64_field,
    dtmf_digit,
    invalid,
    number_field,
    object_field,
    out_of_order,
    parse_object,
    unauthorized,
    unsupported,
)
from app.wire.l16 import ByteOrderCheck, swap_bytes
from app.wire.reorder import ReorderWindow
from app.wire.telnyx_auth import (
    OPTIONS,
    TOKEN_NAME,
    TRACKS,
    TelnyxAuthenticator,
    read_options,
    shows_token,
)
from app.wire.telnyx_start import Opening, read_opening

__all__ = ["CARRIER", "OPTIONS", "TelnyxProtocol"]

START_TIMEOUT_S = 90.0
"""A stream that is asked for with the call connects while it rings, and starts when it is answered."""

HELD_S = 0.06
"""Packets are not held back for longer where nothing more comes."""

OPEN_PACKETS = 10
OPEN_S = 0.2
"""So much of one track without any of the other, and the call has one track."""

OPEN_WAIT_S = 1.0
"""The longest wait for that, from the first media on."""

NO_MEDIA_WAIT_S = 10.0
"""Where no media come at all, the call is opened after so long, with the inbound track (Telnyx's default)."""

MAX_WAITING = 64

_TRACK_OF = {"inbound": 0, "outbound": 1, "inbound_track": 0, "outbound_track": 1}
_NAMES = ("inbound", "outbound")
_ERRORS = {
    100002: "unknown_error",
    100003: "malformed_frame",
    100004: "invalid_media",
    100005: "rate_limit_reached",
}


class _State(Enum):
    NEW = auto()
    OPENING = auto()  # `start` was read, but not yet which tracks come
    STARTED = auto()
    FAILED = auto()  # nothing more is read, but what is held back has yet to come out
    ENDED = auto()


@dataclass(slots=True)
class _Track:
    """One direction of the call. index: among the call's tracks. position, duration: samples; of the last packet."""

    index: int
    window: ReorderWindow[bytes] = field(default_factory=ReorderWindow)
    position: int = 0
    duration: int = 0
    arrived_s: float = 0.0


@dataclass(frozen=True, slots=True)
class _Media:
    """A packet as it came. track: 0 inbound, 1 outbound, None where it does not say. number: its `chunk`."""

    track: int | None
    number: int | None
    payload: bytes
    now_s: float


class TelnyxProtocol(CarrierProtocol):
    """One stream of one call."""

    def __init__(self, config: CarrierConfig, request: UpgradeRequest) -> None:
        self._config = config
        self._options = read_options(config)
        self._state = _State.NEW
        self._has_token = shows_token(request, self._options)
        self._opening: Opening | None = None
        self._waiting: list[_Media | Dtmf] = []
        self._tracks: list[_Track | None] = [None, None]
        self._bytes_per_sample = 1
        self._swapped = False
        self._order_check: ByteOrderCheck | None = None
        self._notices = Notices()

    def receive_text(self, text: str, now_s: float) -> list[WireEvent]:
        """Read one message.

        Raises:
            WireError: not JSON, a broken field, a wrong token, a codec this service does not know, or audio
                before `start`.
        """
        if self._is_over:
            return []
        try:
            message = parse_object(text)
            event = message.get("event")
            if event == "media":
                return self._media(message, now_s)
            if not isinstance(event, str):
                raise invalid("event", "text")
            return self._other(event, message, now_s)
        except WireError:
            self._fail()
            raise

    def receive_bytes(self, payload: bytes, now_s: float) -> list[WireEvent]:
        """Telnyx sends no binary messages.

        Raises:
            WireError: always, before the end.
        """
        if self._is_over:
            return []
        self._fail()
        raise unsupported("message", "text, audio is base64 in JSON on this wire")

    def lost(self) -> list[WireEvent]:
        """What was held back, and what was odd in all. Telnyx often closes without a `stop`."""
        return self._end() if self._state is not _State.ENDED else []

    def tick(self, now_s: float) -> list[WireEvent]:
        """Let out what waits for packets that do not come, and open a call whose media do not show their tracks."""
        events: list[WireEvent] = []
        if self._state is _State.OPENING and self._has_waited(now_s):
            events += self._open()
        for track in self._tracks:
            if track is not None and now_s - track.arrived_s >= HELD_S:
                self._let_out(track, track.window.flush(), events)
        return events

    @property
    def _is_over(self) -> bool:
        return self._state in (_State.FAILED, _State.ENDED)

    def _fail(self) -> None:
        self._state = _State.FAILED if self._state is _State.STARTED else _State.ENDED

    def _media(self, message: Mapping[str, object], now_s: float) -> list[WireEvent]:
        if self._state is _State.NEW:
            raise out_of_order("expected 'start' before 'media'")
        media = object_field(message, "media")
        events: list[WireEvent] = []
        name = media.get("track")
        track = _TRACK_OF.get(name) if isinstance(name, str) else None
        if track is None and name is not None:
            events += self._notices.once(
                "unknown_track", "audio that is neither inbound nor outbound was left out"
            )
            return events
        number = number_field(media, "chunk") if "chunk" in media else None
        payload = base64_field(media, "payload")
        if self._state is _State.OPENING:
            self._waiting.append(_Media(track, number, payload, now_s))
            return self._open() if self._shows_tracks() or self._has_waited(now_s) else events
        self._take(track, number, payload, now_s, events)
        return events

    def _take(
        self, name: int | None, number: int | None, payload: bytes, now_s: float, events: list[WireEvent]
    ) -> None:
        """Put a packet into its track's window, and what is next out of it."""
        tracks = self._tracks
        track = tracks[0] or tracks[1] if name is None else tracks[name]
        if track is None:
            events += self._notices.once(
                "unexpected_track",
                "audio of a track that was not opened was left out; see `tracks` on this carrier's page",
            )
            return
        track.arrived_s = now_s
        if number is None:
            events += self._notices.once("no_chunk", "audio without a chunk number was taken as it came")
            self._let_out(track, [*track.window.flush(), (0, payload)], events)
            return
        self._let_out(track, track.window.push(number, payload), events)

    def _let_out(self, track: _Track, packets: list[tuple[int, bytes]], events: list[WireEvent]) -> None:
        """Audio whose turn has come; a hole is as long as its packets were, if they were like the last one."""
        for missing, payload in packets:
            position = track.position + missing * track.duration
            if self._bytes_per_sample == 2:
                payload = self._linear(payload, events)
            samples = len(payload) // self._bytes_per_sample
            track.position = position + samples
            if samples:
                track.duration = samples
                events.append(Audio(AudioPacket(payload, position, track.index)))

    def _linear(self, payload: bytes, events: list[WireEvent]) -> bytes:
        """L16 as little-endian samples."""
        if len(payload) % 2:
            events += self._notices.once("odd_payload", "L16 audio ended inside a sample, which was left out")
            payload = payload[:-1]
        if self._swapped:
            payload = swap_bytes(payload)
        if self._order_check is not None:
            wrong = self._order_check.push(payload)
            if wrong:
                events += self._notices.once(
                    "l16_order",
                    "L16 audio is far smoother in the other byte order; see `l16_order` on this carrier's page",
                )
            if wrong is not None:
                self._order_check = None
        return payload

    def _other(self, event: str, message: Mapping[str, object], now_s: float) -> list[WireEvent]:
        if event == "connected":
            self._connected(message)
            return []
        if event == "start":
            return self._start(message, now_s)
        if event == "stop":
            return [*self._end(), Stop()]
        events: list[WireEvent] = []
        if event == "error":
            self._error(message, events)
        elif event == "dtmf":
            self._dtmf(message, events)
        return events

    def _connected(self, message: Mapping[str, object]) -> None:
        """The token is in the header, and here again; what is shown at all must be right."""
        details = message.get("connected")
        given = details.get(TOKEN_NAME) if isinstance(details, dict) else None
        expected = self._options.token
        if expected is None or given is None:
            return
        if not isinstance(given, str) or not same_secret(given, expected):
            raise unauthorized("the token in `connected` is wrong")
        self._has_token = True

    def _start(self, message: Mapping[str, object], now_s: float) -> list[WireEvent]:
        if self._state is not _State.NEW:
            raise out_of_order("expected one 'start' a stream, got a second one")
        if not self._has_token:
            raise unauthorized("neither the header nor `connected` showed the token")
        opening = self._opening = read_opening(message, self._config, now_s)
        self._state = _State.OPENING
        tracks = opening.tracks or self._options.tracks
        return [] if tracks is None else self._open(tracks)

    def _shows_tracks(self) -> bool:
        """Whether the media so far show which tracks come: both, or enough of one."""
        assert self._opening is not None  # noqa: S101 # it is set with the state
        media = [packet for packet in self._waiting if isinstance(packet, _Media)]
        if len({packet.track or 0 for packet in media}) == 2:
            return True
        size = sum(len(packet.payload) for packet in media)
        seconds = size / (self._opening.encoding.sample_bytes * self._opening.sample_rate_hz)
        # Two packets or three may be of one track by chance however long they are.
        return len(media) >= OPEN_PACKETS or (len(media) > 3 and seconds >= OPEN_S)

    def _has_waited(self, now_s: float) -> bool:
        """Whether the call must be opened with what is known."""
        assert self._opening is not None  # noqa: S101 # it is set with the state
        first = next((packet.now_s for packet in self._waiting if isinstance(packet, _Media)), None)
        if first is None:
            return now_s - self._opening.since_s >= NO_MEDIA_WAIT_S
        return now_s - first >= OPEN_WAIT_S

    def _open(self, tracks: tuple[int, ...] | None = None) -> list[WireEvent]:
        """Start the call with these tracks, or those that were seen, and take what has waited for it."""
        opening = self._opening
        assert opening is not None  # noqa: S101 # it is set with the state
        if tracks is None:
            seen = {packet.track or 0 for packet in self._waiting if isinstance(packet, _Media)}
            tracks = tuple(sorted(seen)) or TRACKS["inbound"]
        described = opening.described
        both = (described.inbound, described.outbound)
        legs = tuple(both[track] for track in tracks)
        if len(legs) == 1 and opening.has_leg:
            legs = (described.single,)
        for index, name in enumerate(tracks):
            self._tracks[name] = _Track(index)
        if opening.encoding is Encoding.PCM_S16LE:
            self._bytes_per_sample = 2
            self._swapped = self._options.big_endian
            self._order_check = ByteOrderCheck(opening.sample_rate_hz)
        self._state = _State.STARTED
        self._opening = None
        audio = AudioFormat(opening.encoding, opening.sample_rate_hz, legs, separate=len(legs) > 1)
        extra = {**opening.extra, "tracks": [_NAMES[track] for track in tracks]}
        events: list[WireEvent] = [Start(described.start(opening.call_id, audio, extra)), *opening.notices]
        waiting, self._waiting = self._waiting, []
        for waited in waiting:
            if isinstance(waited, Dtmf):
                events.append(waited)
            else:
                self._take(waited.track, waited.number, waited.payload, waited.now_s, events)
        return events

    def _dtmf(self, message: Mapping[str, object], events: list[WireEvent]) -> None:
        if self._state is _State.NEW:
            raise out_of_order("expected 'start' before 'dtmf'")
        digit = dtmf_digit(object_field(message, "dtmf").get("digit"))
        if digit is None:
            events += self._notices.once("invalid_dtmf", "a key that no telephone has was left out")
        elif self._state is _State.STARTED:
            events.append(Dtmf(digit))
        elif len(self._waiting) < MAX_WAITING:
            self._waiting.append(Dtmf(digit))

    def _error(self, message: Mapping[str, object], events: list[WireEvent]) -> None:
        """Telnyx says that something went wrong; whether the stream ends is not documented, so it is read on."""
        payload = message.get("payload")
        code = payload.get("code") if isinstance(payload, dict) else None
        if isinstance(code, str) and code.isascii() and code.isdigit() and len(code) <= 6:
            code = int(code)
        known = code if isinstance(code, int) and code in _ERRORS else None
        text = "an error of an unknown code" if known is None else f"error {known} ({_ERRORS[known]})"
        events += self._notices.once("carrier_error", f"Telnyx told of {text}", kind=f"carrier_error {known}")

    def _end(self) -> list[WireEvent]:
        """Let everything out, and say what was odd."""
        events = self._open() if self._state is _State.OPENING else []
        self._state = _State.ENDED
        late = duplicates = restarts = 0
        for track in self._tracks:
            if track is not None:
                self._let_out(track, track.window.close(), events)
                late += track.window.late
                duplicates += track.window.duplicates
                restarts += track.window.restarts
        if late:
            events.append(Notice("late_packets", f"{late} packets came too late and were left out"))
        if duplicates:
            events.append(Notice("duplicate_packets", f"{duplicates} packets had come before"))
        if restarts:
            events.append(Notice("chunk_restarts", f"the chunk numbers began anew {restarts} times"))
        return events


CARRIER = Carrier("telnyx", TelnyxProtocol, TelnyxAuthenticator, start_timeout_s=START_TIMEOUT_S)
