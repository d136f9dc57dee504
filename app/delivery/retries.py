"""When a delivery is tried again."""

from __future__ import annotations

from collections.abc import Sequence
from random import Random

MAX_RETRY_AFTER_S = 86_400.0
"""The longest that a receiver may ask to be left alone."""


def next_delay_s(
    schedule: Sequence[float], tries: int, rng: Random, retry_after_s: float | None = None
) -> float | None:
    """How long to wait after the `tries`-th try failed; None: it was the last.

    Full jitter: anything between nothing and what the schedule says, so that deliveries which failed together do not
    come back together. A `Retry-After` of the receiver is waited for at least.
    """
    if tries > len(schedule):
        return None
    return max(rng.uniform(0.0, schedule[tries - 1]), min(retry_after_s or 0.0, MAX_RETRY_AFTER_S))
