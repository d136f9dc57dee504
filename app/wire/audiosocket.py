"""Asterisk AudioSocket over TCP: three bytes of header, then the payload (kind, length as uint16 big-endian).

Wire: asterisk `include/asterisk/res_audiosocket.h` and `res/res_audiosocket.c`. The connection has no handshake, no
login and no metadata but a UUID, so who may connect is up to the listener; there is nothing here to authenticate.
"""

from __future__ import annotations

from uuid import UUID

from app.domain import AudioFormat, AudioPacket, Encoding
from app.wire.arrival import ArrivalClock
from app.wire.base import (
    Audio,
    CloseCode,
    Dtmf,
    Notice,
    Notices,
    Reformat,
    Reply,
    Start,
    Stop,
    WireError,
    WireEvent,
)
from app.wire.carrier import (
    Authenticator,
    Carrier,
    CarrierConfig,
    CarrierProtocol,
    Payload,
    RefusedError,
    UpgradeRequest,
    check_options,
)
from app.wire.envelope import dtmf_digit, invalid, out_of_order, unsupported
from app.wire.parameters import describe, query_parameters

HEADER_BYTES = 3
TERMINATE, UUID_KIND, SILENCE, DTMF, SLIN, ERROR = 0x00, 0x01, 0x02, 0x03, 0x10, 0xFF
RATES_HZ = {
    SLIN: 8_000,
    0x11: 12_000,
    0x12: 16_000,
    0x13: 24_000,
    0x14: 32_000,
    0x15: 44_100,
    0x16: 48_000,
    0x17: 96_000,
    0x18: 192_000,
}
"""Kinds of audio, int16 little-endian mono each."""

FAREWELL = bytes(HEADER_BYTES)
"""Terminate: the only thing besides audio that Asterisk takes from a server."""

_ENCODINGS = {
    "slin": (Encoding.PCM_S16LE, 8_000),
    "slin16": (Encoding.PCM_S16LE, 16_000),
    "ulaw": (Encoding.PCM_MULAW, 8_000),
    "alaw": (Encoding.PCM_ALAW, 8_000),
}
_OPTIONS = {"encoding_0x10": frozenset(_ENCODINGS), "keepalive": frozenset({"true", "false"})}
OPTIONS = frozenset(_OPTIONS)

_KEEPALIVE_AFTER_S = (
    0.5  # looked at once a second: a frame leaves within 1.5 s, before the dialplan's 2 s are over
)
_SUSPECT_FRAMES = 50
_MAX_UNKNOWN_KINDS = 4


