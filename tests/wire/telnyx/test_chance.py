"""Telnyx by chance: valid, nearly valid and junk messages; no exception but WireError, and the time adds up."""

from __future__ import annotations

import base64
import json
import random
from collections.abc import Callable

from hypothesis import given, settings
from hypothesis import strategies as st

from app.wire.base import (
    Audio,
    Dtmf,
    Gap,
    Metadata,
    Notice,
    Reformat,
    Reply,
    Start,
    Stop,
    WireError,
    WireEvent,
)
from app.wire.carrier import CarrierConfig
from app.wire.telnyx import TelnyxProtocol
from tests.wire.telnyx.made import REQUEST, STOP, connected, dtmf, error, heard, media, packets, start

EXAMPLES, MESSAGES = 420, 250
_MEDIA = '{"event":"media","media":{"track":"%s","chunk":"%d","timestamp":"0","payload":"%s"}}'
_PAYLOADS = [base64.b64encode(b"\xff" * size).decode() for size in (160, 160, 160, 80, 1, 0)]
Chance = random.Random

_VALUES = (None, True, -1, 0, 1.5, 1 << 60, "", "1", "x" * 300, "\x00", [], {}, ["inbound"], {"a": 1})
_NEAR: tuple[Callable[[Chance], str], ...] = (
    lambda c: start(media_format=c.choice(_VALUES)),
    lambda c: start(
        media_format={"encoding": c.choice(("L16", "G722", 5)), "sample_rate": c.choice(_VALUES)}
    ),
    lambda c: start(custom_parameters=c.choice(_VALUES), call_control_id=c.choice(_VALUES)),
    lambda c: start(stream_track=c.choice(_VALUES), tags=c.choice(_VALUES), client_state=c.choice(_VALUES)),
    lambda c: media(c.choice(_VALUES), track=c.choice(_VALUES)),
    lambda c: media(1, c.choice(("", "A", "####", "AAAA", "é", "AAA="))),
    lambda c: json.dumps({"event": "media", "media": c.choice(_VALUES)}),
    lambda c: json.dumps({"event": c.choice(_VALUES), "start": c.choice(_VALUES)}),
    lambda c: json.dumps(
        {"event": c.choice(("dtmf", "error", "connected", "mark")), "dtmf": c.choice(_VALUES)}
    ),
    lambda c: dtmf(c.choice(_VALUES)),
    lambda c: error(c.choice(_VALUES)),
    lambda c: "".join(chr(c.randrange(0x20, 0x2000)) for _ in range(c.randrange(8))),
    lambda c: c.choice(("[]", "null", "{", '{"event":"media"}', '{"event":{}}')),
)


class Reader:
    """Reads messages by chance and checks what comes of them."""

    def __init__(self, chance: Chance) -> None:
        self.chance = chance
        options = {} if chance.random() < 0.5 else {"tracks": chance.choice(("inbound", "outbound", "both"))}
        self.protocol = TelnyxProtocol(CarrierConfig(options=options), REQUEST)
        self.now_s = 0.0
        self.started = self.stopped = False
        self.ends = [0, 0]
        self.chunks = [chance.randrange(3), chance.randrange(3)]

    def play(self, messages: int) -> None:
        """Read so many messages, beginning anew with another connection after each end."""
        for _ in range(messages):
            self.now_s += self.chance.choice((0.0, 0.01, 0.02, 0.5))
            failure: WireError | None = None
            try:
                self.check(self.step())
            except WireError as error:
                failure = error
            if failure is not None:
                assert failure.code.isidentifier()
                assert failure.detail
                self.check(self.protocol.lost(), over=True)
            if failure is not None or self.stopped:
                self.again()
        self.check(self.protocol.lost(), over=True)

    def again(self) -> None:
        """Another connection."""
        assert self.protocol.lost() == heard(self.protocol, "{", "{") == []
        self.__init__(self.chance)  # type: ignore[misc]

    def step(self) -> list[WireEvent]:
        """Read one message, or let time pass."""
        chance = self.chance
        draw = chance.random()
        if draw < 0.02:
            return self.protocol.tick(self.now_s)
        if draw < 0.021:
            return self.protocol.receive_bytes(b"\x00", self.now_s)
        return self.protocol.receive_text(self.message(draw), self.now_s)

    def message(self, draw: float) -> str:
        """A message; mostly what Telnyx would send next."""
        chance = self.chance
        if draw < 0.04:
            return chance.choice(_NEAR)(chance)
        if draw < 0.045:
            return STOP
        if draw < 0.08:
            return chance.choice((dtmf("1"), error(100003), connected(), '{"event":"later"}'))
        if not self.started and draw < 0.4:
            tracks = chance.choice((None, "both"))
            return start() if tracks is None else start(custom_parameters={"tracks": tracks})
        track = chance.randrange(2)
        self.chunks[track] += chance.choices((1, 2, -1, 5, -60, 9_999), (95, 8, 8, 4, 1, 1))[0]
        return _MEDIA % (("inbound", "outbound")[track], max(self.chunks[track], 0), chance.choice(_PAYLOADS))

    def check(self, events: list[WireEvent], over: bool = False) -> None:
        """Events come in their order, and no audio lies before audio that was there already."""
        for event in events:
            assert not self.stopped
            if isinstance(event, Start):
                assert not self.started
                self.started = True
            elif isinstance(event, Stop):
                assert not over
                self.stopped = True
            elif isinstance(event, Audio):
                assert self.started
                packet = event.packet
                assert packet.position_samples is not None
                assert packet.position_samples >= self.ends[packet.track]
                self.ends[packet.track] = packet.position_samples + len(packet.payload)
            elif isinstance(event, Dtmf):
                assert self.started
            else:
                assert isinstance(event, Notice)
                assert not isinstance(event, Gap | Reformat | Metadata | Reply)


def test_a_hundred_thousand_messages() -> None:
    """Whatever comes: events in order or one WireError, never anything else."""
    read = 0

    @settings(max_examples=EXAMPLES, deadline=None, database=None)
    @given(st.integers(0, 1 << 48))
    def by_chance(seed: int) -> None:
        nonlocal read
        Reader(random.Random(seed)).play(MESSAGES)
        read += MESSAGES

    by_chance()
    assert read >= 100_000


@settings(max_examples=60, deadline=None)
@given(seed=st.integers(0, 1 << 32), loss=st.floats(0, 0.4), held=st.booleans())
def test_time_adds_up_for_loss_reordering_and_duplicates(seed: int, loss: float, held: bool) -> None:
    """All that arrives of a track is heard once and in place, where no packet is overtaken by more than three."""
    chance = random.Random(seed)
    sent = {
        track: [
            (chunk, bytes([chance.randrange(256)]) * 160)
            for chunk in range(chance.randrange(5), 150)
            if chance.random() >= loss
        ]
        for track in ("inbound", "outbound")
    }
    queue: list[tuple[float, str]] = []
    for track, numbered in sent.items():
        for place, (chunk, payload) in enumerate(numbered):
            for _ in range(1 + (chance.random() < 0.05)):
                queue.append((place + chance.randint(0, 3), media(str(chunk), payload, track)))
    queue.sort(key=lambda entry: entry[0])
    protocol = TelnyxProtocol(CarrierConfig(options={} if held else {"tracks": "both"}), REQUEST)
    events = heard(protocol, connected(), start(), *(message for _, message in queue), STOP)
    for index, numbered in enumerate(sent.values()):
        first = numbered[0][0]
        assert [(packet.position_samples, packet.payload) for packet in packets(events, index)] == [
            ((chunk - first) * 160, payload) for chunk, payload in numbered
        ]
