"""Any messages whatever: nothing but `WireError` comes out of a Vonage WebSocket, and its time adds up."""

from __future__ import annotations

import random
from collections.abc import Iterator
from typing import Any

import orjson
from hypothesis import given, settings
from hypothesis import strategies as st

from app.domain import Leg
from app.wire.base import Audio, Dtmf, Gap, Notice, Start, WireError, WireEvent
from app.wire.carrier import CarrierConfig, UpgradeRequest
from app.wire.vonage import VonageProtocol

EXAMPLES = 400
MESSAGES = 260
JUNK: list[Any] = [
    None,
    True,
    -1,
    0,
    2.5,
    1e300,
    "",
    "x",
    "audio/l16",
    "audio/l16;rate=1",
    [],
    {},
    ["5"],
    {"digit": "5"},
]
TEXTS = ["", "{", "[]", "null", '"x"', "\ud800", "\x00", "{}", '{"event":null}', "9" * 400, " " * 9_000]
CONFIGS = [
    CarrierConfig(),
    CarrierConfig(single=Leg.MIXED, options={"byte_order": "big"}),
    CarrierConfig(options={"sample_rate": "24000"}),
]
ONCE = {"invalid_dtmf", "odd_length", "byte_order_suspect", "sample_rate_assumed", "call_id_made_up"}


def connected(rng: random.Random) -> dict[str, Any]:
    """A first message."""
    headers = {"call_uuid": "u", "role": rng.choice(["customer", "agent", "boss"]), "queue": rng.choice(JUNK)}
    rate = rng.choice((8_000, 16_000, 24_000))
    return {"event": "websocket:connected", "content-type": f"audio/l16;rate={rate}", **headers}


def line(rng: random.Random, count: int) -> Iterator[str | bytes]:
    """Messages as Vonage sends them, among them some that are damaged and some that are none."""
    noise = rng.randbytes(2_000)
    for n in range(count):
        roll = rng.random()
        if roll < 0.002:
            yield rng.choice(TEXTS)
        elif roll < 0.01:
            yield noise[: rng.randrange(1_000)] if roll > 0.0022 else bytes(65_538)
        elif roll > 0.05 and n:
            yield noise[:320] if roll < 0.8 else bytes(320)
        else:
            message = rng.choice(
                [
                    {"event": "websocket:dtmf", "digit": rng.choice("0123456789*#AZ"), "duration": 130},
                    {"event": "websocket:dtmf", "dtmf": {"digit": "5"}},
                    {"event": "websocket:cleared"},
                    {"event": "websocket:notify", "payload": {}},
                    {"event": "later"},
                    connected(rng) if rng.random() < 0.1 else {"event": "websocket:later"},
                ]
            )
            yield damaged(rng, message if n else connected(rng))


def damaged(rng: random.Random, message: dict[str, Any]) -> str:
    """A message; of one in ten a member is lost or something else, or its text is cut."""
    if rng.random() < 0.1:
        name = rng.choice(list(message))
        message = {**message, name: rng.choice(JUNK)}
        if rng.random() < 0.3:
            del message[name]
    text = orjson.dumps(message).decode()
    return text[: rng.randrange(len(text))] if rng.random() < 0.02 else text


class Listener:
    """A connection and the rules that must hold for it."""

    def __init__(self, rng: random.Random) -> None:
        self.protocol = VonageProtocol(rng.choice(CONFIGS), UpgradeRequest("/"))
        self.given_samples = self.heard_samples = self.missing_samples = 0
        self.rate_hz = 0
        self.ended = False
        self.noticed: set[str] = set()

    def hear(self, message: str | bytes, now_s: float) -> None:
        """Hand over a message and hold what comes against the rules."""
        try:
            if isinstance(message, str):
                events = self.protocol.receive_text(message, now_s)
            else:
                events = self.protocol.receive_bytes(message, now_s)
        except WireError:
            events = []
            refused = True
        else:
            refused = False
            if isinstance(message, bytes) and not self.ended:
                self.given_samples += len(message) // 2
        assert not (self.ended and (events or refused))
        self.ended |= refused
        for event in events:
            self._check(event)

    def _check(self, event: WireEvent) -> None:
        if isinstance(event, Start):
            assert self.rate_hz == 0
            self.rate_hz = event.call.format.sample_rate_hz
        elif isinstance(event, Notice):
            assert event.code not in self.noticed or event.code not in ONCE
            self.noticed.add(event.code)
        elif isinstance(event, Audio):
            assert event.packet.position_samples is None
            assert event.packet.payload
            assert len(event.packet.payload) % 2 == 0
            self.heard_samples += len(event.packet.payload) // 2
        elif isinstance(event, Gap):
            assert event.samples > 0
            self.missing_samples += event.samples
        else:
            assert isinstance(event, Dtmf)
        assert self.rate_hz


def test_any_messages() -> None:
    """A hundred thousand messages, good, damaged and junk; a new connection begins where one has ended."""
    heard = 0

    @settings(max_examples=EXAMPLES, deadline=None, database=None)
    @given(st.integers(0, (1 << 64) - 1))
    def play(seed: int) -> None:
        nonlocal heard
        rng = random.Random(seed)
        listener = Listener(rng)
        now_s = began_s = rng.uniform(0, 1e6)
        after_end = 0
        for message in line(rng, MESSAGES):
            now_s += 0.02 if rng.random() > 0.01 else rng.uniform(0, 3)
            listener.hear(message, now_s)
            heard += 1
            assert listener.heard_samples == listener.given_samples
            if listener.rate_hz:
                # No more is ever missing than time has passed.
                assert listener.missing_samples <= (now_s - began_s) * listener.rate_hz
            after_end += listener.ended
            if after_end > 3:  # a few more messages come after the end, and are not heard
                listener, after_end, began_s = Listener(rng), 0, now_s
                listener.hear(orjson.dumps(connected(rng)).decode(), now_s)

    play()
    assert heard >= 100_000
