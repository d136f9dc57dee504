"""AudioSocket: framing, kinds, keys, ends; the page's vectors; every bad input with its answer."""

from __future__ import annotations

from contextlib import suppress
from typing import Any

import pytest

from app.domain import AudioFormat, AudioPacket, CallStart, Encoding, Leg
from app.wire.audiosocket import (
    CARRIER,
    OPTIONS,
    RATES_HZ,
    SLIN,
    AudioSocketAuthenticator,
    AudioSocketProtocol,
    message,
    silence,
)
from app.wire.base import (
    Audio,
    CloseCode,
    Dtmf,
    Gap,
    GapKind,
    Notice,
    Reformat,
    Reply,
    Start,
    Stop,
    WireError,
    WireEvent,
)
from app.wire.carrier import CarrierConfig, RefusedError, UpgradeRequest

UUID_MESSAGE = bytes.fromhex("010010 6ba7b8149dad41d180b400c04fd430c8")
UUID_TEXT = "6ba7b814-9dad-41d1-80b4-00c04fd430c8"
FRAME = message(SLIN, bytes(320))


def protocol(query: str = "", **config: Any) -> AudioSocketProtocol:
    """A connection of a site with this configuration."""
    return AudioSocketProtocol(CarrierConfig(**config), UpgradeRequest("", query))


def started(**config: Any) -> AudioSocketProtocol:
    """A connection whose call has started."""
    made = protocol(**config)
    made.receive_bytes(UUID_MESSAGE, 0.0)
    return made


def refused(made: AudioSocketProtocol, payload: bytes) -> WireError:
    """The error that bytes raise; nothing is read after it."""
    with pytest.raises(WireError) as caught:
        made.receive_bytes(payload, 0.0)
    assert made.receive_bytes(FRAME, 0.0) == []
    assert made.tick(10.0) == []
    return caught.value


def codes(events: list[WireEvent]) -> list[str]:
    """The codes of the notices."""
    return [event.code for event in events if isinstance(event, Notice)]


VECTORS: list[tuple[str, list[WireEvent]]] = [
    ("10 0008 0000 e803 18fc ff7f", [Audio(AudioPacket(bytes.fromhex("0000e80318fcff7f")))]),
    ("03 0001 35", [Dtmf("5", track=0)]),
    (
        "12 0008 0100 ffff 0001 0080",
        [Reformat(Encoding.PCM_S16LE, 16_000), Audio(AudioPacket(bytes.fromhex("0100ffff00010080")))],
    ),
    ("ff 0001 01", [Notice("peer_error", "the peer reported an error, flags 0x01")]),
    ("00 0000", [Stop()]),
]


def test_the_uuid_starts_the_call() -> None:
    """The first vector: the call's id is the UUID's text, the format that of kind 0x10."""
    events = protocol().receive_bytes(UUID_MESSAGE, 0.0)
    assert events == [
        Start(
            CallStart(
                call_id=UUID_TEXT,
                format=AudioFormat(Encoding.PCM_S16LE, 8_000, (Leg.CUSTOMER,)),
                metadata={"carrier": "audiosocket", "uuid": UUID_TEXT},
            )
        )
    ]


@pytest.mark.parametrize(("text", "expected"), VECTORS)
def test_the_vectors_of_the_page(text: str, expected: list[WireEvent]) -> None:
    """Each of the page's messages after a UUID."""
    assert started().receive_bytes(bytes.fromhex(text), 0.0) == expected


def test_our_terminate_is_the_vector() -> None:
    """Whatever ended the call, the last words are three zeros."""
    assert started().farewell(None, draining=False) == [bytes.fromhex("00 0000")]
    assert started().farewell(None, draining=True) == [bytes.fromhex("00 0000")]


def session() -> bytes:
    """The page's session: a second of audio, `#`, a second of audio."""
    return UUID_MESSAGE + FRAME * 50 + bytes.fromhex("03000123") + FRAME * 50


def heard(events: list[WireEvent]) -> bytes:
    """All audio."""
    return b"".join(event.packet.payload for event in events if isinstance(event, Audio))


