"""Intervals by matrix products are those of the plain bootstrap, draw for draw."""

from __future__ import annotations

import numpy as np
import pytest

from training import metrics
from training.measure_intervals import (
    Drawn,
    Figure,
    SpeakerDraws,
    f1_mean,
    macro_f1,
    mean_of,
    recall,
    recall_mean,
    uar,
)

SPEAKERS = ["a"] * 10 + ["b"] * 15 + ["c"] * 5
RNG = np.random.default_rng(3)
TRUTH = RNG.integers(3, size=30)
SAID = np.where(RNG.random(30) < 0.6, TRUTH, RNG.integers(3, size=30))


@pytest.mark.parametrize(
    ("figure", "plain"),
    [(uar, metrics.unweighted_average_recall), (macro_f1, metrics.macro_f1)],
)
def test_recall_and_f1_agree_with_the_plain_bootstrap(figure: object, plain: object) -> None:
    """Value and both ends."""
    assert callable(figure)
    assert callable(plain)
    found = figure(SpeakerDraws(SPEAKERS, 100, 5).confusions(TRUTH, SAID, 3)).figure()
    low, high = metrics.bootstrap_by_speaker(lambda i: plain(TRUTH[i], SAID[i], 3), SPEAKERS, 100, 5)
    assert found.value == pytest.approx(plain(TRUTH, SAID, 3))
    assert (found.low, found.high) == (pytest.approx(low), pytest.approx(high))


def test_means_agree_with_the_plain_bootstrap() -> None:
    """Rows may repeat, as they do over draws of a profile; each counts for its speaker."""
    rows = np.array([0, 0, 12, 13, 29, 5])
    values = np.array([1.0, 0.0, 1.0, 1.0, 0.0, 1.0])
    found = SpeakerDraws(SPEAKERS, 100, 5).mean(values, rows).figure()
    who = [SPEAKERS[i] for i in rows]
    low, high = metrics.bootstrap_by_speaker(lambda i: float(values[i].mean()), who, 100, 5)
    assert found.value == pytest.approx(values.mean())
    assert (found.low, found.high) == (pytest.approx(low), pytest.approx(high))


def test_one_speaker_has_no_interval() -> None:
    """A value alone."""
    draws = SpeakerDraws(["a"] * 4, 100, 0)
    assert draws.mean([1.0, 0.0, 1.0, 1.0]).figure() == Figure(0.75)
    assert uar(draws.confusions(np.array([0, 1, 0, 1]), np.array([0, 1, 1, 1]), 2)).figure() == Figure(0.75)


def test_recall_of_one_category() -> None:
    """Its share of right clips; NaN without clips."""
    counted = SpeakerDraws(SPEAKERS, 20, 0).confusions(TRUTH, SAID, 4)
    assert recall(counted, 1).value == pytest.approx((SAID[TRUTH == 1] == 1).mean())
    assert np.isnan(recall(counted, 3).value)
    assert np.isnan(recall_mean(np.zeros((2, 3, 3)))).all()
    assert np.isnan(f1_mean(np.zeros((3, 3))))


def test_differences_are_paired() -> None:
    """Of the same speakers in the same draws: a figure minus itself has an interval of nothing."""
    drawn = uar(SpeakerDraws(SPEAKERS, 50, 1).confusions(TRUTH, SAID, 3))
    assert drawn.minus(drawn).figure() == Figure(0.0, 0.0, 0.0)


def test_the_mean_of_sets() -> None:
    """A set of one speaker counts with its value alone, in every draw."""
    spread = Drawn(0.5, np.array([0.4, 0.6]))
    found = mean_of([spread, Drawn(0.7, np.zeros(0))])
    assert found.value == pytest.approx(0.6)
    np.testing.assert_allclose(found.draws, [0.55, 0.65])
    assert mean_of([Drawn(0.7, np.zeros(0))]).figure() == Figure(0.7)
    with pytest.raises(ValueError, match="at least one figure"):
        mean_of([])
