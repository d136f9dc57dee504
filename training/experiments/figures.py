"""UAR over several sets with intervals by speaker, and paired differences between arms that heard the same clips."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from training.corpora.labels import CATEGORIES

IntArray = npt.NDArray[np.int64]
RealArray = npt.NDArray[np.float64]

MEAN = "mean"
"""Name of the figure over all sets that count in the mean."""
DRAWS = 1000
LEVEL = 0.95


@dataclass(frozen=True, slots=True)
class Figure:
    """A value with its 95 % interval; low and high are None where one voice says nothing about others."""

    value: float
    low: float | None
    high: float | None
    n: int
    speakers: int

    def plain(self) -> dict[str, Any]:
        """As JSON has it."""
        return {
            "value": round(self.value, 4),
            "low": None if self.low is None else round(self.low, 4),
            "high": None if self.high is None else round(self.high, 4),
            "n": self.n,
            "speakers": self.speakers,
        }


@dataclass(frozen=True, slots=True)
class Answers:
    """What an arm said of one set's clips.

    truth: int [N]; prediction: int [S, N], a row a seed; speakers: of each clip; in_mean: whether the set counts in
    the mean over sets.
    """

    truth: IntArray
    prediction: IntArray
    speakers: tuple[str, ...]
    in_mean: bool = True

    def plain(self) -> dict[str, Any]:
        """As JSON has it."""
        return {
            "truth": self.truth.tolist(),
            "prediction": self.prediction.tolist(),
            "speakers": list(self.speakers),
            "in_mean": self.in_mean,
        }

    @staticmethod
    def read(data: Mapping[str, Any]) -> Answers:
        """What `plain` wrote."""
        return Answers(
            np.array(data["truth"], np.int64),
            np.array(data["prediction"], np.int64),
            tuple(data["speakers"]),
            data["in_mean"],
        )


def joined(parts: Sequence[Answers]) -> Answers:
    """One arm's answers with every seed's in a row of its own.

    Raises:
        ValueError: the seeds did not hear the same clips.
    """
    first = parts[0]
    for other in parts[1:]:
        _check_same_clips(first, other)
    rows = np.concatenate([part.prediction for part in parts])
    return Answers(first.truth, rows, first.speakers, first.in_mean)


def uar(sets: Mapping[str, Answers]) -> dict[str, Figure]:
    """UAR of every set, averaged over seeds, and of their mean."""
    return _figures(sets, {name: _Tally.of(a, name) for name, a in sets.items()}, None)


def difference(sets: Mapping[str, Answers], reference: Mapping[str, Answers]) -> dict[str, Figure]:
    """UAR minus the reference's, paired: each draw takes the same speakers for both.

    Raises:
        ValueError: the two did not hear the same clips.
    """
    both = {name: answers for name, answers in sets.items() if name in reference}
    for name, answers in both.items():
        _check_same_clips(answers, reference[name])
    mine = {name: _Tally.of(answers, name) for name, answers in both.items()}
    return _figures(both, mine, {name: _Tally.of(reference[name], name) for name in both})


@dataclass(frozen=True, slots=True)
class _Tally:
    """hits [S, P, C] and totals [P, C] of P speakers; weights [draws + 1, P]: times each is drawn, first all once."""

    hits: RealArray
    totals: RealArray
    weights: RealArray

    @staticmethod
    def of(answers: Answers, name: str) -> _Tally:
        names, who = np.unique(np.array(answers.speakers), return_inverse=True)
        shape = len(names), len(CATEGORIES)
        totals = np.zeros(shape)
        np.add.at(totals, (who, answers.truth), 1)
        hits = np.zeros((len(answers.prediction), *shape))
        for row, prediction in zip(hits, answers.prediction, strict=True):
            right = prediction == answers.truth
            np.add.at(row, (who[right], answers.truth[right]), 1)
        # From the set's name: its draws are the same whatever other sets there are.
        rng = np.random.default_rng([*name.encode()])
        drawn = rng.multinomial(len(names), np.full(len(names), 1 / len(names)), size=DRAWS)
        return _Tally(hits, totals, np.concatenate([np.ones((1, len(names))), drawn]))

    def uar(self) -> RealArray:
        """Mean recall over the categories that a draw holds, averaged over seeds [draws + 1]."""
        totals = self.weights @ self.totals
        recall = np.where(totals > 0, (self.weights @ self.hits) / np.maximum(totals, 1), np.nan)
        return np.asarray(np.nanmean(recall, axis=2).mean(axis=0))


def _figures(
    sets: Mapping[str, Answers], mine: Mapping[str, _Tally], other: Mapping[str, _Tally] | None
) -> dict[str, Figure]:
    draws = {name: t.uar() - (0.0 if other is None else other[name].uar()) for name, t in mine.items()}
    found = {name: _figure(draws[name], [answers]) for name, answers in sets.items()}
    counted = [name for name, answers in sets.items() if answers.in_mean]
    if len(counted) > 1:
        mean = np.mean([draws[name] for name in counted], axis=0)
        found = {MEAN: _figure(mean, [sets[name] for name in counted]), **found}
    return found


def _figure(draws: RealArray, sets: Sequence[Answers]) -> Figure:
    speakers = [len(set(answers.speakers)) for answers in sets]
    low, high = np.quantile(draws[1:], [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    alone = max(speakers) < 2
    return Figure(
        float(draws[0]),
        None if alone else float(low),
        None if alone else float(high),
        sum(len(answers.truth) for answers in sets),
        sum(speakers),
    )


def _check_same_clips(one: Answers, other: Answers) -> None:
    if one.speakers != other.speakers or not np.array_equal(one.truth, other.truth):
        raise ValueError(
            f"expected answers about the same clips, got {len(one.truth)} and {len(other.truth)} that differ"
        )
