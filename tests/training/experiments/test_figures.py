"""Figures of several sets: hand-computed values, intervals that see speakers, differences that are paired."""

from __future__ import annotations

import numpy as np
import pytest

from training.experiments.figures import MEAN, Answers, difference, joined, uar
from training.metrics import unweighted_average_recall


def answers(truth: list[int], prediction: list[int], speakers: str, *, in_mean: bool = True) -> Answers:
    """One seed's; speakers: a letter a clip."""
    return Answers(np.array(truth), np.array([prediction]), tuple(speakers), in_mean)


def random_answers(seed: int, right: float, speakers: int = 6, each: int = 20) -> Answers:
    """Answers of which about `right` are."""
    rng = np.random.default_rng(seed)
    truth = rng.integers(0, 4, size=speakers * each)
    hit = rng.random(len(truth)) < right
    names = tuple(f"s{i // each}" for i in range(len(truth)))
    return Answers(truth, np.where(hit, truth, (truth + 1) % 4)[None], names)


def test_uar_is_the_mean_recall() -> None:
    """Each set's value is the UAR of `training.metrics`, and the mean is over the sets that count."""
    sets = {
        "one": answers([0, 0, 1, 1], [0, 1, 1, 1], "abab"),
        "two": answers([2, 3], [2, 2], "ab"),
        "cross": answers([0, 1], [1, 0], "cd", in_mean=False),
    }
    found = uar(sets)
    assert {name: f.value for name, f in found.items()} == {
        MEAN: 0.625,
        "one": 0.75,
        "two": 0.5,
        "cross": 0.0,
    }
    assert (found[MEAN].n, found[MEAN].speakers) == (6, 4)


@pytest.mark.parametrize("seed", range(3))
def test_uar_agrees_with_the_metric(seed: int) -> None:
    """Counting by speaker and counting clips give one value."""
    given = random_answers(seed, 0.6)
    expected = unweighted_average_recall(given.truth, given.prediction[0], 7)
    assert uar({"set": given})["set"].value == pytest.approx(expected)


def test_intervals_hold_the_value_and_repeat() -> None:
    """The interval is the same every time and does not depend on which other sets there are."""
    given = random_answers(0, 0.6)
    alone = uar({"set": given})["set"]
    beside = uar({"other": random_answers(1, 0.5), "set": given})["set"]
    assert alone == beside
    assert alone.low is not None
    assert alone.high is not None
    assert alone.low < alone.value < alone.high


def test_one_speaker_has_no_interval() -> None:
    """One voice says nothing about others."""
    found = uar({"set": answers([0, 1], [0, 0], "aa")})["set"]
    assert (found.value, found.low, found.high, found.speakers) == (0.5, None, None, 1)


def test_differences_are_paired() -> None:
    """Two arms that are wrong on the same hard speakers differ with far less doubt than each has alone."""
    good = random_answers(0, 0.9)
    hard = np.array([name in ("s0", "s1") for name in good.speakers])
    wrong = (good.truth + 1) % 4
    one = Answers(good.truth, np.where(hard, wrong, good.truth)[None], good.speakers)
    place = np.arange(len(good.truth)) % 20
    other = Answers(good.truth, np.where(hard | (place == 3), wrong, good.truth)[None], good.speakers)
    alone, apart = uar({"set": one})["set"], difference({"set": one}, {"set": other})["set"]
    assert None not in (alone.low, alone.high, apart.low, apart.high)
    assert (apart.high or 0) - (apart.low or 0) < 0.5 * ((alone.high or 0) - (alone.low or 0))
    assert (apart.low or 0) > 0


def test_an_arm_does_not_differ_from_itself() -> None:
    """Zero, with an interval of zero width."""
    same = random_answers(2, 0.7)
    found = difference({"set": same}, {"set": same})["set"]
    assert (found.value, found.low, found.high) == (0, 0, 0)


def test_seeds_are_averaged() -> None:
    """One seed all right, one all wrong: half, whatever the draw."""
    right, wrong = answers([0, 1], [0, 1], "ab"), answers([0, 1], [1, 0], "ab")
    found = uar({"set": joined([right, wrong])})["set"]
    assert (found.value, found.low, found.high) == (0.5, 0.5, 0.5)


def test_answers_about_other_clips_are_refused() -> None:
    """Neither seeds nor arms are mixed when the clips differ."""
    one, other = answers([0, 1], [0, 1], "ab"), answers([1, 1], [0, 1], "ab")
    with pytest.raises(ValueError, match="same clips"):
        joined([one, other])
    with pytest.raises(ValueError, match="same clips"):
        difference({"set": one}, {"set": other})


def test_answers_survive_json() -> None:
    """What is written is read back."""
    given = random_answers(3, 0.5)
    back = Answers.read(given.plain())
    assert np.array_equal(back.truth, given.truth)
    assert np.array_equal(back.prediction, given.prediction)
    assert (back.speakers, back.in_mean) == (given.speakers, given.in_mean)
