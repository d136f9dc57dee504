"""Byte order of 16-bit audio: speech tells, silence and noise do not."""

from __future__ import annotations

import numpy as np
import pytest

from app.wire.l16 import ByteOrderCheck, swap_bytes

RATE_HZ = 8_000
FRAME = 160


def tone(amplitude: float, frequency_hz: float, seconds: float = 1.0) -> bytes:
    """A sine, little-endian."""
    time_s = np.arange(int(seconds * RATE_HZ)) / RATE_HZ
    return np.rint(amplitude * np.sin(2 * np.pi * frequency_hz * time_s)).astype("<i2").tobytes()


def noise(amplitude: int, seed: int = 1) -> bytes:
    """A second of white noise, little-endian."""
    return np.random.default_rng(seed).integers(-amplitude, amplitude + 1, RATE_HZ).astype("<i2").tobytes()


def verdicts(check: ByteOrderCheck, audio: bytes, packet_bytes: int = 2 * FRAME) -> list[bool | None]:
    """What the check says to each packet."""
    return [check.push(audio[at : at + packet_bytes]) for at in range(0, len(audio), packet_bytes)]


@pytest.mark.parametrize(
    "audio",
    [
        pytest.param(tone(8_000, 300), id="loud"),
        pytest.param(tone(20, 700), id="quiet"),
        pytest.param(noise(2), id="the noise of a silent room"),
        pytest.param(bytes.fromhex("e803" * 4 + "18fc" * 4) * 1_000, id="the protocol page's square wave"),
    ],
)
def test_only_the_wrong_order_is_suspect_and_only_once(audio: bytes) -> None:
    """After half a second the wrong order is reported once, the right one never."""
    wrong = verdicts(ByteOrderCheck(RATE_HZ), swap_bytes(audio))
    assert wrong[:24] == [None] * 24
    assert wrong[24] is True
    assert not any(wrong[25:])
    assert True not in verdicts(ByteOrderCheck(RATE_HZ), audio)


@pytest.mark.parametrize("audio", [noise(32_000), tone(30_000, 3_300)], ids=["noise", "tone"])
def test_what_sounds_the_same_in_both_orders_is_not_suspect(audio: bytes) -> None:
    """Full-scale noise and a shrill tone prove nothing, in either order."""
    assert True not in verdicts(ByteOrderCheck(RATE_HZ), audio)
    assert True not in verdicts(ByteOrderCheck(RATE_HZ), swap_bytes(audio))


def test_silence_is_waited_out() -> None:
    """Digital silence and empty packets decide nothing, however long; what follows does."""
    check = ByteOrderCheck(RATE_HZ)
    assert set(verdicts(check, bytes(20 * RATE_HZ))) == {None}
    assert check.push(b"") is check.push(b"\x01") is check.push(b"\x01\x02") is None
    assert verdicts(check, swap_bytes(tone(5_000, 440)))[24] is True


def test_packets_may_be_cut_anywhere_even() -> None:
    """The verdict is the same for long packets; an odd last byte is ignored."""
    audio = swap_bytes(tone(5_000, 440))
    assert ByteOrderCheck(RATE_HZ).push(audio) is True
    assert ByteOrderCheck(RATE_HZ).push(audio + b"\x7f") is True


def test_swapping_twice_changes_nothing() -> None:
    """Bytes change places in pairs; an odd last one stays."""
    assert swap_bytes(b"\x01\x02\x03\x04\x05") == b"\x02\x01\x04\x03\x05"
    assert swap_bytes(b"") == b""
    audio = noise(9_999)
    assert swap_bytes(swap_bytes(audio)) == audio
