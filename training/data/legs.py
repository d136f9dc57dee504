"""Simulated lines and legs over a table of embeddings: what the head must learn to stand.

A line profile is the mean and variance of some utterances of the clip's own corpus, few or many, balanced or not.
A leg is some other utterances of the clip's own speaker: balanced over categories, mostly neutral, or all of the
clip's category.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

import numpy as np
import numpy.typing as npt

from app.inference.line_profile import shrink
from training.corpora.emospeech_in import CROWD
from training.corpora.labels import CATEGORIES

Floats = npt.NDArray[np.float32]
NEUTRAL = CATEGORIES.index("neutral")
CROWDS = frozenset({CROWD})
"""Speakers that are many people: no leg can be made of them."""


class LegKind(StrEnum):
    """How a simulated caller's emotions are spread."""

    BALANCED = "balanced"
    MOSTLY_NEUTRAL = "mostly_neutral"
    CONSTANT = "constant"


@dataclass(frozen=True, slots=True)
class EmbeddingTable:
    """Embeddings of clips and what is known of them.

    vectors: float32 [V, N, D], V renderings; a clip that a rendering lacks repeats the plain one. category: int [N],
    -1 unknown. corpus, speaker: text [N].
    """

    vectors: Floats
    category: npt.NDArray[np.int64]
    corpus: npt.NDArray[np.str_]
    speaker: npt.NDArray[np.str_]


@dataclass(frozen=True, slots=True)
class Population:
    """Mean and variance over lines: the average of the corpora's means, and of their variances."""

    mean: Floats
    var: Floats
    prior_n: float


def population_of(table: EmbeddingTable, prior_n: float) -> Population:
    """Every corpus counts alike, whatever its size."""
    parts = [
        table.vectors[:, table.corpus == name].reshape(-1, table.vectors.shape[2])
        for name in np.unique(table.corpus)
    ]
    means = np.mean([p.mean(axis=0) for p in parts], axis=0)
    variances = np.mean([p.var(axis=0) for p in parts], axis=0)
    return Population(means.astype(np.float32), np.maximum(variances, 1e-6).astype(np.float32), prior_n)


class LineSimulator:
    """Draws line profiles of a corpus."""

    def __init__(self, table: EmbeddingTable, population: Population) -> None:
        self._table, self._population = table, population
        self._members = {name: np.flatnonzero(table.corpus == name) for name in np.unique(table.corpus)}

    def draw(self, corpus: str, n: int, rng: np.random.Generator, *, uneven: bool) -> tuple[Floats, Floats]:
        """Shrunk (mean, std) of n random utterances of a corpus; uneven skews their categories at random."""
        table, members = self._table, self._members[corpus]
        weights = np.ones(len(members))
        if uneven:
            liking = rng.dirichlet(np.full(len(CATEGORIES) + 1, 0.6)) + 1e-4
            weights = liking[table.category[members]]
        chosen = rng.choice(members, size=n, p=weights / weights.sum())
        rows = table.vectors[rng.integers(len(table.vectors), size=n), chosen]
        p = self._population
        return shrink(n, rows.mean(axis=0), rows.var(axis=0), p.mean, p.var, p.prior_n)

    def cold(self) -> tuple[Floats, Floats]:
        """The profile of a line that nobody has heard yet."""
        p = self._population
        return shrink(0, p.mean, p.var, p.mean, p.var, p.prior_n)


class LegSimulator:
    """Draws earlier utterances of the same speaker."""

    def __init__(self, table: EmbeddingTable) -> None:
        self._table = table
        self._members: Mapping[str, npt.NDArray[np.int64]] = {
            str(name): np.flatnonzero(table.speaker == name)
            for name in np.unique(table.speaker)
            if name not in CROWDS
        }

    def draw(self, clip: int, kind: LegKind, n: int, rng: np.random.Generator) -> Floats | None:
        """Mean embedding of n other utterances of the clip's speaker; None where the kind can't be had."""
        table = self._table
        members = self._members.get(str(table.speaker[clip]), np.zeros(0, np.int64))
        members = members[members != clip]
        weights = self._weights(members, int(table.category[clip]), kind)
        if len(members) == 0 or weights.sum() == 0:
            return None
        chosen = rng.choice(members, size=n, p=weights / weights.sum())
        rows = table.vectors[rng.integers(len(table.vectors), size=n), chosen]
        mean: Floats = rows.mean(axis=0).astype(np.float32)
        return mean

    def draw_all(self, kind: LegKind, n: int, rng: np.random.Generator) -> tuple[Floats, Floats]:
        """For every clip of the table in turn: mean [N, D] and count [N] of such a leg, zeros where none can be had."""
        drawn = [self.draw(clip, kind, n, rng) for clip in range(len(self._table.corpus))]
        blank = np.zeros(self._table.vectors.shape[2], np.float32)
        means = np.stack([blank if leg is None else leg for leg in drawn])
        return means, np.array([0 if leg is None else n for leg in drawn], np.float32)

    def _weights(self, members: npt.NDArray[np.int64], own: int, kind: LegKind) -> npt.NDArray[np.float64]:
        category = self._table.category[members]
        if kind is LegKind.CONSTANT:
            return np.asarray(category == own, dtype=np.float64)
        counts = np.bincount(category + 1, minlength=len(CATEGORIES) + 1)
        weights = 1.0 / np.maximum(counts[category + 1], 1)
        if kind is LegKind.MOSTLY_NEUTRAL:
            if not (category == NEUTRAL).any():
                return np.zeros(len(members))
            neutral = category == NEUTRAL
            others = max(float(weights[~neutral].sum()), 1e-9)
            weights = np.where(neutral, 0.8 / neutral.sum(), 0.2 * weights / others)
        return np.asarray(weights)
