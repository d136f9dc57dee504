"""Any messages whatever: nothing but `WireError` comes out of a Twilio stream, and its time adds up."""

from __future__ import annotations

import base64
import random
from collections.abc import Iterator
from typing import Any

import orjson
from hypothesis import given, settings
from hypothesis import strategies as st

from app.domain import AudioPacket
from app.wire.base import Audio, Dtmf, Notice, Start, Stop, WireError
from app.wire.carrier import CarrierConfig
from app.wire.twilio import TwilioProtocol
from tests.wire.twilio.messages import FORMAT, REQUEST, STREAM

EXAMPLES = 400
MESSAGES = 260
CONFIG = CarrierConfig()
PAYLOADS = [base64.b64encode(bytes(size)).decode() for size in (160, 160, 160, 160, 80, 240, 1, 0)]
JUNK: list[Any] = [
    None,
    True,
    -1,
    0,
    1,
    2.5,
    1e300,
    1 << 70,
    "",
    "x",
    "/w==",
    "20",
    [],
    {},
    ["inbound"],
    {"a": {}},
    "\ud7ff",
]
TEXTS = ["", "{", "[]", "null", '"media"', "\ud800", "\x00", "{}", '{"event":null}', "9" * 400, " " * 70_000]


def line(rng: random.Random, count: int) -> Iterator[str | bytes]:
    """Messages as a stream sends them, among them some that are damaged and some that are none."""
    number = clock_ms = 0
    for _ in range(count):
        roll = rng.random()
        if roll < 0.004:
            yield rng.choice(TEXTS)
            continue
        if roll < 0.006:
            yield rng.randbytes(rng.randrange(4))
            continue
        number += 1 + (rng.random() < 0.02) - 2 * (rng.random() < 0.02)
        message: dict[str, Any] = {
            "event": "media",
            "streamSid": STREAM,
            "sequenceNumber": str(max(number, 1)),
        }
        if number == 1 or roll < 0.016:
            message |= _start(rng)
        elif roll < 0.03:
            message |= rng.choice(
                [
                    {
                        "event": "dtmf",
                        "dtmf": {"track": "inbound_track", "digit": rng.choice("0123456789*#AZ")},
                    },
                    {"event": "mark", "mark": {"name": "m"}},
                    {"event": "connected", "protocol": "Call"},
                    {"event": "later"},
                    {"event": "stop", "stop": {}},
                ]
            )
        else:
            clock_ms += 20 * (rng.random() > 0.02) + 20 * (rng.random() < 0.02) + rng.randrange(-3, 4)
            message["media"] = {
                "track": "inbound" if rng.random() < 0.6 else "outbound",
                "chunk": "1",
                "timestamp": str(max(clock_ms, 0)),
                "payload": rng.choice(PAYLOADS),
            }
        yield _damaged(rng, message) if rng.random() < 0.01 else orjson.dumps(message).decode()


def _start(rng: random.Random) -> dict[str, Any]:
    tracks = rng.choice([["inbound"], ["outbound"], ["inbound", "outbound"], ["outbound", "inbound"]])
    parameters = {"inbound_is": rng.choice(["agent", "customer", "nobody"]), "leg": rng.choice(["mixed", ""])}
    start = {"streamSid": STREAM, "callSid": "CA1", "tracks": tracks, "mediaFormat": FORMAT}
    return {"event": "start", "start": start | {"customParameters": parameters}}


def _damaged(rng: random.Random, message: dict[str, Any]) -> str:
    """A message of which one member is lost or is something else, or whose text is cut."""
    inner = [value for value in message.values() if isinstance(value, dict) and value]
    target = rng.choice([message, *inner])
    name = rng.choice(list(target))
    if rng.random() < 0.3:
        del target[name]
    else:
        target[name] = rng.choice([junk for junk in JUNK if junk != 1 << 70])
    text = orjson.dumps(message).decode()
    return text[: rng.randrange(len(text))] if rng.random() < 0.2 else text


