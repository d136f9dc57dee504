"""Telnyx's emulator: it speaks as the protocol page says, and the parser hears what it was given."""

from __future__ import annotations

import base64
import json
from typing import Any

import numpy as np
import pytest

from app.audio.g711 import PcmArray, decode, encode
from app.domain import AudioFormat, Encoding, Leg
from app.emulators.base import EmulatedCall, Message
from app.emulators.telnyx import TelnyxEmulator
from app.wire.base import Audio, Dtmf, Start, Stop, WireEvent
from app.wire.carrier import CarrierConfig, UpgradeRequest
from app.wire.telnyx import CARRIER

BOTH = (Leg.CUSTOMER, Leg.AGENT)
TOKEN = "x-telnyx-streaming-auth-token"
FRAMES = 25


def made(legs: tuple[Leg, ...] = BOTH, **fields: Any) -> TelnyxEmulator:
    """An emulator of one call."""
    return TelnyxEmulator(EmulatedCall("v3:call-1", legs, path="/v1/ingest/telnyx", **fields))


def noise(legs: int, samples: int) -> list[list[PcmArray]]:
    """Frames of all legs, different in each."""
    chance = np.random.default_rng(7)
    audio = chance.normal(0, 4_000, (FRAMES, legs, samples)).astype(np.int16)
    return [list(frame) for frame in audio]


def parsed(messages: list[Message]) -> list[dict[str, Any]]:
    """Messages as objects."""
    return [json.loads(message) for message in messages]


def carried(emulator: TelnyxEmulator, frames: list[list[PcmArray]], config: CarrierConfig) -> list[WireEvent]:
    """All events of a whole call, by way of authentication; the service has nothing to say in it."""
    handshake = emulator.handshake()
    headers = {name.lower(): value for name, value in handshake.headers.items()}
    request = UpgradeRequest("/v1/ingest/telnyx", headers=headers)
    if config.secrets:
        CARRIER.new_authenticator(config).check(request, 0.0)
    protocol = CARRIER.new_protocol(config, request)
    messages = emulator.opening()
    for frame in frames:
        messages += emulator.audio(frame)
    messages += [*emulator.dtmf("7"), *emulator.closing()]
    events: list[WireEvent] = []
    for message in messages:
        assert isinstance(message, str)
        events += protocol.receive_text(message, 0.0)
    assert protocol.farewell(None, draining=False) == []
    assert emulator.problem is None
    assert emulator.ended
    return events


def test_what_it_says() -> None:
    """Snake case, numbers as text, the stream's id on top and the call's inside, chunks counted by track."""
    emulator = made(
        secrets={"stream_auth_token": "s3cret"}, message_secret="m3ssage", parameters={"queue": "7"}
    )
    assert emulator.handshake().target == "/v1/ingest/telnyx"
    assert emulator.handshake().headers == {TOKEN: "s3cret"}
    first, start = parsed(emulator.opening())
    assert first == {"event": "connected", "version": "1.0.0", "connected": {TOKEN: "s3cret"}}
    assert (start["event"], start["sequence_number"]) == ("start", "1")
    assert start["start"]["call_control_id"] == "v3:call-1"
    assert start["start"]["custom_parameters"] == {"queue": "7", "token": "m3ssage"}
    assert start["start"]["media_format"] == {"encoding": "PCMU", "sample_rate": 8000, "channels": 1}
    silence = np.zeros(160, np.int16)
    messages = parsed(emulator.audio([silence, silence]) + emulator.audio([silence, silence]))
    assert [message["sequence_number"] for message in messages] == ["2", "3", "4", "5"]
    assert [
        (message["media"]["track"], message["media"]["chunk"], message["media"]["timestamp"])
        for message in messages
    ] == [("inbound", "1", "0"), ("outbound", "1", "0"), ("inbound", "2", "20"), ("outbound", "2", "20")]
    assert base64.b64decode(messages[0]["media"]["payload"]) == b"\xff" * 160
    assert {message["stream_id"] for message in [start, *messages]} == {start["stream_id"]}
    (key,) = parsed(emulator.dtmf("#"))
    assert (key["occurred_at"], key["dtmf"]) == ("1970-01-01T00:00:00.040000Z", {"digit": "#"})
    (stop,) = parsed(emulator.closing())
    assert (stop["event"], stop["stop"]["call_control_id"]) == ("stop", "v3:call-1")


