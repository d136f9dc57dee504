"""Where in a recording somebody speaks: used when a whole file is one utterance, and to cut training clips alike."""

from __future__ import annotations

import numpy as np
import webrtcvad

from app.audio.g711 import float_to_pcm
from app.audio.vad import FRAME_SAMPLES
from app.domain import SAMPLE_RATE_HZ, FloatArray

WINDOW_FRAMES, VOICED_FRAMES = 6, 4
BELOW_PEAK_DB = 32.0
"""Frames this far below the loudest are not speech, whatever their spectrum: far voices, line noise."""


def active_range(samples: FloatArray, aggressiveness: int = 2) -> tuple[int, int] | None:
    """First and one past the last sample of speech in 8 kHz mono samples; None where there is none.

    Bounds are whole 20 ms frames; the caller adds its pre-roll and tail. The level doesn't matter: the detector hears
    the samples with their peak at -6 dBFS.
    """
    frames = len(samples) // FRAME_SAMPLES
    peak = float(np.max(np.abs(samples), initial=0.0))
    if frames < WINDOW_FRAMES or peak == 0.0:
        return None
    levelled = samples[: frames * FRAME_SAMPLES] * np.float32(0.5 / peak)
    shaped = levelled.reshape(frames, FRAME_SAMPLES)
    power = np.mean(np.square(shaped, dtype=np.float64), axis=1) + 1e-12
    loud = power > power.max() * 10 ** (-BELOW_PEAK_DB / 10)
    vad = webrtcvad.Vad(aggressiveness)
    pcm = float_to_pcm(shaped)
    voiced = np.array([vad.is_speech(row.tobytes(), SAMPLE_RATE_HZ) for row in pcm]) & loud
    dense = np.convolve(voiced, np.ones(WINDOW_FRAMES), mode="valid") >= VOICED_FRAMES
    places = np.flatnonzero(dense)
    if not len(places):
        return None
    first = places[0] + int(np.argmax(voiced[places[0] : places[0] + WINDOW_FRAMES]))
    window = voiced[places[-1] : places[-1] + WINDOW_FRAMES]
    last = places[-1] + WINDOW_FRAMES - 1 - int(np.argmax(window[::-1]))
    return int(first) * FRAME_SAMPLES, (int(last) + 1) * FRAME_SAMPLES
