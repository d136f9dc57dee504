"""Tests of where in a recording somebody speaks."""

import numpy as np
import pytest

from app.audio.active import FRAME_SAMPLES, active_range
from tests.support.tiny_bundle import speech_like


def padded(lead: int, trail: int) -> np.ndarray:
    """Two seconds of speech-like sound between stretches of faint hiss."""
    rng = np.random.default_rng(0)
    hiss = [(rng.standard_normal(n) * 1e-4).astype(np.float32) for n in (lead, trail)]
    return np.concatenate([hiss[0], speech_like(1, 2.0), hiss[1]])


@pytest.mark.parametrize(("lead", "trail"), [(0, 0), (8_000, 8_000), (12_345, 4_321)])
def test_speech_is_found_between_pauses(lead: int, trail: int) -> None:
    """The range covers the sound to within a tenth of a second, in whole frames."""
    samples = padded(lead, trail)
    found = active_range(samples)
    assert found is not None
    assert abs(found[0] - lead) <= 1_600
    assert abs(found[1] - (len(samples) - trail)) <= 1_600
    assert found[0] % FRAME_SAMPLES == 0
    assert found[1] % FRAME_SAMPLES == 0


@pytest.mark.parametrize("samples", [np.zeros(0), np.zeros(100), np.zeros(16_000)])
def test_silence_has_no_range(samples: np.ndarray) -> None:
    """Nothing, too little and digital silence hold no speech."""
    assert active_range(samples.astype(np.float32)) is None


def test_far_voices_do_not_count() -> None:
    """Sound far below the loudest part is left out, however speech-like."""
    near, far = speech_like(1, 1.5), speech_like(2, 1.5) * np.float32(0.003)
    found = active_range(np.concatenate([far, np.zeros(4_000, np.float32), near]))
    assert found is not None
    assert found[0] >= 14_000
