"""Calibration is told from noise, and abstention is measured as it is served."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from tests.training import made
from training import metrics
from training.evaluation_sets import EvaluationSet
from training.measure_calibration import (
    POOLED,
    Answers,
    answers,
    calibration_row,
    draw_mean_ece,
    ece_interval,
    in_corpus,
    measure_calibration,
    pooled,
    risk_coverage,
)
from training.measurer import Embedded, EvaluateConfig, Judged

CONFIG = EvaluateConfig(bootstrap=60, baselines=())
HEAD: Any = SimpleNamespace(calibration=SimpleNamespace(temperature=2.0))


def embedded(truth: list[int], speakers: list[str], held: tuple[int, ...] = (0, 1, 2)) -> Embedded:
    """Clips of these categories; the set holds `held`."""
    allowed = np.isin(np.arange(7), held)
    count = len(truth)
    clips = [made.clip(id=str(i), speaker=s) for i, s in enumerate(speakers)]
    return Embedded(
        np.zeros((count, 4), np.float32),
        np.array(truth),
        speakers,
        clips,
        np.tile(allowed, (count, 1)),
        np.arange(count),
    )


def calibrated(seed: int, count: int = 3000, shift: float = 0.0, draws: int = 1) -> Answers:
    """Answers whose correctness follows their confidence, less a shift."""
    rng = np.random.default_rng(seed)
    sure = rng.uniform(0.4, 0.95, count)
    right = rng.random(count) < sure - shift
    return Answers(
        sure, right, sure, right, sure, right, np.zeros(count), np.zeros(count),
        np.arange(count) % draws, np.arange(count) // draws, np.array([f"s{i % 8}" for i in range(count)]),
    )  # fmt: skip


def test_two_posteriors() -> None:
    """Over the set's own categories, where a foreign one can't win, and over all, where it can."""
    data = embedded([0, 1], ["a", "b"])
    logits = np.array([[4, 0, 0, 0, 0, 0, 0], [0, 2, 0, 0, 0, 0, 6]], np.float32)
    found = answers(data, Judged(np.arange(2), logits, np.zeros(2, np.int64)), HEAD)
    assert found.correct.tolist() == [True, True]
    assert found.served_correct.tolist() == [True, False]
    own = np.exp([2.0, 0, 0]) / np.exp([2.0, 0, 0]).sum()
    assert found.confidence[0] == pytest.approx(own[0])
    assert found.nll[0] == pytest.approx(-np.log(own[0]))
    assert found.brier[0] == pytest.approx((1 - own[0]) ** 2 + 2 * own[1] ** 2)


def test_exact_confidences_are_as_noisy_as_expected() -> None:
    """Their ECE lies near what simulation says, and that of confidences 0.2 too high far above."""
    good, bad = calibrated(0), calibrated(0, shift=0.2)
    expected = metrics.perfect_calibration_error(good.confidence)
    assert draw_mean_ece(good, good.confidence, good.correct) == pytest.approx(expected, abs=0.015)
    assert draw_mean_ece(bad, bad.confidence, bad.correct) == pytest.approx(0.2, abs=0.03)


def test_small_sets_look_miscalibrated() -> None:
    """With 300 clips in 15 bins exact confidences already show about 0.06; with 3,000 about 0.02."""
    few, many = (metrics.perfect_calibration_error(calibrated(1, n).confidence) for n in (300, 3000))
    assert 0.045 < few < 0.085
    assert 0.012 < many < 0.03


def test_the_interval_lies_around_the_value() -> None:
    """Resampling alone would push it up; one speaker has none."""
    found = ece_interval(calibrated(2, 600, shift=0.1), CONFIG)
    assert found.low is not None
    assert found.high is not None
    assert found.low <= found.value <= found.high
    alone = calibrated(2, 50)
    single = Answers(
        *(getattr(alone, n) for n in alone.__slots__ if n != "speakers"), speakers=np.array(["a"] * 50)
    )
    assert ece_interval(single, CONFIG).low is None


def test_clips_count_once_a_draw() -> None:
    """The mean over draws of each draw's ECE, and the number of clips, not of predictions."""
    given = calibrated(3, 400, draws=4)
    each = [
        metrics.calibration_error(given.confidence[given.draw == d], given.correct[given.draw == d])
        for d in range(4)
    ]
    row = calibration_row("x", 50, given, CONFIG)
    assert row["ece"] == pytest.approx(np.mean(each))
    assert row["n"] == 100
    assert sum(count for _, _, count in row["reliability"]) == 400


def test_pooling_keeps_clips_and_draws_apart() -> None:
    """Rows of the second set follow those of the first; a set of one draw counts in every draw."""
    one, other = calibrated(4, 40, draws=2), calibrated(5, 10)
    both = pooled([one, other])
    assert len(both.confidence) == 40 + 2 * 10
    assert len(np.unique(both.rows)) == 20 + 10
    assert [(both.draw == d).sum() for d in (0, 1)] == [30, 30]


def test_what_is_in_corpus() -> None:
    """Test sets of corpora that training knows; not the cross set, nor one by intent."""
    sets = [
        EvaluationSet("a", "x", "test", "", ()),
        EvaluationSet("b", "y", "cross", "", ()),
        EvaluationSet("c", "x", "test", "", (), intent=True),
    ]
    found = {name: calibrated(i, 20) for i, name in enumerate("abc")}
    whole = in_corpus(found, sets)
    assert whole is not None
    assert np.array_equal(whole.confidence, found["a"].confidence)
    assert in_corpus({"b": found["b"]}, sets) is None
    rows, curves = measure_calibration({0: found, 50: {"a": found["a"]}}, sets, 0.6, CONFIG)
    assert [(r["set"], r["profile_n"]) for r in rows] == [
        *((name, 0) for name in ("a", "b", "c", POOLED)),
        ("a", 50),
        (POOLED, 50),
    ]
    assert set(curves) == {"a", "b", "c", POOLED}


def test_the_shipped_threshold_on_the_curve() -> None:
    """Coverage: the share at or above it; risk: what is wrong of that; nothing answered, no risk."""
    given = calibrated(6, 500)
    at = risk_coverage(given, 0.7, CONFIG)
    answered = given.served >= 0.7
    assert at["coverage"] == pytest.approx(answered.mean())
    assert at["risk"] == pytest.approx(1 - given.served_correct[answered].mean())
    assert at["points"][-1] == (1.0, pytest.approx(1 - given.served_correct.mean()))
    assert at["risk_interval"][0] <= at["risk"] <= at["risk_interval"][1]
    assert risk_coverage(given, 0.99, CONFIG)["risk"] is None
