"""Figures of merit against examples worked out by hand."""

from __future__ import annotations

import doctest
import math
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from training import metrics

# Three categories; truth 0: 4 clips, 1: 2 clips, 2: 2 clips, and 3 without any.
_TRUTH = [0, 0, 0, 0, 1, 1, 2, 2]
_SAID = [0, 0, 0, 1, 1, 2, 2, 3]
# Recalls 3/4, 1/2, 1/2. F1: 2·3/(4+3) = 6/7, 2·1/(2+2) = 1/2, 2·1/(2+2) = 1/2.


def test_doctests() -> None:
    """The examples in the docstrings hold."""
    result = doctest.testmod(metrics)
    assert result.failed == 0
    assert result.attempted >= 15


def test_confusion_matrix_has_truth_in_rows() -> None:
    """Row i, column j counts clips of i that were said to be j."""
    assert metrics.confusion_matrix(_TRUTH, _SAID, 4).tolist() == [
        [3, 1, 0, 0],
        [0, 1, 1, 0],
        [0, 0, 1, 1],
        [0, 0, 0, 0],
    ]


def test_recall_per_category() -> None:
    """A category without clips has no recall."""
    recall = metrics.recall_per_category(_TRUTH, _SAID, 4)
    np.testing.assert_allclose(recall, [0.75, 0.5, 0.5, np.nan])


def test_unweighted_average_recall() -> None:
    """Absent and masked categories do not count."""
    assert metrics.unweighted_average_recall(_TRUTH, _SAID, 4) == pytest.approx(1.75 / 3)
    mask = [True, True, False, True]
    assert metrics.unweighted_average_recall(_TRUTH, _SAID, 4, mask) == pytest.approx(0.625)
    assert math.isnan(metrics.unweighted_average_recall(_TRUTH, _SAID, 4, [False] * 4))
    assert math.isnan(metrics.unweighted_average_recall([], [], 4))


def test_uar_of_one_answer_is_chance() -> None:
    """Always saying the most frequent category earns one in the number of categories."""
    assert metrics.unweighted_average_recall(_TRUTH, [0] * 8, 3) == pytest.approx(1 / 3)


def test_macro_f1() -> None:
    """The mean of 6/7, 1/2 and 1/2."""
    assert metrics.macro_f1(_TRUTH, _SAID, 4) == pytest.approx((6 / 7 + 1) / 3)
    assert metrics.macro_f1(_TRUTH, _SAID, 4, [True, True, False, False]) == pytest.approx((6 / 7 + 0.5) / 2)


@pytest.mark.parametrize(
    ("truth", "said", "problem"),
    [
        ([0], [0, 1], "expected as many predictions"),
        ([2], [0], "truth must lie in 0 … 1"),
        ([0], [-1], "prediction must lie in 0 … 1"),
        ([0.5], [0], "truth must be a series of whole numbers"),
        ([[0]], [0], "truth must be a series of whole numbers"),
    ],
)
def test_bad_indices_are_refused(truth: Any, said: Any, problem: str) -> None:
    """Never a silent wrap-around."""
    with pytest.raises(ValueError, match=problem):
        metrics.confusion_matrix(truth, said, 2)


def test_expected_calibration_error_by_hand() -> None:
    """Two bins of two: |0.5 − 0.575| and |1 − 0.85|, weighted by half each."""
    posterior = [[0.55, 0.45], [0.6, 0.4], [0.8, 0.2], [0.9, 0.1]]
    assert metrics.expected_calibration_error(posterior, [0, 1, 0, 0], bins=2) == pytest.approx(0.1125)


def test_expected_calibration_error_of_a_sure_liar_is_one() -> None:
    """Fully confident and always wrong; more bins than clips do no harm."""
    assert metrics.expected_calibration_error([[1.0, 0.0]] * 3, [1, 1, 1]) == pytest.approx(1)