@pytest.mark.parametrize("size", [1, 2, 3, 7, 322, 323, 324, 1_000, 100_000])
def test_segments_may_be_cut_anywhere(size: int) -> None:
    """The session's events are the same however TCP cuts it."""
    data = session()
    made = protocol()
    events: list[WireEvent] = []
    for start in range(0, len(data), size):
        events += made.receive_bytes(data[start : start + size], start / 16_000)
    assert events == protocol().receive_bytes(data, 0.0)
    assert len(heard(events)) == 2 * 16_000
    before = events[: events.index(Dtmf("#", track=0))]
    assert len(heard(before)) == 16_000
    assert made.lost() == []


@pytest.mark.parametrize("kind", list(RATES_HZ))
def test_the_kind_says_the_rate(kind: int) -> None:
    """Every kind of audio; coming back to 8 kHz is another change."""
    made = started()
    events = made.receive_bytes(message(kind, b"\x01\x02") + message(kind, b"\x03\x04") + FRAME, 0.0)
    reformats = [event for event in events if isinstance(event, Reformat)]
    rates = [] if kind == SLIN else [RATES_HZ[kind], 8_000]
    assert reformats == [Reformat(Encoding.PCM_S16LE, rate) for rate in rates]
    assert heard(events)[:4] == b"\x01\x02\x03\x04"


def test_an_odd_byte_is_carried_over_and_dropped_at_a_change() -> None:
    """Half a sample waits for its other half, but not for one of another rate."""
    made = started()
    events = made.receive_bytes(message(SLIN, b"\x01\x02\x03") + message(SLIN, b"\x04\x05\x06"), 0.0)
    assert events[1:] == [Audio(AudioPacket(b"\x01\x02")), Audio(AudioPacket(b"\x03\x04\x05\x06"))]
    assert codes(events) == ["odd_length"]
    assert made.receive_bytes(message(SLIN, b"\x07"), 0.0) == []
    assert heard(made.receive_bytes(message(SLIN, b"\x08\x09"), 0.0)) == b"\x07\x08"
    assert heard(made.receive_bytes(message(0x12, b"\x01\x02"), 0.0)) == b"\x01\x02"


def test_the_listeners_parameters_describe_the_call() -> None:
    """A listener may stand for a leg and a line; nothing on the wire says either."""
    (event, notice) = protocol("leg=agent&line=snoop&queue=sales&consent=x&inbound_is=x").receive_bytes(
        UUID_MESSAGE, 0.0
    )
    assert isinstance(event, Start)
    assert isinstance(notice, Notice)
    assert event.call.format.channels == (Leg.AGENT,)
    assert (event.call.line, event.call.metadata["queue"]) == ("snoop", "sales")


@pytest.mark.parametrize(
    ("option", "encoding", "rate"),
    [
        ("slin", Encoding.PCM_S16LE, 8_000),
        ("slin16", Encoding.PCM_S16LE, 16_000),
        ("ulaw", Encoding.PCM_MULAW, 8_000),
        ("alaw", Encoding.PCM_ALAW, 8_000),
    ],
)
def test_the_option_says_what_kind_0x10_is(option: str, encoding: Encoding, rate: int) -> None:
    """From the start on, and again after another kind; odd lengths are whole in G.711."""
    made = protocol(options={"encoding_0x10": option})
    (event,) = made.receive_bytes(UUID_MESSAGE, 0.0)
    assert isinstance(event, Start)
    assert event.call.format == AudioFormat(encoding, rate, (Leg.CUSTOMER,))
    events = made.receive_bytes(message(0x13, bytes(4)) + message(SLIN, bytes(159)), 0.0)
    assert Reformat(encoding, rate) in events
    assert len(heard(events)) == (4 + 159 if encoding.sample_bytes == 1 else 4 + 158)


def test_another_kind_of_the_same_format_is_no_change() -> None:
    """16 kHz under its old name and under its own."""
    made = started(options={"encoding_0x10": "slin16"})
    (audio,) = made.receive_bytes(message(0x12, bytes(640)), 0.0)
    assert audio == Audio(AudioPacket(bytes(640)))


