"""The AudioSocket emulator against our own parser, in memory."""

from __future__ import annotations

import random
from uuid import UUID

import numpy as np
import pytest

from app.audio.g711 import PcmArray, decode, decode_alaw, encode_alaw
from app.domain import Encoding, Leg
from app.emulators.audiosocket import AudiosocketEmulator
from app.emulators.base import EmulatedCall
from app.wire.audiosocket import AudioSocketProtocol, message, silence
from app.wire.base import Audio, Dtmf, Reply, Start, WireEvent
from app.wire.carrier import CarrierConfig, UpgradeRequest

CALL_ID = "40325ec2-5efd-4bd3-805f-53576e581d13"


def recording(frames: int, rate: int = 8_000) -> list[PcmArray]:
    """Frames of noise."""
    rng = np.random.default_rng(7)
    return [rng.integers(-9_000, 9_000, rate // 50, dtype=np.int16) for _ in range(frames)]


def emulator(rate: int = 8_000, call_id: str = CALL_ID, **parameters: str) -> AudiosocketEmulator:
    """A call of one leg."""
    return AudiosocketEmulator(EmulatedCall(call_id, (Leg.CUSTOMER,), rate, parameters=parameters))


def played(made: AudiosocketEmulator, frames: list[PcmArray], **options: str) -> list[WireEvent]:
    """Every event of a call with one key, its bytes cut at random; what the server says goes back."""
    protocol = AudioSocketProtocol(CarrierConfig(options=options), UpgradeRequest(""))
    said = made.opening()
    for index, frame in enumerate(frames):
        made.elapse(index * 0.02)
        said += made.audio([frame])
    said += [*made.dtmf("#"), *made.closing()]
    data = b"".join(part for part in said if isinstance(part, bytes))
    rng, events, at = random.Random(3), list[WireEvent](), 0
    while at < len(data):
        size = rng.randrange(1, 900)
        events += protocol.receive_bytes(data[at : at + size], at / 16_000)
        at += size
    for payload in protocol.farewell(None, draining=False):
        made.receive(payload)
    assert protocol.lost() == []
    return events


@pytest.mark.parametrize("rate", [8_000, 16_000, 48_000])
def test_the_audio_arrives_as_it_was(rate: int) -> None:
    """Bit for bit, with the key behind it; the server's farewell is taken."""
    made = emulator(rate)
    frames = recording(50, rate)
    events = played(made, frames)
    assert isinstance(events[0], Start)
    assert events[0].call.call_id == CALL_ID == made.recorded_as
    heard = b"".join(event.packet.payload for event in events if isinstance(event, Audio))
    np.testing.assert_array_equal(decode(heard, Encoding.PCM_S16LE), np.concatenate(frames))
    assert events[-1] == Dtmf("#", track=0)
    assert (made.hung_up, made.problem) == (True, None)


def test_a_driver_without_a_codec_sends_g711() -> None:
    """What `Dial(AudioSocket/…)` does; the option of the service reads it."""
    frames = recording(50)
    events = played(emulator(codec_0x10="alaw"), frames, encoding_0x10="alaw")
    heard = b"".join(event.packet.payload for event in events if isinstance(event, Audio))
    expected = decode_alaw(encode_alaw(np.concatenate(frames)))
    np.testing.assert_array_equal(decode(heard, Encoding.PCM_ALAW), expected)


def test_any_call_id_becomes_a_uuid() -> None:
    """Always the same one."""
    first, second = emulator(call_id="call 1"), emulator(call_id="call 1")
    assert first.recorded_as == second.recorded_as != emulator(call_id="call 2").recorded_as
    assert first.opening() == [message(0x01, UUID(first.recorded_as).bytes)]


@pytest.mark.parametrize(
    ("said", "problem"),
    [
        (message(0x03, b"1"), "kind 0x03"),
        (message(0xFF), "kind 0xff"),
        (message(0x10), "no length"),
        ("text", "text"),
    ],
)
def test_what_asterisk_would_not_take_is_a_problem(said: bytes | str, problem: str) -> None:
    """Anything but audio and the end."""
    made = emulator()
    made.receive(said)
    assert made.problem is not None
    assert problem in made.problem


def test_the_dialplan_application_is_kept_alive() -> None:
    """Silent for five seconds: with the server's silence it stays, without it gives up after two."""
    for kept in (True, False):
        made = emulator(application="true")
        protocol = AudioSocketProtocol(
            CarrierConfig(options={"keepalive": "true" if kept else "false"}), UpgradeRequest("")
        )
        for part in made.opening():
            assert isinstance(part, bytes)
            protocol.receive_bytes(part, 0.0)
        for second in range(1, 6):
            for event in protocol.tick(second):
                assert isinstance(event, Reply)
                assert isinstance(event.payload, bytes)
                made.receive(event.payload[:2])
                made.receive(event.payload[2:9])
                made.receive(event.payload[9:])
            made.elapse(second)
        assert (made.problem is None) is kept
    assert len(silence(0x10)) == 323


def test_calls_that_cannot_be_are_refused() -> None:
    """Two legs, an unknown rate, G.711 at another rate."""
    with pytest.raises(ValueError, match="one leg"):
        AudiosocketEmulator(EmulatedCall("c", (Leg.CUSTOMER, Leg.AGENT)))
    with pytest.raises(ValueError, match="11025"):
        emulator(11_025)
    with pytest.raises(ValueError, match="codec"):
        emulator(16_000, codec_0x10="ulaw")
    assert emulator().handshake().target == ""
