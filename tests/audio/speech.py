"""Speech made of arithmetic: what the voice detector takes for a talker, without a recording."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from app.domain import FloatArray


def babble(seconds: float, level_dbfs: float = -20.0, pitch_hz: float = 120.0, seed: int = 0) -> FloatArray:
    """Vowel-like syllables, four a second: harmonics of a gliding pitch under moving formants, float32 at 8 kHz."""
    rng = np.random.default_rng(seed)
    time_s = np.arange(int(seconds * 8_000)) / 8_000
    pitch = pitch_hz * (1 + 0.15 * np.sin(2 * np.pi * 0.7 * time_s))
    phase = 2 * np.pi * np.cumsum(pitch) / 8_000
    formants = [
        (500 + 250 * np.sin(2 * np.pi * 2 * time_s), 90),
        (1_500 + 500 * np.cos(2 * np.pi * time_s), 140),
    ]
    voice = np.zeros(time_s.size)
    for harmonic in range(1, 28):
        gain = sum(1 / (1 + ((harmonic * pitch - centre) / width) ** 2) for centre, width in formants)
        voice += (gain + 0.02) * np.sin(harmonic * phase)
    voice *= 0.25 + np.maximum(0.0, np.sin(2 * np.pi * 4 * time_s)) + 0.02 * rng.standard_normal(time_s.size)
    return levelled(voice, level_dbfs)


def hiss(seconds: float, level_dbfs: float, seed: int = 1) -> FloatArray:
    """Steady noise, falling with frequency like a fan or a car, float32 at 8 kHz."""
    white = np.random.default_rng(seed).standard_normal(int(seconds * 8_000))
    spectrum = np.fft.rfft(white)
    spectrum /= 1 + np.fft.rfftfreq(white.size, 1 / 8_000) / 300
    steady = np.fft.irfft(spectrum, white.size)
    return levelled(steady, level_dbfs)


def levelled(samples: npt.NDArray[np.float64], level_dbfs: float) -> FloatArray:
    """Scale to a mean power in dBFS, float32."""
    gain = 10 ** (level_dbfs / 20) / float(np.sqrt(np.mean(samples**2)))
    return np.asarray(samples * gain, dtype=np.float32)


def frames_of(samples: FloatArray) -> FloatArray:
    """Whole frames of 20 ms, float32 [k, 160]."""
    return samples[: samples.size - samples.size % 160].reshape(-1, 160)
