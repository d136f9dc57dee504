"""What is heard in place of packets that never came: the sound before the hole, fading out.

In the spirit of ITU-T G.711 Appendix I, without its search for the pitch, which brought nothing more
(docs/decisions/0010-quality-widens-abstention.md).
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from app.domain import FloatArray


class Concealer:
    """Of one track: the last 20 ms of each channel are repeated, from full level down to nothing after 60 ms."""

    _REPEATED_S = 0.020
    _LONGEST_S = 0.060

    def __init__(self, sample_rate_hz: int) -> None:
        self._size = int(sample_rate_hz * self._REPEATED_S)
        longest = int(sample_rate_hz * self._LONGEST_S)
        self._fade = np.linspace(1.0, 0.0, longest, endpoint=False, dtype=np.float32)
        self._last: list[FloatArray] = []

    def forget(self) -> None:
        """What was heard does not lead up to what follows."""
        self._last = []

    def hear(self, channels: Sequence[FloatArray]) -> None:
        """Remember the end of float32 [n] per channel, equal lengths."""
        if channels[0].size < self._size and self._last:
            channels = [np.concatenate(pair) for pair in zip(self._last, channels, strict=True)]
        self._last = [channel[-self._size :].copy() for channel in channels]

    def fill(self, channels: Sequence[FloatArray], missing: int) -> int:
        """Write over the first `missing` samples of each channel; how many there is sound for, from the first on."""
        count = min(missing, self._fade.size)
        if not self._last or self._last[0].size < self._size:
            return 0
        for channel, last in zip(channels, self._last, strict=True):
            channel[:count] = np.resize(last, count) * self._fade[:count]
        return count
