"""The FreeSWITCH emulator, all three senders, against our own parser, in memory."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from app.audio.g711 import PcmArray, decode
from app.domain import Encoding, Leg
from app.emulators.base import EmulatedCall, Message
from app.emulators.freeswitch import SENDERS, FreeswitchEmulator
from app.wire.base import (
    Audio,
    CloseCode,
    Dtmf,
    Gap,
    GapKind,
    Notice,
    Pause,
    Resume,
    Start,
    Stop,
    WireError,
    WireEvent,
)
from app.wire.carrier import CarrierConfig, RefusedError, UpgradeRequest
from app.wire.freeswitch import CARRIER, FreeswitchProtocol

PATH = "/v1/ingest/freeswitch"
BOTH = (Leg.CUSTOMER, Leg.AGENT)


def recording(frames: int, legs: int, rate: int = 8_000) -> list[list[PcmArray]]:
    """Frames of noise, another on each leg."""
    rng = np.random.default_rng(7)
    return [
        [rng.integers(-9_000, 9_000, rate // 50, dtype=np.int16) for _ in range(legs)] for _ in range(frames)
    ]


def emulator(
    sender: str, legs: tuple[Leg, ...] = BOTH, rate: int = 8_000, **fields: Any
) -> FreeswitchEmulator:
    """A call."""
    parameters = {"sender": sender, **fields.pop("parameters", {})}
    return FreeswitchEmulator(EmulatedCall("call 1", legs, rate, path=PATH, parameters=parameters, **fields))


def connected(made: FreeswitchEmulator, **config: Any) -> FreeswitchProtocol:
    """The service's side, once the request was let in."""
    handshake = made.handshake()
    path, _, query = handshake.target.partition("?")
    headers = {name.lower(): value for name, value in handshake.headers.items()}
    request = UpgradeRequest(path, query, headers)
    site = CarrierConfig(**config)
    if site.secrets:
        CARRIER.new_authenticator(site).check(request, 0.0)
    assert path == PATH
    assert set(handshake.subprotocols) <= set(CARRIER.subprotocols)
    return FreeswitchProtocol(site, request)


def hear(protocol: FreeswitchProtocol, said: list[Message], now_s: float) -> list[WireEvent]:
    """Hand over messages up to the end of the call."""
    return [event for message in said for event in protocol.receive(message, now_s)]


@pytest.mark.parametrize("sender", SENDERS)
@pytest.mark.parametrize(
    ("legs", "rate"),
    [
        (BOTH, 8_000),
        ((Leg.AGENT, Leg.CUSTOMER), 16_000),
        ((Leg.CUSTOMER,), 8_000),
        ((Leg.AGENT,), 24_000),
        ((Leg.MIXED,), 8_000),
    ],
)
def test_the_audio_arrives_as_it_was(sender: str, legs: tuple[Leg, ...], rate: int) -> None:
    """Bit for bit on every leg, with key, metadata and results."""
    made = emulator(
        sender,
        legs,
        rate,
        parameters={"queue": "sales"},
        secrets={"tenant-a": "secret"},
        message_secret="token",
    )
    protocol = connected(made, secrets={"tenant-a": "secret"}, message_secret="token")
    frames = recording(50, len(legs), rate)
    events = hear(protocol, made.opening(), 0.0)
    for index, frame in enumerate(frames):
        events += hear(protocol, made.elapse(index * 0.02), index * 0.02)
        events += hear(protocol, made.audio(frame), index * 0.02)
    events += hear(protocol, made.dtmf("5"), 1.0)
    for text in protocol.result('{"type":"utterance"}'):
        made.receive(text)
    events += hear(protocol, made.closing(), 1.0)
    assert isinstance(events[0], Start)
    call = events[0].call
    assert call.call_id == made.recorded_as == "call-1"
    assert (call.format.channels, call.format.sample_rate_hz) == (legs, rate)
    assert call.metadata["queue"] == "sales"
    assert "token" not in call.metadata
    assert not any(isinstance(event, Notice) for event in events)
    heard = b"".join(event.packet.payload for event in events if isinstance(event, Audio))
    pcm = decode(heard, Encoding.PCM_S16LE).reshape(-1, len(legs))
    for index in range(len(legs)):
        np.testing.assert_array_equal(pcm[:, index], np.concatenate([frame[index] for frame in frames]))
    assert Dtmf("5") in events
    assert isinstance(events[-1], Stop) is (sender != "stream")
    assert made.ended is (sender == "stream")
    assert made.problem is None


def test_a_controller_may_stop_without_a_graceful_shutdown() -> None:
    """A last text, and the module closes the socket."""
    made = emulator("fork", parameters={"graceful": "false"})
    protocol = connected(made)
    hear(protocol, made.opening(), 0.0)
    assert made.closing() == ['{"event":"bye"}']
    assert hear(protocol, made.closing(), 0.0) == []
    assert made.ended


def test_a_short_call_of_mod_audio_stream_keeps_its_metadata() -> None:
    """One frame, and the text behind it."""
    made = emulator("stream")
    protocol = connected(made)
    said = [*made.opening(), *made.audio(recording(1, 2)[0]), *made.closing()]
    events = hear(protocol, said, 0.0)
    assert isinstance(events[0], Start)
    assert events[0].call.call_id == "call-1"


def test_a_pause_of_the_controller_is_told() -> None:
    """By our convention; the time between is paused."""
    made = emulator("fork")
    protocol = connected(made)
    (frame,) = recording(1, 2)
    events = hear(protocol, [*made.opening(), *made.audio(frame), *made.pause()], 0.0)
    events += hear(protocol, [*made.resume(100), *made.audio(frame)], 2.02)
    kinds = [type(event) for event in events]
    assert kinds == [Start, Audio, Pause, Resume, Gap, Audio]
    assert events[4] == Gap(GapKind.PAUSED, pytest.approx(16_000, abs=2))


def test_an_error_is_handed_on() -> None:
    """The service's last words are of a type that every sender takes."""
    made = emulator("jambonz")
    protocol = connected(made)
    hear(protocol, made.opening(), 0.0)
    for text in protocol.farewell(WireError("x", "x", "x", CloseCode.SERVER), draining=False):
        made.receive(text)
    assert made.problem is None


@pytest.mark.parametrize("said", [b"\x00", "nonsense", "[]", '{"a":1}', '{"type":"dance"}', "x" * 665_601])
def test_what_the_module_would_drop_is_a_problem(said: str | bytes) -> None:
    """Binary, no JSON, an unknown type, too much."""
    made = emulator("fork")
    made.receive(said)
    assert made.problem is not None


def test_credentials_are_basic_or_bearer() -> None:
    """By the secret's name; a stranger is refused."""
    secrets = {"bearer": "t0ken"}
    connected(emulator("stream", secrets=secrets), secrets=secrets)
    for wrong in ({}, {"bearer": "x"}, {"tenant-a": "t0ken"}):
        with pytest.raises(RefusedError):
            connected(emulator("fork", secrets=wrong), secrets=secrets)


def test_calls_that_cannot_be_are_refused() -> None:
    """An unknown sender, three legs, a rate that no module has."""
    with pytest.raises(ValueError, match="sender"):
        emulator("other")
    with pytest.raises(ValueError, match="legs"):
        emulator("fork", (*BOTH, Leg.MIXED))
    with pytest.raises(ValueError, match="11025"):
        emulator("fork", rate=11_025)
