"""Signals of the telephone network that nobody speaks: call-progress tones, DTMF, beeps, hiss. Made, not recorded.

Frequencies and cadences after ITU-T E.180 supplement 2, Q.23 and T.30.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

RATE_HZ = 8_000
Audio = npt.NDArray[np.float32]
Pattern = tuple[tuple[int, ...], tuple[float, ...]]
"""Frequencies in Hz that sound together, and how long it sounds, rests, sounds, rests …, in seconds."""

PROGRESS: tuple[Pattern, ...] = (
    ((440, 480), (2.0, 4.0)),  # ringing, North America
    ((425,), (1.0, 4.0)),  # ringing, much of Europe
    ((400, 450), (0.4, 0.2)),  # ringing, UK and Australia, within a pair
    ((400,), (1.0, 2.0)),  # ringing, Japan
    ((480, 620), (0.5, 0.5)),  # busy, North America
    ((425,), (0.5, 0.5)),  # busy, Europe
    ((480, 620), (0.25, 0.25)),  # congestion
    ((350, 440), (10.0, 0.0)),  # dial tone, North America
    ((425,), (10.0, 0.0)),  # dial tone, Europe
    ((1400,), (0.2, 3.0)),  # recording beep
    ((400, 450), (0.4, 0.2, 0.4, 2.0)),  # ringing, UK and Australia
    ((425,), (1.5, 3.0)),  # ringing, Spain
    ((425,), (0.8, 3.2)),  # ringing, Russia
    ((425,), (0.2, 0.2)),  # congestion, Europe
    ((425,), (0.25, 0.25)),  # congestion, Germany
    ((400,), (0.375, 0.375)),  # busy, UK
    ((440,), (0.3, 9.7)),  # call waiting, North America
    ((350, 450), (10.0, 0.0)),  # dial tone, UK
    ((1100,), (0.5, 3.0)),  # calling fax
    ((2100,), (3.3, 0.5)),  # answering fax or modem
)
UNHEARD: tuple[Pattern, ...] = (
    ((375, 425), (0.4, 0.2, 0.4, 2.0)),  # ringing, India
    ((425,), (0.67, 3.0, 1.5, 5.0)),  # ringing, Belgium and its neighbours
    ((450,), (0.35, 0.35)),  # busy, China
    ((420, 450), (0.75, 0.75)),  # busy, the Philippines
    ((400,), (10.0, 0.0)),  # number unobtainable, UK
    ((330, 440), (10.0, 0.0)),  # dial tone, France
    ((1000,), (0.5, 0.5)),  # a beep of a message machine
)
"""Never given to training: how a gate does on the tones of another country is measured with these."""
DTMF_LOW, DTMF_HIGH = (697, 770, 852, 941), (1209, 1336, 1477, 1633)
INFORMATION_HZ = (950, 1400, 1800)
"""The special information tone: these, a third of a second each, then a second of rest."""


def network_tone(
    rng: np.random.Generator, duration_s: float, patterns: Sequence[Pattern] = PROGRESS
) -> Audio:
    """A random call-progress tone, a run of DTMF digits, a single tone or hiss; float32 at about -20 dBFS."""
    length = int(duration_s * RATE_HZ)
    draw = rng.random()
    if draw < 0.45:
        frequencies, cadence = patterns[int(rng.integers(len(patterns)))]
        # Anywhere within its sounding parts: a stretch of pure rest would be no tone.
        sounding = np.flatnonzero(_cadence(int(sum(cadence) * RATE_HZ), cadence, 0.0))
        audio = _tone(frequencies, length) * _cadence(length, cadence, rng.choice(sounding) / RATE_HZ)
    elif draw < 0.5:
        audio = _information(length)
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


def _tone(frequencies: Sequence[int], length: int) -> npt.NDArray[np.float64]:
    t = np.arange(length) / RATE_HZ
    return np.asarray(np.sum([np.sin(2 * np.pi * f * t) for f in frequencies], axis=0) / len(frequencies))


def _cadence(length: int, parts_s: Sequence[float], phase_s: float) -> npt.NDArray[np.float64]:
    """1 where the tone sounds; parts_s: sounding and resting in turn."""
    t = (np.arange(length) / RATE_HZ + phase_s) % sum(parts_s)
    part = np.searchsorted(np.cumsum(parts_s), t, side="right")
    return np.asarray(part % 2 == 0, dtype=np.float64)


def _information(length: int) -> npt.NDArray[np.float64]:
    third = RATE_HZ // 3
    once = np.concatenate([*(_tone((f,), third) for f in INFORMATION_HZ), np.zeros(RATE_HZ)])
    filled: npt.NDArray[np.float64] = np.resize(once, length)
    return filled


def _dtmf(rng: np.random.Generator, length: int) -> npt.NDArray[np.float64]:
    audio = np.zeros(length)
    on, off = int(rng.uniform(0.07, 0.2) * RATE_HZ), int(rng.uniform(0.05, 0.3) * RATE_HZ)
    for at in range(0, length, on + off):
        pair = (int(rng.choice(DTMF_LOW)), int(rng.choice(DTMF_HIGH)))
        piece = _tone(pair, min(on, length - at))
        audio[at : at + len(piece)] = piece
    return audio
