"""AudioSocket under generated streams: only `WireError` comes out, and every sample of audio is accounted for."""

from __future__ import annotations

import random

from hypothesis import given, settings
from hypothesis import strategies as st

from app.domain import Encoding
from app.wire.audiosocket import RATES_HZ, AudioSocketProtocol, message
from app.wire.base import Audio, Dtmf, Gap, Reformat, Reply, Start, Stop, WireError, WireEvent
from app.wire.carrier import CarrierConfig, UpgradeRequest

MESSAGES = 270
EXAMPLES = 400
KINDS = list(RATES_HZ)
UUID_MESSAGE = message(0x01, bytes(range(16)))


def random_message(rng: random.Random, kind: int) -> tuple[bytes, int]:
    """A message and its bytes of audio: mostly audio of the kind of the moment, some odd, some junk."""
    choice = rng.random()
    if choice < 0.8:
        size = rng.choice((0, 1, 2, 3, 160, 320, 321, 640))
        return message(kind, bytes(size)), size
    if choice < 0.9:
        return message(0x03, rng.choice((b"1", b"#", b"D", b"", b"x", b"12"))), 0
    if choice < 0.999:
        return message(rng.choice((0x02, 0x7A, 0x7B, 0xFF, 0x01)), rng.randbytes(rng.randrange(20))), 0
    return rng.choice((message(0x00), rng.randbytes(rng.randrange(1, 40)), b"")), 0


def pieces(rng: random.Random, data: bytes) -> list[bytes]:
    """The stream as TCP might cut it."""
    cuts = sorted(rng.randrange(len(data) + 1) for _ in range(rng.randrange(60)))
    return [data[start:end] for start, end in zip([0, *cuts], [*cuts, len(data)], strict=True)]


def test_any_stream_raises_only_wire_errors_and_keeps_time() -> None:
    """At least 10⁵ messages; a valid start mostly, then valid, near-valid and junk messages, cut anywhere."""
    sent = 0

    @settings(max_examples=EXAMPLES, deadline=None, database=None)
    @given(st.integers(0, 2**63))
    def hold(seed: int) -> None:
        nonlocal sent
        rng = random.Random(seed)
        options = rng.choice(({}, {"encoding_0x10": "ulaw"}, {"keepalive": "false"}))
        made = AudioSocketProtocol(CarrierConfig(options=options), UpgradeRequest(""))
        kind = 0x10
        written = [UUID_MESSAGE] if rng.random() < 0.98 else []
        for _ in range(MESSAGES):
            if rng.random() < 0.01:
                kind = rng.choice(KINDS)
            written.append(random_message(rng, kind)[0])
        sent += len(written)
        check(made, rng, b"".join(written))

    hold()
    assert sent >= 100_000


def check(made: AudioSocketProtocol, rng: random.Random, data: bytes) -> None:
    """Feed a stream in pieces; the events are in order and nothing but `WireError` is raised."""
    events: list[WireEvent] = []
    raised: list[str] = []
    now_s = rng.uniform(0, 1e6)
    try:
        for piece in pieces(rng, data):
            events += made.receive_bytes(piece, now_s)
            now_s += rng.choice((0.0, 0.01, 0.5, 2.0))
            events += made.tick(now_s)
    except WireError as error:
        raised.append(error.code)
    assert set(raised) <= {"out_of_order", "invalid_field", "lost_framing"}
    events += made.lost()
    content = [event for event in events if isinstance(event, Start | Audio | Gap | Dtmf | Reformat | Stop)]
    assert [isinstance(event, Start) for event in content] == [index == 0 for index in range(len(content))]
    assert not any(isinstance(event, Stop) for event in content[:-1])
    assert all(isinstance(event.payload, bytes) for event in events if isinstance(event, Reply))


@settings(max_examples=100, deadline=None, database=None)
@given(st.integers(0, 2**63))
def test_every_byte_of_audio_comes_out(seed: int) -> None:
    """Of a valid stream: all audio but half samples, at the rate of its kind, whatever the cuts."""
    rng = random.Random(seed)
    written, expected = [UUID_MESSAGE], 0.0
    kind, odd = 0x10, 0
    for _ in range(100):
        if rng.random() < 0.05:
            new = rng.choice(KINDS)
            if new != kind:
                kind, odd = new, 0
        size = rng.randrange(1, 700)
        written.append(message(kind, bytes(size)))
        expected += (size + odd) // 2 / RATES_HZ[kind]
        odd = (size + odd) % 2
    made = AudioSocketProtocol(CarrierConfig(), UpgradeRequest(""))
    heard, rate = 0.0, 8_000
    for piece in pieces(rng, b"".join(written)):
        for event in made.receive_bytes(piece, 0.0):
            if isinstance(event, Reformat):
                assert event.encoding is Encoding.PCM_S16LE
                rate = event.sample_rate_hz
            elif isinstance(event, Audio):
                heard += len(event.packet.payload) / 2 / rate
    assert abs(heard - expected) < 1e-9
    assert made.lost() == []
