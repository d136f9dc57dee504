"""How loud a frame is, and how loud the line's noise is."""

from __future__ import annotations

import math
from collections import deque

import numpy as np

from app.domain import FloatArray

SILENCE_DBFS = -100.0
"""Level given to digital silence: below anything 16 bits can hold, and finite."""

_SILENCE_POWER = 10.0 ** (SILENCE_DBFS / 10.0)


def energy_dbfs(frame: FloatArray) -> float:
    """Mean power of a frame, float32 [n > 0], in dB re a full-scale square wave; at least `SILENCE_DBFS`."""
    return 10.0 * math.log10(max(float(np.dot(frame, frame)) / frame.size, _SILENCE_POWER))


class NoiseFloor:
    """A leg's running noise floor by minimum statistics: the lowest smoothed level of the last 3 s.

    It needs nobody to say what is speech, so the voice detector can lean on it: speech dips to the noise
    between words. After R. Martin, "Noise power spectral density estimation based on optimal smoothing and
    minimum statistics" (2001), over the whole band and with a fixed smoothing.

    Digital silence shorter than 0.5 s is a hole (lost packets) and says nothing of the noise; longer, it is
    how the line sounds (a muted microphone, silence suppression).
    """

    _SMOOTHING = 0.7  # per 20 ms frame: about 60 ms
    _BLOCK_FRAMES = 25
    _BLOCKS = 6
    _HOLE_DBFS = -90.0
    _HOLE_FRAMES = 25

    def __init__(self) -> None:
        self._block_minima: deque[float] = deque(maxlen=self._BLOCKS)
        self._past_minimum = math.inf
        self._minimum = math.inf
        self._in_block = 0
        self._silent_frames = 0
        self._power: float | None = None

    @property
    def level_db(self) -> float:
        """Smoothed level of the audio, in dBFS."""
        return 10.0 * math.log10(max(self._power or 0.0, _SILENCE_POWER))

    @property
    def floor_db(self) -> float | None:
        """Lowest `level_db` of the last 3 s; None in the leg's first second."""
        if len(self._block_minima) < 2:
            return None
        return 10.0 * math.log10(max(min(self._past_minimum, self._minimum), _SILENCE_POWER))

    def push(self, energy_db: float) -> None:
        """Take the energy of the leg's next 20 ms frame, in dBFS."""
        self._silent_frames = self._silent_frames + 1 if energy_db <= self._HOLE_DBFS else 0
        if 0 < self._silent_frames < self._HOLE_FRAMES:
            return
        power = 10.0 ** (energy_db / 10.0)
        if self._power is not None:
            power += self._SMOOTHING * (self._power - power)
        self._power = power
        self._minimum = min(self._minimum, power)
        self._in_block += 1
        if self._in_block == self._BLOCK_FRAMES:
            self._block_minima.append(self._minimum)
            self._past_minimum = min(self._block_minima)
            self._minimum, self._in_block = math.inf, 0