class AudioSocketProtocol(CarrierProtocol):
    """One connection. `receive_bytes` takes what TCP gives; parameters come from the listener's query, if any.

    Raises:
        ValueError: an unknown option, or a secret that this wire cannot carry.
    """

    ends_by_closing = True

    def __init__(self, config: CarrierConfig, request: UpgradeRequest) -> None:
        check_options(config.options, _OPTIONS)
        if config.message_secret is not None or config.path_secret is not None:
            raise ValueError("audiosocket carries no secret: expected neither message_secret nor path_secret")
        self._config = config
        self._query = request.query
        self._keepalive = config.options.get("keepalive", "true") == "true"
        self._format_0x10 = _ENCODINGS[config.options.get("encoding_0x10", "slin")]
        self._format = self._format_0x10
        self._kind = SLIN
        self._buffer = bytearray()
        self._needed = HEADER_BYTES
        self._odd = b""
        self._clock = ArrivalClock(self._format[1])
        self._suspicion = _Suspicion() if self._format_0x10 == _ENCODINGS["slin"] else None
        self._started = False
        self._ended = False
        self._heard_s = 0.0
        self._notices = Notices()
        self._unknown: set[int] = set()

    def receive_text(self, text: str, now_s: float) -> list[WireEvent]:
        """There is no text on TCP.

        Raises:
            WireError: `unsupported`, always.
        """
        self._ended = True
        raise unsupported("message", "bytes, this wire has no text")

    def receive_bytes(self, payload: bytes, now_s: float) -> list[WireEvent]:
        """Read bytes, cut anywhere.

        Raises:
            WireError: `out_of_order`, `invalid_field` (the UUID does not come first), `lost_framing`.
        """
        if self._ended:
            return []
        self._heard_s = now_s
        buffer = self._buffer
        buffer += payload
        if not self._started and buffer:
            self._check_first(buffer)
        if len(buffer) < self._needed:
            return []
        events: list[WireEvent] = []
        size, at = len(buffer), 0
        while at + HEADER_BYTES <= size:
            end = at + HEADER_BYTES + (buffer[at + 1] << 8 | buffer[at + 2])
            if end > size:
                break
            self._message(buffer[at], bytes(buffer[at + HEADER_BYTES : end]), now_s, events)
            at = end
            if self._ended:
                break
        del buffer[:at]
        self._needed = HEADER_BYTES
        if len(buffer) >= HEADER_BYTES:
            self._needed += buffer[1] << 8 | buffer[2]
        return events

    def lost(self) -> list[WireEvent]:
        """The end of the stream is how a call ends here; inside a message it cuts it."""
        if self._ended or not self._buffer:
            return []
        self._ended = True
        return [Notice("truncated_message", "the connection ended inside a message, whose part was left out")]

    def tick(self, now_s: float) -> list[WireEvent]:
        """Keep the dialplan application from timing out (2 s without audio either way) with 20 ms of silence."""
        quiet = now_s - self._heard_s >= _KEEPALIVE_AFTER_S
        if not (self._keepalive and self._started and quiet) or self._ended:
            return []
        return [Reply(silence(self._kind))]

    def farewell(self, error: WireError | None, draining: bool) -> list[Payload]:
        """Terminate: the application returns to the dialplan, or the leg hangs up."""
        return [FAREWELL]

    def _check_first(self, buffer: bytearray) -> None:
        """The UUID comes first; anything else (a scanner, say) is shown the door at its first bytes."""
        if buffer[0] != UUID_KIND:
            self._ended = True
            raise out_of_order("expected the UUID (kind 0x01) first")
        if len(buffer) >= HEADER_BYTES and (buffer[1], buffer[2]) != (0, 16):
            self._ended = True
            raise invalid("UUID", "16 bytes")

    def _message(self, kind: int, payload: bytes, now_s: float, events: list[WireEvent]) -> None:
        if kind in RATES_HZ:
            if payload:
                self._audio(kind, payload, now_s, events)
        elif kind == UUID_KIND:
            self._uuid(payload, events)
        elif kind == DTMF:
            digit = dtmf_digit(payload.decode("latin-1"))
            if digit is None:
                events += self._notices.once("invalid_dtmf", "expected one byte, a key of a telephone")
            else:
                events.append(Dtmf(digit, track=0))
        elif kind == TERMINATE:  # Asterisk closes instead; other clients say it
            self._ended = True
            events.append(Stop())
        elif kind == ERROR:
            flags = payload[0] if payload else 0
            events += self._notices.once("peer_error", f"the peer reported an error, flags 0x{flags:02x}")
        elif kind != SILENCE:
            self._skip(kind, events)

    def _uuid(self, payload: bytes, events: list[WireEvent]) -> None:
        if self._started:
            events += self._notices.once(
                "repeated_uuid", "expected one UUID a connection, a later one was left out"
            )
            return
        self._started = True
        uuid = str(UUID(bytes=payload))
        described = describe(query_parameters(self._query), self._config, trusted=True)
        encoding, rate = self._format
        audio_format = AudioFormat(encoding, rate, (described.single,))
        extra = {"carrier": CARRIER.name, "uuid": uuid}
        events += [Start(described.start(uuid, audio_format, extra)), *described.notices]

    def _audio(self, kind: int, payload: bytes, now_s: float, events: list[WireEvent]) -> None:
        if kind != self._kind:
            self._change(kind, events)
        if kind == SLIN and self._suspicion is not None:
            self._suspect(self._suspicion.push(len(payload), now_s), events)
        samples = len(payload)
        if self._format[0] is Encoding.PCM_S16LE:
            if samples & 1 or self._odd:
                payload = self._even(payload, events)
            samples = len(payload) >> 1
        gap = self._clock.gap(now_s, samples)
        if gap is not None:
            events.append(gap)
        if payload:
            events.append(Audio(AudioPacket(payload)))

    def _even(self, payload: bytes, events: list[WireEvent]) -> bytes:
        """Whole samples: an odd byte waits for the next message."""
        if len(payload) & 1:
            events += self._notices.once(
                "odd_length", "audio of an odd number of bytes, the last one was carried over"
            )
        payload = self._odd + payload
        whole = len(payload) & ~1
        self._odd = payload[whole:]
        return payload[:whole]

    def _change(self, kind: int, events: list[WireEvent]) -> None:
        self._kind = kind
        self._odd = b""
        audio_format = self._format_0x10 if kind == SLIN else (Encoding.PCM_S16LE, RATES_HZ[kind])
        if audio_format != self._format:
            self._format = audio_format
            self._clock.sample_rate_hz = audio_format[1]
            events.append(Reformat(*audio_format))

    def _suspect(self, found: tuple[str, str] | tuple[()] | None, events: list[WireEvent]) -> None:
        if found is None:
            return
        self._suspicion = None
        if found:
            code, what = found
            detail = f"frames of kind 0x10 look like {what}; see the option `encoding_0x10`"
            events.append(Notice(code, detail))

    def _skip(self, kind: int, events: list[WireEvent]) -> None:
        self._unknown.add(kind)
        if len(self._unknown) > _MAX_UNKNOWN_KINDS:
            self._ended = True
            raise WireError(
                "lost_framing",
                "The stream makes no sense any more",
                f"expected known kinds, got more than {_MAX_UNKNOWN_KINDS} unknown ones",
                CloseCode.INVALID,
            )
        events += self._notices.once(
            "unknown_kind", f"messages of kind 0x{kind:02x} are not known and were skipped"
        )