def test_expected_calibration_error_ignores_the_order_of_ties() -> None:
    """Clips of one confidence are interchangeable, whichever bin they fall into."""
    posterior = [[0.7, 0.3]] * 4
    a = metrics.expected_calibration_error(posterior, [0, 0, 1, 1], bins=2)
    b = metrics.expected_calibration_error(posterior, [0, 1, 0, 1], bins=2)
    assert a == b == pytest.approx(0.2)


def test_reliability_holds_every_clip_once() -> None:
    """Bins in rising order whose sizes differ by at most one; fewer bins than asked for where there are fewer clips."""
    bins = metrics.reliability([0.9, 0.5, 0.7, 0.6, 0.8], [True, False, True, True, False], bins=2)
    assert [count for _, _, count in bins] == [3, 2]
    assert bins[0][:2] == (pytest.approx(0.6), pytest.approx(2 / 3))
    assert len(metrics.reliability([0.5], [True])) == 1


def test_perfect_confidences_show_only_noise() -> None:
    """Sure ones none, doubtful ones the more the fewer clips; the same for the same seed."""
    assert metrics.perfect_calibration_error([1.0] * 30) == 0
    few, many = (metrics.perfect_calibration_error([0.7] * n) for n in (150, 6000))
    assert few > 3 * many > 0
    assert metrics.perfect_calibration_error([0.7] * 150, seed=0) == few


def test_log_loss_by_hand() -> None:
    """The mean of −ln 0.5 and −ln 0.1; a certain mistake is bounded."""
    expected = -(math.log(0.5) + math.log(0.1)) / 2
    assert metrics.log_loss([[0.5, 0.5], [0.1, 0.9]], [0, 0]) == pytest.approx(expected)
    assert metrics.log_loss([[0.0, 1.0]], [0]) == pytest.approx(-math.log(1e-12))


@given(
    st.lists(st.floats(0.01, 1), min_size=3, max_size=3), st.lists(st.floats(0.01, 1), min_size=3, max_size=3)
)
def test_jensen_shannon_is_a_symmetric_divergence(one: list[float], other: list[float]) -> None:
    """Between 0 and 1, 0 only for the same shares, the same both ways."""
    p, q = (np.array([v]) / np.sum(v) for v in (one, other))
    found = metrics.jensen_shannon(p, q)[0]
    assert 0 <= found <= 1
    assert found == pytest.approx(metrics.jensen_shannon(q, p)[0])
    assert metrics.jensen_shannon(p, p)[0] == pytest.approx(0, abs=1e-12)


def test_brier_score_by_hand() -> None:
    """The mean of 0.5² + 0.3² + 0.2² and 0.9² + 0.1² + 0.8²."""
    posterior = [[0.5, 0.3, 0.2], [0.1, 0.1, 0.8]]
    expected = ((0.25 + 0.09 + 0.04) + (0.81 + 0.01 + 0.64)) / 2
    assert metrics.brier_score(posterior, [0, 0]) == pytest.approx(expected)


@pytest.mark.parametrize(
    ("posterior", "truth"), [([], []), ([0.5, 0.5], [0]), ([[0.5, 0.5]], [0, 1]), ([[0.5, 0.5]], [2])]
)
def test_bad_posteriors_are_refused(posterior: Any, truth: Any) -> None:
    """Empty, flat, of another length, or with a truth outside."""
    with pytest.raises(ValueError, match=r"posterior|truth"):
        metrics.expected_calibration_error(posterior, truth)


def test_risk_coverage_by_hand() -> None:
    """Four clips, the second surest is wrong."""
    coverage, risk = metrics.risk_coverage_curve([0.9, 0.6, 0.8, 0.7], [True, True, False, True])
    np.testing.assert_allclose(coverage, [0.25, 0.5, 0.75, 1])
    np.testing.assert_allclose(risk, [0, 1 / 2, 1 / 3, 1 / 4])
    area = metrics.area_under_risk_coverage([0.9, 0.6, 0.8, 0.7], [True, True, False, True])
    assert area == pytest.approx((1 / 2 + 1 / 3 + 1 / 4) / 4)


