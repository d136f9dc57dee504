"""The chan_websocket emulator against our own parser, in memory."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from app.audio.g711 import PcmArray, decode, encode
from app.domain import Encoding, Leg
from app.emulators.base import EmulatedCall, Message
from app.emulators.chan_websocket import ChanWebsocketEmulator
from app.wire.base import Audio, CloseCode, Dtmf, Gap, GapKind, Start, WireError, WireEvent
from app.wire.carrier import CarrierConfig, RefusedError, UpgradeRequest
from app.wire.chan_websocket import CARRIER, ChanWebsocketProtocol

PATH = "/v1/ingest/chan_websocket"


def recording(frames: int, rate: int = 8_000) -> list[PcmArray]:
    """Frames of noise."""
    rng = np.random.default_rng(7)
    return [rng.integers(-9_000, 9_000, rate // 50, dtype=np.int16) for _ in range(frames)]


def emulator(leg: Leg = Leg.CUSTOMER, rate: int = 8_000, **fields: Any) -> ChanWebsocketEmulator:
    """A call of one leg."""
    return ChanWebsocketEmulator(EmulatedCall("call 1", (leg,), rate, path=PATH, **fields))


def connected(made: ChanWebsocketEmulator, **config: Any) -> ChanWebsocketProtocol:
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
    return ChanWebsocketProtocol(site, request)


def hear(protocol: ChanWebsocketProtocol, said: list[Message], now_s: float) -> list[WireEvent]:
    """Hand over messages."""
    return [event for message in said for event in protocol.receive(message, now_s)]


@pytest.mark.parametrize("control", ["json", "plain-text"])
@pytest.mark.parametrize(
    ("rate", "encoding"),
    [
        (8_000, Encoding.PCM_MULAW),
        (8_000, Encoding.PCM_ALAW),
        (8_000, Encoding.PCM_S16LE),
        (16_000, Encoding.PCM_S16LE),
        (44_100, Encoding.PCM_S16LE),
    ],
)
def test_the_audio_arrives_as_it_was(control: str, rate: int, encoding: Encoding) -> None:
    """As the codec leaves it, in both kinds of control, with key, leg and parameters."""
    made = emulator(
        Leg.AGENT,
        rate,
        encoding=encoding,
        parameters={"control": control, "queue": "sales"},
        secrets={"tenant-a": "secret"},
        message_secret="token",
    )
    protocol = connected(made, secrets={"tenant-a": "secret"}, message_secret="token")
    frames = recording(50, rate)
    events = hear(protocol, made.opening(), 0.0)
    for index, frame in enumerate(frames):
        events += hear(protocol, made.audio([frame]), index * 0.02)
    events += hear(protocol, [*made.dtmf("5"), *made.closing()], 1.0)
    assert isinstance(events[0], Start)
    call = events[0].call
    assert call.call_id == made.recorded_as == "call-1"
    assert (call.format.encoding, call.format.sample_rate_hz) == (encoding, rate)
    assert call.format.channels == (Leg.AGENT,)
    assert call.metadata["queue"] == "sales"
    assert "token" not in call.metadata
    heard = b"".join(event.packet.payload for event in events if isinstance(event, Audio))
    expected = decode(encode(np.concatenate(frames), encoding), encoding)
    np.testing.assert_array_equal(decode(heard, encoding), expected)
    assert events[-1] == Dtmf("5", track=0)
    assert made.problem is None


def test_a_pause_of_the_service_silences_asterisk() -> None:
    """SET_MEDIA_DIRECTION: nothing comes until it is undone, and that time is paused."""
    made = emulator()
    protocol = connected(made)
    hear(protocol, made.opening(), 0.0)
    frame = recording(1)
    events: list[WireEvent] = []
    for index in range(300):
        if index in (100, 200):
            for text in protocol.paused(index == 100):
                made.receive(text)
        events += hear(protocol, made.audio(frame), index * 0.02)
    assert sum(isinstance(event, Audio) for event in events) == 200
    assert [event for event in events if isinstance(event, Gap)] == [
        Gap(GapKind.PAUSED, pytest.approx(2 * 8_000, abs=2))
    ]
    assert made.problem is None


@pytest.mark.parametrize("control", ["json", "plain-text"])
def test_a_hang_up_of_the_service_is_obeyed(control: str) -> None:
    """In the call's own kind of control."""
    made = emulator(parameters={"control": control})
    protocol = connected(made, options={"hangup": "true"})
    hear(protocol, made.opening(), 0.0)
    for text in protocol.farewell(WireError("x", "x", "x", CloseCode.SERVER), draining=False):
        made.receive(text)
    assert (made.hung_up, made.problem) == (True, None)


@pytest.mark.parametrize("control", ["json", "plain-text"])
def test_a_question_is_answered(control: str) -> None:
    """GET_STATUS and its STATUS, which the parser ignores."""
    made = emulator(parameters={"control": control})
    protocol = connected(made)
    hear(protocol, made.opening(), 0.0)
    answers = made.receive('{"command":"GET_STATUS"}' if control == "json" else "GET_STATUS")
    assert len(answers) == 1
    assert "queue_full" in str(answers[0])
    assert "false" in str(answers[0])
    assert hear(protocol, answers, 0.0) == []
    assert made.problem is None


@pytest.mark.parametrize(
    ("control", "said"),
    [
        ("json", "HANGUP"),
        ("json", '{"command":"DANCE"}'),
        ("json", '{"command":"SET_MEDIA_DIRECTION","direction":"up"}'),
        ("json", '{"command":"HANGUP","x":"' + "x" * 128 + '"}'),
        ("json", bytes(65_501)),
        ("plain-text", "SET_MEDIA_DIRECTION out"),
        ("plain-text", "dance"),
    ],
)
def test_what_asterisk_would_not_take_is_a_problem(control: str, said: str | bytes) -> None:
    """Unknown, too long, or of the other kind."""
    made = emulator(parameters={"control": control})
    made.receive(said)
    assert made.problem is not None
    assert not made.hung_up
    fresh = emulator()
    fresh.receive(bytes(65_500))
    fresh.receive('{"command":"ANSWER"}')
    assert fresh.problem is None


def test_a_stranger_is_refused() -> None:
    """Without credentials, and with wrong ones."""
    for secrets in ({}, {"tenant-a": "wrong"}):
        with pytest.raises(RefusedError):
            connected(emulator(secrets=secrets), secrets={"tenant-a": "secret"})


def test_calls_that_cannot_be_are_refused() -> None:
    """Two legs, an unknown rate, an unknown control."""
    with pytest.raises(ValueError, match="one leg"):
        ChanWebsocketEmulator(EmulatedCall("c", (Leg.CUSTOMER, Leg.AGENT)))
    with pytest.raises(ValueError, match="11025"):
        emulator(rate=11_025)
    with pytest.raises(ValueError, match="control"):
        emulator(parameters={"control": "xml"})
