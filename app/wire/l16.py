"""16-bit linear audio whose byte order is in doubt: `audio/l16` is big-endian by RFC 2586, in practice it is not.

Read in the wrong order, neighbouring samples jump by the weight of what are really the lowest bits; in the right
order speech is smooth. So the mean absolute difference of neighbours tells the orders apart.
"""

from __future__ import annotations

import numpy as np

DECIDE_AFTER_S = 0.5
"""How much audio that is not constant is looked at."""

FAR_SMOOTHER = 4.0
"""A reading is wrong where its differences are so many times those of the other; full-band noise gives 1."""


class ByteOrderCheck:
    """Watches the first half second of audio that is read as little-endian."""

    def __init__(self, sample_rate_hz: int) -> None:
        self._left_samples = int(DECIDE_AFTER_S * sample_rate_hz)
        self._as_read = 0
        self._swapped = 0

    def push(self, payload: bytes) -> bool | None:
        """Look at a packet. None while undecided, then True once if big-endian is far smoother; False ever after.

        Constant audio (digital silence) decides nothing and is not counted; an odd last byte is ignored.
        """
        if self._left_samples <= 0:
            return False
        samples = np.frombuffer(payload, dtype="<i2", count=len(payload) // 2)
        as_read = _roughness(samples)
        if as_read == 0:
            return None
        self._as_read += as_read
        self._swapped += _roughness(samples.byteswap())
        self._left_samples -= samples.size
        if self._left_samples > 0:
            return None
        return self._as_read > FAR_SMOOTHER * self._swapped


def swap_bytes(payload: bytes) -> bytes:
    """The same samples in the other byte order; an odd last byte stays where it is."""
    whole = len(payload) & ~1
    return np.frombuffer(payload, dtype=np.uint16, count=whole // 2).byteswap().tobytes() + payload[whole:]


def _roughness(samples: np.ndarray[tuple[int], np.dtype[np.int16]]) -> int:
    """Sum of |x[n] - x[n-1]|."""
    return int(np.abs(np.diff(samples.astype(np.int32))).sum())