def test_confidence_that_says_nothing_has_constant_risk() -> None:
    """With one confidence for all, every coverage errs as often."""
    _, risk = metrics.risk_coverage_curve([0.5] * 4, [True, False, True, False])
    np.testing.assert_allclose(risk, 0.5)
    with pytest.raises(ValueError, match="two series of one length"):
        metrics.risk_coverage_curve([0.5], [True, False])


@given(st.lists(st.tuples(st.floats(0, 1), st.booleans()), min_size=1, max_size=30))
def test_risk_ends_at_the_error_rate(clips: list[tuple[float, bool]]) -> None:
    """At full coverage the risk is the share of wrong clips, and coverage rises to one."""
    confidence, correct = zip(*clips, strict=True)
    coverage, risk = metrics.risk_coverage_curve(confidence, correct)
    assert risk[-1] == pytest.approx(1 - sum(correct) / len(correct))
    assert coverage[-1] == 1
    assert all(a < b for a, b in pairwise(coverage))


def test_concordance_by_hand() -> None:
    """Means 1 and 2, variances 2/3 each, covariance 2/3: 2·(2/3) / (4/3 + 1) = 4/7."""
    assert metrics.concordance_cc([0, 1, 2], [1, 2, 3]) == pytest.approx(4 / 7)
    assert metrics.concordance_cc([0, 1, 2], [0, 1, 2]) == pytest.approx(1)
    assert metrics.concordance_cc([0, 1, 2], [2, 1, 0]) == pytest.approx(-1)
    assert metrics.concordance_cc([0, 1, 2], [1, 1, 1]) == 0
    assert math.isnan(metrics.concordance_cc([1, 1], [1, 1]))
    with pytest.raises(ValueError, match="two series of one length"):
        metrics.concordance_cc([1, 2], [1])


def _mean_of(values: list[float]) -> Any:
    array = np.array(values)
    return lambda indices: float(array[indices].mean())


def test_bootstrap_draws_whole_speakers() -> None:
    """Two speakers, one always right and one always wrong: a draw is 0, ½ or 1, so the interval is [0, 1]."""
    seen: set[float] = set()

    def share(indices: Any) -> float:
        seen.add(float(np.array([1.0, 1.0, 0.0, 0.0])[indices].mean()))
        return float(np.array([1.0, 1.0, 0.0, 0.0])[indices].mean())

    assert metrics.bootstrap_by_speaker(share, ["a", "a", "b", "b"]) == (0.0, 1.0)
    assert seen == {0.0, 0.5, 1.0}


def test_bootstrap_repeats_and_holds_the_mean() -> None:
    """The same seed gives the same interval; a narrower level lies inside a wider one."""
    values = [float(n % 7) for n in range(60)]
    speakers = [f"s{n // 3}" for n in range(60)]
    wide = metrics.bootstrap_by_speaker(_mean_of(values), speakers, n=300, seed=4)
    assert wide == metrics.bootstrap_by_speaker(_mean_of(values), speakers, n=300, seed=4)
    narrow = metrics.bootstrap_by_speaker(_mean_of(values), speakers, n=300, seed=4, level=0.5)
    assert wide[0] < narrow[0] < np.mean(values) < narrow[1] < wide[1]


def test_bootstrap_over_one_speaker_has_no_interval() -> None:
    """One voice says nothing about others."""
    assert all(map(math.isnan, metrics.bootstrap_by_speaker(_mean_of([1, 0]), ["a", "a"])))


def test_bootstrap_leaves_out_draws_without_a_value() -> None:
    """A NaN statistic is skipped; if all are, there is no interval."""

    def undefined_without_first(indices: Any) -> float:
        return 1.0 if 0 in indices else float("nan")

    assert metrics.bootstrap_by_speaker(undefined_without_first, ["a", "b"], n=50) == (1.0, 1.0)
    never = metrics.bootstrap_by_speaker(lambda indices: float("nan"), ["a", "b"], n=5)
    assert all(map(math.isnan, never))
