"""FreeSWITCH under generated messages: only `WireError` comes out, and every byte of audio does."""

from __future__ import annotations

import random

import orjson
from hypothesis import given, settings
from hypothesis import strategies as st

from app.wire.base import (
    Audio,
    Dtmf,
    Gap,
    GapKind,
    Metadata,
    Notice,
    Pause,
    Resume,
    Start,
    Stop,
    WireError,
    WireEvent,
)
from app.wire.carrier import CarrierConfig, UpgradeRequest
from app.wire.freeswitch import FreeswitchProtocol

MESSAGES = 270
EXAMPLES = 400
JUNK = (None, True, 5, -1.5, "", "8k", "16000", "#", "stereo", "\x00é", [1], {"a": {"b": 1}}, "x" * 600)
KEYS = ("event", "type", "data", "dtmf", "digit", "rate", "ch", "mixType", "call", "callSid", "leg", "queue")
EVENTS = ("dtmf", "pause", "resume", "hold", "bye", "")
TEXTS = ("", "{", "[]", "nonsense", "{}{}", '{"a":1}[2]', "\ud800", '{"a":"\\ud800"}', "NaN", "[" * 3_000)
CODES = {"unsupported", "message_too_big", "unauthorized"}


def random_text(rng: random.Random) -> str:
    """Events and metadata, some glued, some broken."""
    parts = []
    for _ in range(rng.choice((1, 1, 1, 2, 3))):
        found: dict[str, object] = {"event": rng.choice(EVENTS)} if rng.random() < 0.7 else {}
        found["digit"] = rng.choice("0123456789*#ABCDx")
        if rng.random() < 0.3:
            found[rng.choice(KEYS)] = rng.choice(JUNK)
        parts.append(orjson.dumps(found).decode())
    if rng.random() < 0.1:
        parts.append(rng.choice(TEXTS))
    return rng.choice(("", " ", "\n")).join(parts)


def random_message(rng: random.Random) -> str | bytes:
    """Mostly audio; texts; now and then an end or too much."""
    choice = rng.random()
    if choice < 0.8:
        return bytes(rng.choice((1, 320, 321, 640, 4_096)))
    if choice < 0.9985:
        return random_text(rng)
    return rng.choice((b"", b"", "x" * 70_000, bytes((1 << 20) + 1)))


def test_any_sequence_raises_only_wire_errors_and_keeps_every_byte() -> None:
    """At least 10⁵ messages; audio and holes come in order, and no byte of audio before the end is lost."""
    sent = 0

    @settings(max_examples=EXAMPLES, deadline=None, database=None)
    @given(st.integers(0, 2**63))
    def hold(seed: int) -> None:
        nonlocal sent
        rng = random.Random(seed)
        config = CarrierConfig(message_secret="s" if rng.random() < 0.2 else None)
        query = rng.choice(("", "token=s&rate=16000&ch=2", "rate=7", "%%=", "token=s&leg=agent"))
        messages = [random_message(rng) for _ in range(MESSAGES)]
        sent += len(messages)
        check(FreeswitchProtocol(config, UpgradeRequest("", query)), rng, messages)

    hold()
    assert sent >= 100_000


def check(made: FreeswitchProtocol, rng: random.Random, messages: list[str | bytes]) -> None:
    """Feed messages, then lose the connection."""
    events: list[WireEvent] = []
    raised: list[str] = []
    bytes_in = 0
    began_s = now_s = rng.uniform(0, 1e6)
    for message in messages:
        now_s += rng.choice((0.0, 0.02, 0.02, 0.02, 1.0))
        over = bool(raised) or (bool(events) and isinstance(events[-1], Stop))
        try:
            if isinstance(message, str):
                events += made.receive_text(message, now_s)
            else:
                events += made.receive_bytes(message, now_s)
                bytes_in += 0 if over else len(message)
        except WireError as error:
            raised.append(error.code)
    events += made.lost()
    assert len(raised) <= 1
    assert set(raised) <= CODES
    kinds = Start | Audio | Gap | Dtmf | Metadata | Pause | Resume | Stop
    content = [event for event in events if isinstance(event, kinds)]
    assert len(content) + sum(isinstance(event, Notice) for event in events) == len(events)
    starts = [index for index, event in enumerate(content) if isinstance(event, Start)]
    assert starts == [0] or all(isinstance(event, Stop) for event in content)
    assert not any(isinstance(event, Stop) for event in content[:-1])
    heard = sum(len(event.packet.payload) for event in events if isinstance(event, Audio))
    assert heard == (bytes_in if starts else 0)
    holes = [event for event in events if isinstance(event, Gap)]
    assert all(event.samples > 0 and event.kind in GapKind for event in holes)
    for event in events:
        if isinstance(event, Start):
            lost_s = sum(hole.samples for hole in holes) / event.call.format.sample_rate_hz
            assert lost_s <= now_s - began_s + 1e-3
            orjson.dumps(dict(event.call.metadata))
        elif isinstance(event, Metadata):
            orjson.dumps(dict(event.values))
