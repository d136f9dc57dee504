"""The voice detector on synthetic speech, noise and silence."""

from __future__ import annotations

import numpy as np
import pytest

from app.audio.vad import FRAME_MS, FRAME_SAMPLES, FrameVad
from app.domain import FloatArray
from tests.audio.speech import babble, frames_of, hiss


def voiced(samples: FloatArray, vad: FrameVad | None = None) -> list[bool]:
    """Judge every frame of a leg."""
    vad = vad or FrameVad()
    return [vad.is_speech(frame) for frame in frames_of(samples)]


def test_a_frame_is_20_ms() -> None:
    """160 samples at 8 kHz."""
    assert (FRAME_MS, FRAME_SAMPLES) == (20, 160)


def test_speech_is_heard() -> None:
    """Most frames of syllables over a quiet line are voiced, the silence around them is not."""
    line = hiss(4.0, -65.0)
    line[8_000:24_000] += babble(2.0)
    heard = voiced(line)
    assert np.mean(heard[52:148]) > 0.7
    assert np.mean(heard[:49] + heard[155:]) < 0.1


def test_digital_silence_is_never_speech() -> None:
    """Zeros, and zeros with a dithered last bit, are silence in every mode."""
    dither = (np.random.default_rng(0).integers(-1, 2, 16_000) / 32_768).astype(np.float32)
    for mode in range(4):
        assert not any(voiced(np.zeros(16_000, dtype=np.float32), FrameVad(mode)))
        assert not any(voiced(dither, FrameVad(mode)))


def test_steady_noise_is_not_speech_for_long() -> None:
    """A loud fan, endless speech to webrtcvad alone, is noise once the floor is known, after a second."""
    fan = hiss(6.0, -25.0)
    assert np.mean(voiced(fan, FrameVad(floor_margin_db=-200.0))[50:]) > 0.8
    assert np.mean(voiced(fan)[50:]) < 0.05


def test_speech_over_noise_is_heard() -> None:
    """At 15 dB over a fan the syllables still come through."""
    line = hiss(6.0, -35.0)
    line[16_000:32_000] += babble(2.0)
    heard = voiced(line)
    assert np.mean(heard[102:198]) > 0.5
    assert np.mean(heard[55:98]) < 0.1


def test_soft_audio_is_gated() -> None:
    """Speech under the gate is nobody's: crosstalk, an echo from far away."""
    assert any(voiced(babble(1.0, -40.0), FrameVad(gate_dbfs=-60.0)))
    assert not any(voiced(babble(1.0, -40.0), FrameVad(gate_dbfs=-20.0)))


def test_overshoot_does_not_wrap_around() -> None:
    """Resampled audio beyond full scale is limited: it is judged as its limited self."""
    loud = 3.0 * babble(1.0, 0.0)
    assert voiced(loud) == voiced(np.clip(loud, -1.0, 32_767 / 32_768))


def test_judging_tells_the_energy() -> None:
    """The energy comes with the verdict, in dBFS."""
    _, energy_db = FrameVad().judge(np.full(160, 0.1, dtype=np.float32))
    assert energy_db == pytest.approx(-20.0, abs=1e-3)


def test_legs_do_not_disturb_each_other() -> None:
    """Two detectors fed in turn judge as each would alone."""
    one, two = FrameVad(), FrameVad()
    first, second = hiss(2.0, -30.0, seed=3), babble(2.0)
    together = [
        (one.is_speech(left), two.is_speech(right))
        for left, right in zip(frames_of(first), frames_of(second), strict=True)
    ]
    assert [left for left, _ in together] == voiced(first)
    assert [right for _, right in together] == voiced(second)


@pytest.mark.parametrize("mode", [-1, 4])
def test_modes_are_0_to_3(mode: int) -> None:
    """A mode that webrtcvad has not is refused."""
    with pytest.raises(ValueError, match=f"got {mode}"):
        FrameVad(mode)