@pytest.mark.parametrize(
    ("size", "every_s", "expected"),
    [
        (160, 0.02, ["g711_suspect"]),
        (160, 0.01, []),
        (160, 0.0, []),
        (640, 0.02, ["rate_suspect"]),
        (640, 0.04, []),
        (320, 0.02, []),
        (480, 0.02, []),
    ],
)
def test_other_formats_under_kind_0x10_are_suspected_once(
    size: int, every_s: float, expected: list[str]
) -> None:
    """By size and pace of the first second of frames; never where kind 0x10 is configured to be something else."""
    for options, wanted in (({}, expected), ({"encoding_0x10": "alaw"}, [])):
        made = started(options=options)
        events = [
            event
            for index in range(200)
            for event in made.receive_bytes(message(SLIN, bytes(size)), index * every_s)
        ]
        assert codes(events) == wanted


def test_frames_of_several_sizes_are_not_suspected() -> None:
    """A size that changes is no fixed frame."""
    made = started()
    for index in range(200):
        size = 160 if index != 30 else 320
        assert codes(made.receive_bytes(message(SLIN, bytes(size)), index * 0.02)) == []


def test_a_hole_in_the_arrivals_is_lost_audio() -> None:
    """Nothing for three seconds, then real time: three seconds are lost, at the rate of the moment."""
    made = started()
    times = [index * 0.02 for index in range(50)] + [4 + index * 0.02 for index in range(100)]
    events = [event for now_s in times for event in made.receive_bytes(message(0x12, bytes(640)), now_s)]
    (gap,) = [event for event in events if isinstance(event, Gap)]
    assert gap.kind is GapKind.LOST
    assert gap.samples == pytest.approx(3 * 16_000, abs=2)


def test_silence_is_sent_while_nothing_comes() -> None:
    """Within two seconds of the last byte, in the kind of the call; not before the UUID, not after the end."""
    fresh = protocol()
    assert fresh.tick(0.0) == []
    assert fresh.tick(100.0) == []
    made = started()
    assert made.tick(0.4) == []
    assert made.tick(1.0) == [Reply(bytes.fromhex("10 0140") + bytes(320))]
    assert made.tick(2.0) == [Reply(silence(SLIN))]
    made.receive_bytes(message(0x12, bytes(640)), 2.5)
    assert made.tick(2.9) == []
    assert made.tick(3.5) == [Reply(bytes.fromhex("12 0280") + bytes(640))]
    made.receive_bytes(message(0x00), 4.0)
    assert made.tick(9.0) == []
    assert started(options={"keepalive": "false"}).tick(9.0) == []


@pytest.mark.parametrize(
    ("payload", "code", "close"),
    [
        (b"\x10", "out_of_order", CloseCode.POLICY),
        (FRAME, "out_of_order", CloseCode.POLICY),
        (b"GET / HTTP/1.1\r\n", "out_of_order", CloseCode.POLICY),
        (b"\x16\x03\x01\x02\x00", "out_of_order", CloseCode.POLICY),
        (b"\x00\x00\x00", "out_of_order", CloseCode.POLICY),
        (bytes.fromhex("01 000f") + bytes(15), "invalid_field", CloseCode.INVALID),
        (bytes.fromhex("01 0000"), "invalid_field", CloseCode.INVALID),
        (bytes.fromhex("01 ffff"), "invalid_field", CloseCode.INVALID),
        (bytes.fromhex("01 1000"), "invalid_field", CloseCode.INVALID),
    ],
)
def test_what_is_no_uuid_first_is_refused_at_once(payload: bytes, code: str, close: CloseCode) -> None:
    """A scanner or a wrong peer is told by its first bytes, in however many pieces."""
    error = refused(protocol(), payload)
    assert (error.code, error.close_code) == (code, close)
    made = protocol()
    for byte in payload[:2]:
        with suppress(WireError):
            made.receive_bytes(bytes([byte]), 0.0)
    assert codes(made.lost()) == (["truncated_message"] if payload[0] == 1 else [])


