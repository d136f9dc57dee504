"""Temperature scaling: sums, limits, order."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from app.inference.calibration import posterior
from app.inference.errors import InferenceError

finite = st.floats(allow_nan=False, allow_infinity=False)
logit_rows = st.lists(finite, min_size=2, max_size=10)
temperatures = st.floats(1e-3, 1e3)


@given(logits=logit_rows, temperature=temperatures)
@settings(deadline=None)
def test_sums_to_one_for_any_logits(logits: list[float], temperature: float) -> None:
    """Whatever the logits, even at the ends of float64, the posterior is one."""
    values = posterior(logits, temperature)
    assert np.all((values >= 0) & (values <= 1))
    assert values.sum() == pytest.approx(1.0, abs=1e-12)


@given(logits=logit_rows, temperature=temperatures)
@settings(deadline=None)
def test_keeps_the_order_of_the_logits(logits: list[float], temperature: float) -> None:
    """A larger logit never gets a smaller posterior."""
    ordered = posterior(sorted(logits), temperature)
    assert np.all(np.diff(ordered) >= 0)


@given(
    logits=st.lists(st.floats(-50, 50), min_size=2, max_size=10),
    temperatures=st.tuples(temperatures, temperatures),
)
@settings(deadline=None)
def test_a_higher_temperature_is_less_sure(logits: list[float], temperatures: tuple[float, float]) -> None:
    """Raising the temperature never raises the top posterior."""
    cold, hot = sorted(temperatures)
    assert posterior(logits, hot).max() <= posterior(logits, cold).max() + 1e-12


@given(logits=st.lists(st.floats(-50, 50), min_size=2, max_size=10), shift=st.floats(-100, 100))
@settings(deadline=None)
def test_a_common_shift_changes_nothing(logits: list[float], shift: float) -> None:
    """Only differences between logits count."""
    moved = posterior(np.array(logits) + shift, 1.0)
    assert moved == pytest.approx(posterior(logits, 1.0), abs=1e-9)


def test_a_hand_computed_example() -> None:
    """Logits ln 1, ln 3 give 1/4, 3/4; at temperature 2 the odds are their square root."""
    logits = np.log([1.0, 3.0])
    assert posterior(logits, 1.0) == pytest.approx([0.25, 0.75])
    odds = 3.0**0.5
    assert posterior(logits, 2.0) == pytest.approx([1 / (1 + odds), odds / (1 + odds)])


def test_rows_are_apart() -> None:
    """Each row of a batch is its own posterior."""
    rows = posterior([[0.0, 0.0], [0.0, 1000.0]], 1.0)
    assert rows == pytest.approx(np.array([[0.5, 0.5], [0.0, 1.0]]))


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_logits_that_are_not_finite_are_refused(bad: float) -> None:
    """NaN and infinity never become a posterior."""
    with pytest.raises(InferenceError, match="logits"):
        posterior([0.0, bad], 1.0)


@pytest.mark.parametrize("bad", [0.0, -1.0, np.nan, np.inf])
def test_a_temperature_that_is_not_positive_is_refused(bad: float) -> None:
    """A temperature must be a positive number."""
    with pytest.raises(InferenceError, match="positive temperature"):
        posterior([0.0, 1.0], bad)