def test_without_a_token_nothing_is_shown() -> None:
    """Neither in the header nor in the first message; a query goes along."""
    emulator = made(query="a=b")
    assert emulator.handshake().target == "/v1/ingest/telnyx?a=b"
    assert emulator.handshake().headers == {}
    assert parsed(emulator.opening())[0] == {"event": "connected", "version": "1.0.0"}


@pytest.mark.parametrize(
    ("encoding", "rate_hz"),
    [
        (Encoding.PCM_MULAW, 8_000),
        (Encoding.PCM_ALAW, 8_000),
        (Encoding.PCM_S16LE, 8_000),
        (Encoding.PCM_S16LE, 16_000),
    ],
)
@pytest.mark.parametrize("legs", [BOTH, BOTH[::-1], BOTH[:1], BOTH[1:]])
def test_what_goes_in_comes_out(encoding: Encoding, rate_hz: int, legs: tuple[Leg, ...]) -> None:
    """Each leg's samples, in place and of the right side, in every codec."""
    frames = noise(len(legs), rate_hz // 50)
    emulator = made(legs, encoding=encoding, sample_rate_hz=rate_hz, secrets={"stream_auth_token": "s3cret"})
    events = carried(emulator, frames, CarrierConfig(secrets={"stream_auth_token": "s3cret"}))
    assert isinstance(events[0], Start)
    channels = legs if len(legs) == 1 else BOTH
    assert events[0].call.format == AudioFormat(encoding, rate_hz, channels, separate=len(legs) > 1)
    assert events[0].call.call_id == emulator.recorded_as
    for track, leg in enumerate(channels):
        packets = [
            event.packet for event in events if isinstance(event, Audio) and event.packet.track == track
        ]
        assert [packet.position_samples for packet in packets] == [n * rate_hz // 50 for n in range(FRAMES)]
        given = np.concatenate([frame[legs.index(leg)] for frame in frames])
        heard = np.concatenate([decode(packet.payload, encoding) for packet in packets])
        assert np.array_equal(heard, decode(encode(given, encoding), encoding))
    assert Dtmf("7") in events
    assert events[-1] == Stop()


def test_the_agent_may_be_on_the_inbound_track() -> None:
    """The parameter `inbound_is` is heeded on both sides."""
    events = carried(made(parameters={"inbound_is": "agent"}), noise(2, 160), CarrierConfig())
    assert isinstance(events[0], Start)
    assert events[0].call.format.channels == (Leg.AGENT, Leg.CUSTOMER)


def test_mixed_audio_is_named_by_a_parameter() -> None:
    """Telnyx itself does not mix."""
    events = carried(made((Leg.MIXED,), parameters={"leg": "mixed"}), noise(1, 160), CarrierConfig())
    assert isinstance(events[0], Start)
    assert events[0].call.format.channels == (Leg.MIXED,)


def test_a_pause_moves_the_clock_and_not_the_numbers() -> None:
    """Nothing is said of it."""
    emulator = made(BOTH[:1])
    silence = [np.zeros(160, np.int16)]
    emulator.audio(silence)
    assert emulator.pause() == emulator.resume(10) == emulator.elapse(1.0) == []
    (message,) = parsed(emulator.audio(silence))
    assert (message["media"]["chunk"], message["media"]["timestamp"]) == ("2", "220")


@pytest.mark.parametrize(
    ("message", "code"),
    [
        (b"\x00", 100003),
        ("{", 100003),
        ("[]", 100003),
        ('{"event":"score"}', 100003),
        ('{"event":"media"}', 100003),
        ('{"event":"media","media":{"payload":"####"}}', 100004),
        ('{"event":"media","media":{"payload":5}}', 100004),
    ],
)
def test_what_telnyx_does_not_know_is_a_problem(message: Message, code: int) -> None:
    """It answers with its error, and the emulator reports it."""
    emulator = made()
    (answer,) = parsed(emulator.receive(message))
    assert (answer["event"], answer["payload"]["code"]) == ("error", code)
    assert emulator.problem is not None
    assert emulator.problem.startswith(str(code))


def test_marks_are_returned_and_audio_is_taken() -> None:
    """As Telnyx does on a bidirectional stream."""
    emulator = made()
    assert emulator.receive('{"event":"media","media":{"payload":"////"}}') == []
    assert emulator.receive('{"event":"clear"}') == []
    (mark,) = parsed(emulator.receive('{"event":"mark","mark":{"name":"m"}}'))
    assert mark["mark"] == {"name": "m"}
    assert emulator.problem is None


def test_g711_is_narrowband() -> None:
    """Telnyx sends it at 8 kHz only."""
    with pytest.raises(ValueError, match="8000 Hz only"):
        made(sample_rate_hz=16_000)
