"""Learning-rate schedule."""

from __future__ import annotations

import math


def warmup_cosine(step: int, steps: int, warmup: int, floor: float = 0.02) -> float:
    """Factor on the peak rate: linear over `warmup` steps, then half a cosine down to `floor`.

    >>> [round(warmup_cosine(s, 100, 10), 2) for s in (0, 9, 10, 55, 100)]
    [0.1, 1.0, 1.0, 0.51, 0.02]
    """
    if step < warmup:
        return (step + 1) / warmup
    progress = min(1.0, (step - warmup) / max(1, steps - warmup))
    return floor + (1 - floor) * 0.5 * (1 + math.cos(math.pi * progress))