ODD: list[tuple[bytes, list[str]]] = [
    (message(0x7A, b"whatever"), ["unknown_kind"]),
    (message(0x7A, bytes(65_535)), ["unknown_kind"]),
    (message(0x02, bytes(9)), []),
    (message(SLIN), []),
    (message(0x03), ["invalid_dtmf"]),
    (message(0x03, b"x"), ["invalid_dtmf"]),
    (message(0x03, b"12"), ["invalid_dtmf"]),
    (message(0x03, b"\xff"), ["invalid_dtmf"]),
    (message(0xFF), ["peer_error"]),
    (message(0xFF, b"\x06\x00"), ["peer_error"]),
    (UUID_MESSAGE, ["repeated_uuid"]),
    (message(0x01, b"short"), ["repeated_uuid"]),
]


@pytest.mark.parametrize(("payload", "expected"), ODD)
def test_what_is_odd_is_noticed_once_and_the_call_goes_on(payload: bytes, expected: list[str]) -> None:
    """Each odd message, twice: at most one notice, and the audio after it is heard."""
    made = started()
    events = made.receive_bytes(payload + payload + FRAME, 0.0)
    assert codes(events) == expected
    assert heard(events) == bytes(320)


def test_the_longest_message_is_audio() -> None:
    """A length of 65535 is accepted (and odd)."""
    events = started().receive_bytes(message(SLIN, bytes(65_535)), 0.0)
    assert len(heard(events)) == 65_534


def test_a_stream_out_of_step_is_ended() -> None:
    """Many kinds that nobody knows are what lost framing looks like; no kind is looked for in it."""
    payload = b"".join(message(kind, b"xx") for kind in range(0x40, 0x45))
    error = refused(started(), payload)
    assert (error.code, error.close_code) == ("lost_framing", CloseCode.INVALID)


@pytest.mark.parametrize("rest", [b"\x10", b"\x10\x01", b"\x10\x01\x40", FRAME[:-1]])
def test_an_end_inside_a_message_is_noticed(rest: bytes) -> None:
    """In a header or in a payload: the audio so far stays, the part is left out."""
    made = started()
    events = made.receive_bytes(FRAME + rest, 0.0)
    assert heard(events) == bytes(320)
    assert codes(made.lost()) == ["truncated_message"]
    assert made.lost() == []


def test_an_end_before_the_uuid_is_no_call() -> None:
    """Nothing, or a piece of the UUID."""
    assert protocol().lost() == []
    made = protocol()
    made.receive_bytes(UUID_MESSAGE[:5], 0.0)
    assert codes(made.lost()) == ["truncated_message"]


def test_nothing_is_read_after_terminate() -> None:
    """What follows in the same segment is left alone."""
    made = started()
    assert made.receive_bytes(message(0x00) + FRAME, 0.0) == [Stop()]
    assert made.receive_bytes(FRAME, 0.0) == []
    assert made.lost() == []


def test_text_is_refused() -> None:
    """There is none on TCP."""
    made = started()
    with pytest.raises(WireError) as caught:
        made.receive_text("{}", 0.0)
    assert (caught.value.code, caught.value.close_code) == ("unsupported", CloseCode.UNSUPPORTED)


@pytest.mark.parametrize(
    "config",
    [
        {"options": {"codec": "slin"}},
        {"options": {"encoding_0x10": "g722"}},
        {"options": {"keepalive": "yes"}},
        {"message_secret": "s"},
        {"path_secret": "s"},
    ],
)
def test_a_configuration_that_cannot_be_is_refused(config: dict[str, Any]) -> None:
    """Unknown options, and secrets that this wire has no place for."""
    with pytest.raises(ValueError, match=r"expected|carries"):
        protocol(**config)
    assert sorted(OPTIONS) == ["encoding_0x10", "keepalive"]


def test_there_is_nothing_to_authenticate() -> None:
    """The listener decides by address and UUID; asked all the same, the authenticator admits nobody."""
    with pytest.raises(RefusedError):
        CARRIER.new_authenticator(CarrierConfig()).check(UpgradeRequest("/"), 0.0)
    with pytest.raises(ValueError, match="unknown option"):
        AudioSocketAuthenticator(CarrierConfig(options={"x": "y"}))