class _Suspicion:
    """Looks at the first second of kind 0x10: other formats come under it from some versions of Asterisk.

    160 bytes every 20 ms are G.711 and not 10 ms of slin; 640 are 16 kHz and not 40 ms. Told apart by their pace, so
    that audio faster than real time tells nothing.
    """

    def __init__(self) -> None:
        self._bytes = 0
        self._frames = 0
        self._first_s = 0.0

    def push(self, frame_bytes: int, now_s: float) -> tuple[str, str] | tuple[()] | None:
        """Look at a frame: None while undecided, then once the notice's code and what it seems to be, or nothing."""
        if self._frames == 0:
            self._bytes, self._first_s = frame_bytes, now_s
        elif frame_bytes != self._bytes:
            return ()
        self._frames += 1
        if self._frames <= _SUSPECT_FRAMES:
            return None
        frame_s = (now_s - self._first_s) / _SUSPECT_FRAMES
        if not 0.017 < frame_s < 0.023:
            return ()
        if self._bytes == 160:
            return "g711_suspect", "G.711"
        return ("rate_suspect", "16 kHz") if self._bytes == 640 else ()


class AudioSocketAuthenticator(Authenticator):
    """Never asked: there is no request and nothing to show. Admits nobody, should it be asked after all."""

    def __init__(self, config: CarrierConfig) -> None:
        check_options(config.options, _OPTIONS)

    def check(self, request: UpgradeRequest, now_s: float) -> None:
        """Refuse.

        Raises:
            RefusedError: 403, always.
        """
        raise RefusedError(403, "unsupported", "audiosocket is not served over HTTP")


def message(kind: int, payload: bytes = b"") -> bytes:
    """One message as it is written."""
    return bytes((kind, len(payload) >> 8, len(payload) & 0xFF)) + payload


def silence(kind: int) -> bytes:
    """A message of 20 ms of silence; Asterisk reads kind 0x10 as slin whatever it sends under it."""
    return message(kind, bytes(2 * (RATES_HZ[kind] // 50)))


CARRIER = Carrier(
    name="audiosocket",
    new_protocol=AudioSocketProtocol,
    new_authenticator=AudioSocketAuthenticator,
    idle_timeout_s=600.0,
)
