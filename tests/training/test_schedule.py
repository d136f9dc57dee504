"""The learning rate rises, then falls along half a cosine."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from training.schedule import warmup_cosine


@pytest.mark.parametrize(
    ("step", "factor"), [(0, 0.1), (4, 0.5), (9, 1.0), (10, 1.0), (55, 0.51), (100, 0.02), (500, 0.02)]
)
def test_known_points(step: int, factor: float) -> None:
    """Linear over ten steps, one at the top, half way down in the middle, the floor from the end on."""
    assert warmup_cosine(step, 100, 10) == pytest.approx(factor)


@given(steps=st.integers(1, 500), warmup=st.integers(0, 600), step=st.integers(0, 600))
def test_it_is_always_a_positive_share(steps: int, warmup: int, step: int) -> None:
    """Also where the warm-up is longer than the training."""
    assert 0 < warmup_cosine(step, steps, warmup) <= 1
