"""The trainable encoder computes what Whisper's does, and hears 8 kHz audio as Whisper hears it at 16 kHz."""

from __future__ import annotations

import numpy as np
import soxr
import torch

from tests.training.teachers.test_whisper import weights
from training.teachers.whisper import WhisperFrames, log_mel, slaney_filters
from training.teachers.whisper_encoder import NarrowbandMel, WhisperEncoder, encoder_from


def test_narrow_audio_is_heard_as_when_resampled() -> None:
    """Bands below 3.5 kHz of a coloured noise agree with those of the same noise at 16 kHz."""
    rng = np.random.default_rng(0)
    white = rng.standard_normal(16_000).astype(np.float32) * 0.05
    audio = np.convolve(white, [1, 0.9, 0.7, 0.4], "same").astype(np.float32)
    wide = np.asarray(soxr.resample(audio, 8_000, 16_000, quality="VHQ"), dtype=np.float32)
    narrow = NarrowbandMel()(torch.from_numpy(audio)[None])[0]
    expected = log_mel(torch.from_numpy(wide), torch.from_numpy(slaney_filters()))
    assert narrow.shape == expected.shape
    torch.testing.assert_close(narrow[:55, 2:-2], expected[:55, 2:-2], rtol=0.01, atol=0.01)


def test_layers_are_whispers() -> None:
    """From the same variables the same residual stream as the reader used by `prepare`."""
    made = weights(width=64, layers=2)
    audio = 0.1 * torch.randn(6_400)
    expected = WhisperFrames(made, layers=2, heads=1)(audio)
    mel = log_mel(audio, torch.from_numpy(slaney_filters()))[None]
    encoder = encoder_from(made, 2).eval()
    with torch.no_grad():
        found = encoder(mel, torch.ones(1, 20, dtype=torch.bool))
    assert len(found) == 2
    torch.testing.assert_close(found[-1][0], expected, rtol=1e-4, atol=1e-5)


def test_what_is_beyond_the_end_is_not_attended_to() -> None:
    """Changing padding leaves the valid frames as they were."""
    torch.manual_seed(0)
    encoder = WhisperEncoder(64, 1).eval()
    mel = torch.randn(1, 80, 40)
    valid = torch.arange(20)[None] < 10
    with torch.no_grad():
        one = encoder(mel, valid)[-1][:, :9]
        mel[:, :, 24:] += 1
        other = encoder(mel, valid)[-1][:, :9]
    assert torch.equal(one, other)
