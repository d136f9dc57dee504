"""95 % intervals by speaker for many figures at once: speakers are drawn once, every figure is taken of each draw.

The draws are those of `metrics.bootstrap_by_speaker` with the same seed. Figures of recall need only a confusion matrix
per speaker, means only a sum and a count per speaker; both are then matrix products instead of a thousand passes.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Reals = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Figure:
    """A value with its 95 % interval; None where there is one speaker only."""

    value: float
    low: float | None = None
    high: float | None = None


@dataclass(frozen=True, slots=True)
class Drawn:
    """A figure and its values over the draws of speakers, [n]; empty with one speaker."""

    value: float
    draws: Reals

    def figure(self) -> Figure:
        """The 2.5th and 97.5th percentiles of the draws that have a value."""
        known = self.draws[~np.isnan(self.draws)]
        if not len(known):
            return Figure(self.value)
        low, high = np.quantile(known, (0.025, 0.975))
        return Figure(self.value, float(low), float(high))

    def minus(self, other: Drawn) -> Drawn:
        """The difference, draw by draw: paired where both are of the same speakers, in the same draws."""
        both = min(len(self.draws), len(other.draws))
        return Drawn(self.value - other.value, self.draws[:both] - other.draws[:both])


def mean_of(parts: Sequence[Drawn]) -> Drawn:
    """The mean of several figures; sets without draws of their own (one speaker) count with their value alone.

    Raises:
        ValueError: of nothing.
    """
    if not parts:
        raise ValueError("expected at least one figure")
    value = float(np.mean([part.value for part in parts]))
    length = max(len(part.draws) for part in parts)
    rows = [part.draws if len(part.draws) else np.full(length, part.value) for part in parts]
    return Drawn(value, np.mean(rows, axis=0) if length else np.zeros(0))


class SpeakerDraws:
    """Which speakers each draw holds, and how often."""

    def __init__(self, speakers: Sequence[str], n: int, seed: int) -> None:
        self.names, self.of_row = np.unique(np.asarray(speakers), return_inverse=True)
        count = len(self.names)
        drawn = np.random.default_rng(seed).integers(count, size=(n if count > 1 else 0, count))
        self.times: Reals = np.zeros((len(drawn), count))
        np.add.at(self.times, (np.arange(len(drawn))[:, None], drawn), 1)

    def mean(self, values: npt.ArrayLike, rows: npt.NDArray[np.int64] | None = None) -> Drawn:
        """Mean of values [M] over rows; `rows` says which row of the set each value is of (None: all in turn)."""
        numbers = np.asarray(values, np.float64)
        who = self.of_row if rows is None else self.of_row[rows]
        sums = np.bincount(who, weights=numbers, minlength=len(self.names))
        counts = np.bincount(who, minlength=len(self.names))
        with np.errstate(invalid="ignore"):
            return Drawn(float(numbers.mean()), (self.times @ sums) / (self.times @ counts))

    def confusions(
        self,
        truth: npt.NDArray[np.int64],
        prediction: npt.NDArray[np.int64],
        categories: int,
        rows: npt.NDArray[np.int64] | None = None,
    ) -> tuple[Reals, Reals]:
        """Confusion matrix [C, C] of all, and of every draw [n, C, C]; rows: truth."""
        who = self.of_row if rows is None else self.of_row[rows]
        flat = (who * categories + truth) * categories + prediction
        by_speaker = np.bincount(flat, minlength=len(self.names) * categories**2).reshape(-1, categories**2)
        shape = (-1, categories, categories)
        whole: Reals = by_speaker.sum(axis=0).reshape(categories, categories).astype(np.float64)
        return whole, (self.times @ by_speaker).reshape(shape)


def recall_mean(confusion: Reals) -> Reals:
    """UAR of matrices [..., C, C] over the categories that have clips; NaN without any."""
    return _mean_present(_divide(_diagonal(confusion), confusion.sum(axis=-1)))


def f1_mean(confusion: Reals) -> Reals:
    """Macro-F1 of matrices [..., C, C], as `metrics.macro_f1` has it."""
    actual, said = confusion.sum(axis=-1), confusion.sum(axis=-2)
    f1 = _divide(2 * _diagonal(confusion), actual + said)
    return _mean_present(np.where(actual > 0, f1, np.nan))


def uar(confusions: tuple[Reals, Reals]) -> Drawn:
    """UAR with its draws."""
    return Drawn(float(recall_mean(confusions[0])), recall_mean(confusions[1]))


def macro_f1(confusions: tuple[Reals, Reals]) -> Drawn:
    """Macro-F1 with its draws."""
    return Drawn(float(f1_mean(confusions[0])), f1_mean(confusions[1]))


def recall(confusions: tuple[Reals, Reals], category: int) -> Drawn:
    """One category's recall with its draws."""
    values = [_divide(_diagonal(c), c.sum(axis=-1))[..., category] for c in confusions]
    return Drawn(float(values[0]), values[1])


def _diagonal(confusion: Reals) -> Reals:
    return np.asarray(np.diagonal(confusion, axis1=-2, axis2=-1), np.float64)


def _divide(part: Reals, whole: Reals) -> Reals:
    out: Reals = np.full(part.shape, np.nan)
    np.divide(part, whole, out=out, where=whole > 0)
    return out


def _mean_present(values: Reals) -> Reals:
    present = ~np.isnan(values)
    count = present.sum(axis=-1)
    total = np.where(present, values, 0.0).sum(axis=-1)
    return _divide(np.asarray(total), np.asarray(count, np.float64))
