"""Signals of the telephone network that nobody speaks: call-progress tones, DTMF, beeps, hiss. Made, not recorded.

Frequencies and cadences after ITU-T E.180 supplement 2 and Q.23.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

RATE_HZ = 8_000
Audio = npt.NDArray[np.float32]

PROGRESS = (
    ((440, 480), (2.0, 4.0)),  # ringing, North America
    ((425,), (1.0, 4.0)),  # ringing, much of Europe
    ((400, 450), (0.4, 0.2)),  # ringing, UK and Australia
    ((400,), (1.0, 2.0)),  # ringing, Japan
    ((480, 620), (0.5, 0.5)),  # busy, North America
    ((425,), (0.5, 0.5)),  # busy, Europe
    ((480, 620), (0.25, 0.25)),  # congestion
    ((350, 440), (10.0, 0.0)),  # dial tone, North America
    ((425,), (10.0, 0.0)),  # dial tone, Europe
    ((1400,), (0.2, 3.0)),  # recording beep
    ((950, 1400, 1800), (0.33, 0.03)),  # special information tone (one after another in truth)
)
DTMF_LOW, DTMF_HIGH = (697, 770, 852, 941), (1209, 1336, 1477, 1633)


def network_tone(rng: np.random.Generator, duration_s: float) -> Audio:
    """A random call-progress tone, a run of DTMF digits, a single tone or hiss; float32 at about -20 dBFS."""
    length = int(duration_s * RATE_HZ)
    draw = rng.random()
    if draw < 0.45:
        frequencies, (on_s, off_s) = PROGRESS[rng.integers(len(PROGRESS))]
        audio = _tone(frequencies, length) * _cadence(length, on_s, off_s, rng.uniform(0, on_s + off_s))
    elif draw < 0.75:
        audio = _dtmf(rng, length)
    elif draw < 0.9:
        start, end = rng.uniform(200, 3000, size=2)
        sweep = np.linspace(start, end if rng.random() < 0.3 else start, length)
        audio = np.sin(2 * np.pi * np.cumsum(sweep) / RATE_HZ)
    else:
        audio = rng.standard_normal(length) * 0.5
    hiss = rng.standard_normal(length) * 10 ** (rng.uniform(-70, -35) / 20)
    return (0.14 * audio + hiss).astype(np.float32)


def _tone(frequencies: tuple[int, ...], length: int) -> npt.NDArray[np.float64]:
    t = np.arange(length) / RATE_HZ
    return np.asarray(np.sum([np.sin(2 * np.pi * f * t) for f in frequencies], axis=0) / len(frequencies))


def _cadence(length: int, on_s: float, off_s: float, phase_s: float) -> npt.NDArray[np.float64]:
    t = np.arange(length) / RATE_HZ + phase_s
    return ((t % (on_s + off_s)) < on_s).astype(np.float64)


def _dtmf(rng: np.random.Generator, length: int) -> npt.NDArray[np.float64]:
    audio = np.zeros(length)
    on, off = int(rng.uniform(0.07, 0.2) * RATE_HZ), int(rng.uniform(0.05, 0.3) * RATE_HZ)
    for at in range(0, length, on + off):
        pair = (int(rng.choice(DTMF_LOW)), int(rng.choice(DTMF_HIGH)))
        piece = _tone(pair, min(on, length - at))
        audio[at : at + len(piece)] = piece
    return audio
