"""When a delivery is tried again."""

from __future__ import annotations

from random import Random

import pytest

from app.delivery.config import RETRY_S
from app.delivery.retries import MAX_RETRY_AFTER_S, next_delay_s


@pytest.mark.parametrize("tries", range(1, len(RETRY_S) + 1))
def test_each_delay_is_anything_up_to_its_bound(tries: int) -> None:
    """Full jitter, over the whole range."""
    rng = Random(tries)
    delays = [next_delay_s(RETRY_S, tries, rng) or 0.0 for _ in range(2_000)]
    bound = RETRY_S[tries - 1]
    assert 0 <= min(delays) < 0.01 * bound
    assert 0.99 * bound < max(delays) <= bound


def test_after_the_last_there_is_none() -> None:
    """The schedule ends."""
    assert next_delay_s(RETRY_S, len(RETRY_S) + 1, Random(1)) is None
    assert next_delay_s((), 1, Random(1)) is None


def test_a_receiver_is_left_alone_for_as_long_as_it_asks() -> None:
    """Within bounds."""
    assert next_delay_s((5.0,), 1, Random(1), 60.0) == 60.0
    assert next_delay_s((5.0,), 1, Random(1), 1e12) == MAX_RETRY_AFTER_S
    assert (next_delay_s((1e6,), 1, Random(1), 1.0) or 0.0) > 1.0
