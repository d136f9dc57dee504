"""The front-end measures power right, and takes the recording level out."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from models.config import FrontendConfig
from models.frontend import LogMel, fourier_kernels, mel_filters
from models.streaming import StateReader
from tests.models import tiny

CONFIG = FrontendConfig()


def features(audio: Tensor) -> Tensor:
    """Features of whole clips."""
    frontend = LogMel(CONFIG)
    y: Tensor = frontend(audio, StateReader(torch.zeros(len(audio), frontend.state_size)))
    return y


def test_every_filter_sums_to_one_and_hears_something() -> None:
    """No filter is empty, however narrow, and none is louder than another."""
    filters = mel_filters(CONFIG)
    assert filters.shape == (64, 129)
    torch.testing.assert_close(filters.sum(dim=1), torch.ones(64))
    assert bool((filters >= 0).all())
    peaks = filters.argmax(dim=1)
    assert bool((peaks[1:] >= peaks[:-1]).all())


def test_the_spectrum_sums_to_the_mean_power() -> None:
    """Squared outputs of the kernels add up to the mean square of the samples (Parseval, on noise)."""
    noise = torch.randn(1, 1, 256 * 400, generator=torch.Generator().manual_seed(0))
    spectrum = torch.nn.functional.conv1d(noise, fourier_kernels(CONFIG), stride=80).square()
    assert float(spectrum.sum(dim=1).mean()) == pytest.approx(1.0, rel=0.03)


@pytest.mark.parametrize("hertz", [300, 1000, 3000])
def test_a_tone_is_loudest_in_its_own_band(hertz: int) -> None:
    """The loudest feature of a pure tone is the filter around its frequency."""
    tone = 0.1 * torch.sin(2 * math.pi * hertz * torch.arange(16_000) / 8_000)[None]
    loudest = int(features(tone)[0, :, -1].argmax())
    centre = 31.25 * float((mel_filters(CONFIG)[loudest] * torch.arange(129)).sum())
    assert centre == pytest.approx(hertz, rel=0.12)


def test_level_is_forgotten_in_the_long_run() -> None:
    """After some seconds 20 dB more or less make no difference, though they do at the start."""
    audio = tiny.noise(150)
    difference = (features(audio) - features(10 * audio)).abs().mean(dim=1)[0]
    assert float(difference[:3].mean()) > 0.1
    assert float(difference[-50:].mean()) < 0.02


def test_lower_precision_does_not_reach_the_analysis() -> None:
    """Under bfloat16 autocast the features are those of full precision."""
    audio = tiny.noise(5)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        low = features(audio)
    assert torch.equal(low, features(audio))


def test_digital_silence_is_finite() -> None:
    """Zeros in, the floor out."""
    y = features(torch.zeros(1, 3200))
    torch.testing.assert_close(y, torch.full_like(y, math.log10(CONFIG.floor) + 1.5))
