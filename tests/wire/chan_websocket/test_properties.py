"""chan_websocket under generated messages: only `WireError` comes out, and every byte of audio does."""

from __future__ import annotations

import random

import orjson
from hypothesis import given, settings
from hypothesis import strategies as st

from app.wire.base import Audio, Dtmf, Gap, Notice, Start, WireError, WireEvent
from app.wire.carrier import CarrierConfig, UpgradeRequest
from app.wire.chan_websocket import FORMATS, ChanWebsocketProtocol

MESSAGES = 270
EXAMPLES = 400
NAMES = ("DTMF_END", "MEDIA_XON", "MEDIA_XOFF", "STATUS", "ERROR", "NEW", "", "QUEUE_DRAINED")
JUNK = (None, True, 5, -1.5, "", "5", "#", "ulaw", "opus", "\x00é", [1], {"a": {"b": 1}}, "x" * 600)
KEYS = ("digit", "format", "channel", "channel_id", "connection_id", "channel_variables", "error_text")
CODES = {"invalid_json", "invalid_field", "unsupported", "out_of_order", "message_too_big", "unauthorized"}


def event(rng: random.Random, in_json: bool, name: str, fields: dict[str, object]) -> str:
    """An event, some of whose fields are of the wrong kind."""
    if rng.random() < 0.2:
        fields = {**fields, rng.choice(KEYS): rng.choice(JUNK)}
    if in_json:
        return orjson.dumps({"event": name, **fields}).decode()
    return " ".join((name, *(f"{key}:{value}" for key, value in fields.items())))


def random_message(rng: random.Random, in_json: bool) -> str | bytes:
    """Mostly audio; keys and other events; now and then what may not be."""
    choice = rng.random()
    if choice < 0.8:
        return bytes(rng.choice((0, 1, 160, 320, 321)))
    if choice < 0.998:
        return event(rng, in_json, rng.choice(NAMES), {"digit": rng.choice("0123456789*#ABCDx")})
    if choice < 0.999:
        return event(rng, in_json, "MEDIA_START", {"format": "ulaw"})
    return rng.choice(("", "{", "[]", "nonsense", "{}{}", "\ud800", '{"event":"DTMF_END"', "x" * 70_000))


def test_any_sequence_raises_only_wire_errors_and_keeps_every_byte() -> None:
    """At least 10⁵ messages; audio and holes come in order, and no byte of audio before an error is lost."""
    sent = 0

    @settings(max_examples=EXAMPLES, deadline=None, database=None)
    @given(st.integers(0, 2**63))
    def hold(seed: int) -> None:
        nonlocal sent
        rng = random.Random(seed)
        in_json = rng.random() < 0.5
        config = CarrierConfig(message_secret="s" if rng.random() < 0.2 else None)
        made = ChanWebsocketProtocol(config, UpgradeRequest("", rng.choice(("", "token=s&leg=agent", "%%="))))
        messages = [random_message(rng, in_json) for _ in range(MESSAGES)]
        early = rng.choice((0, 0, 1, 5, 60))
        name = rng.choice((*FORMATS, "opus"))
        messages.insert(early, event(rng, in_json, "MEDIA_START", {"format": name, "channel_id": "1.2"}))
        sent += len(messages)
        check(made, rng, messages)

    hold()
    assert sent >= 100_000


def check(made: ChanWebsocketProtocol, rng: random.Random, messages: list[str | bytes]) -> None:
    """Feed messages; pauses of ours in between."""
    events: list[WireEvent] = []
    raised: list[str] = []
    bytes_in = 0
    now_s = rng.uniform(0, 1e6)
    for message in messages:
        now_s += rng.choice((0.0, 0.02, 0.02, 0.02, 1.0))
        if rng.random() < 0.01:
            made.paused(rng.random() < 0.5)
        before = not raised
        try:
            if isinstance(message, str):
                events += made.receive_text(message, now_s)
            else:
                events += made.receive_bytes(message, now_s)
                bytes_in += len(message) if before else 0
        except WireError as error:
            raised.append(error.code)
    assert len(raised) <= 1
    assert set(raised) <= CODES
    content = [one for one in events if isinstance(one, Start | Audio | Gap | Dtmf)]
    assert len(content) + sum(isinstance(one, Notice) for one in events) == len(events)
    assert [isinstance(one, Start) for one in content] == [index == 0 for index in range(len(content))]
    heard = sum(len(one.packet.payload) for one in events if isinstance(one, Audio))
    assert heard == (bytes_in if content else 0)
    assert all(one.samples > 0 for one in events if isinstance(one, Gap))