class Listener:
    """A stream and the sums that must hold for it."""

    def __init__(self) -> None:
        self.protocol = TwilioProtocol(CONFIG, REQUEST)
        self.tracks = 0
        self.ended = False
        self.noticed: set[str] = set()
        self.clock = [0, 0]

    def hear(self, message: str | bytes) -> None:
        """Hand over a message and hold what comes against the rules."""
        try:
            if isinstance(message, str):
                events = self.protocol.receive_text(message, 0.0)
            else:
                events = self.protocol.receive_bytes(message, 0.0)
        except WireError:
            events = []
            refused = True
        else:
            refused = False
        assert not (self.ended and (events or refused))
        self.ended |= refused
        for event in events:
            if isinstance(event, Start):
                assert self.tracks == 0
                self.tracks = len(event.call.format.tracks)
            elif isinstance(event, Notice):
                assert event.code == "invalid_parameter" or event.code not in self.noticed
                self.noticed.add(event.code)
            elif isinstance(event, Stop):
                self.ended = True
            else:
                assert isinstance(event, Audio | Dtmf)
                if isinstance(event, Audio):
                    self._place(event.packet)

    def _place(self, packet: AudioPacket) -> None:
        """A packet is contiguous with its track, or at least a frame away."""
        assert 0 <= packet.track < self.tracks
        assert packet.payload
        assert packet.position_samples is not None
        moved = packet.position_samples - self.clock[packet.track]
        assert moved == 0 or abs(moved) >= 160
        self.clock[packet.track] = packet.position_samples + len(packet.payload)


def test_any_messages() -> None:
    """A hundred thousand messages, good, damaged and junk; a new stream begins where one has ended."""
    heard = 0

    @settings(max_examples=EXAMPLES, deadline=None, database=None)
    @given(st.integers(0, (1 << 64) - 1))
    def play(seed: int) -> None:
        nonlocal heard
        rng = random.Random(seed)
        listener = Listener()
        after_end = 0
        for message in line(rng, MESSAGES):
            listener.hear(message)
            heard += 1
            after_end += listener.ended
            if after_end > 3:  # a few more messages come after the end, and are not heard
                listener, after_end = Listener(), 0
                listener.hear(
                    orjson.dumps({"streamSid": STREAM, "sequenceNumber": "1"} | _start(rng)).decode()
                )

    play()
    assert heard >= 100_000


@settings(max_examples=60, deadline=None, database=None)
@given(st.integers(0, (1 << 64) - 1))
def test_time_adds_up_over_losses(seed: int) -> None:
    """Received plus missing samples are the stream's length, on each track, to less than a frame and the rounding."""
    rng = random.Random(seed)
    listener = Listener()
    start = {"streamSid": STREAM, "callSid": "CA1", "tracks": ["inbound", "outbound"]}
    listener.hear(orjson.dumps({"event": "start", "sequenceNumber": "1", "start": start}).decode())
    received = [0, 0]
    missing = [0, 0]
    ends = [0, 0]
    number = 1
    for frame in range(100):
        for track, name in enumerate(("inbound", "outbound")):
            number += 1
            if rng.random() < 0.15:
                continue
            stamp = max(20 * frame + rng.choice((-1, 0, 0, 1)), 0)
            media = {"track": name, "timestamp": str(stamp), "payload": PAYLOADS[0]}
            text = orjson.dumps({"event": "media", "sequenceNumber": number, "media": media}).decode()
            for event in listener.protocol.receive_text(text, 0.0):
                if isinstance(event, Audio):
                    packet = event.packet
                    assert packet.position_samples is not None
                    missing[track] += packet.position_samples - ends[track]
                    received[track] += len(packet.payload)
                    ends[track] = packet.position_samples + len(packet.payload)
                    assert abs(ends[track] - 160 * (frame + 1)) < 168
    assert [received[n] + missing[n] for n in (0, 1)] == ends
    assert min(missing) >= 0
