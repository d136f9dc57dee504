"""Simulated lines and legs are made of the right utterances, never of the one that is judged."""

from __future__ import annotations

import numpy as np
import pytest

from training.corpora.emospeech_in import CROWD
from training.corpora.labels import CATEGORIES
from training.data.legs import (
    EmbeddingTable,
    LegKind,
    LegSimulator,
    LineSimulator,
    population_of,
)

NEUTRAL = CATEGORIES.index("neutral")


def table() -> EmbeddingTable:
    """28 clips whose embedding is one-hot: a mean over clips tells which clips it is of, and how often.

    Speaker a: four of each category; b: one clip; the crowd: one clip of each.
    """
    category = [*(list(range(7)) * 4), 0, *range(7)]
    speaker = ["a"] * 28 + ["b"] + [CROWD] * 7
    corpus = ["one"] * 29 + ["two"] * 7
    return EmbeddingTable(
        np.eye(36, dtype=np.float32)[None], np.array(category), np.array(corpus), np.array(speaker)
    )


@pytest.mark.parametrize("kind", list(LegKind))
def test_a_leg_never_holds_the_clip_itself(kind: LegKind) -> None:
    """Its own embedding in the leg would give the answer away; others of the same speaker only."""
    legs, rng = LegSimulator(table()), np.random.default_rng(0)
    for clip in (0, 5, 4, 27):
        mean = legs.draw(clip, kind, 200, rng)
        assert mean is not None
        assert mean[clip] == 0
        assert mean[28:].sum() == 0
        assert mean.sum() == pytest.approx(1, abs=1e-5)


def test_a_constant_leg_is_of_the_clips_own_category() -> None:
    """A caller who is angry from the first word."""
    data = table()
    mean = LegSimulator(data).draw(0, LegKind.CONSTANT, 100, np.random.default_rng(0))
    assert mean is not None
    assert set(data.category[np.flatnonzero(mean)]) == {0}


def test_a_mostly_neutral_leg() -> None:
    """About four fifths of the utterances are neutral."""
    data = table()
    mean = LegSimulator(data).draw(0, LegKind.MOSTLY_NEUTRAL, 4_000, np.random.default_rng(0))
    assert mean is not None
    assert mean[:28][data.category[:28] == NEUTRAL].sum() == pytest.approx(0.8, abs=0.03)


def test_a_balanced_leg() -> None:
    """Every category alike, though the clip's own has one clip less."""
    data = table()
    mean = LegSimulator(data).draw(0, LegKind.BALANCED, 7_000, np.random.default_rng(0))
    assert mean is not None
    shares = [mean[:28][data.category[:28] == c].sum() for c in range(7)]
    assert shares == pytest.approx([1 / 7] * 7, abs=0.02)


def test_some_clips_have_no_leg() -> None:
    """A crowd is not one speaker; nor is there a leg of a speaker with one clip, or a neutral one without neutral."""
    legs, rng = LegSimulator(table()), np.random.default_rng(0)
    for kind in LegKind:
        assert legs.draw(30, kind, 5, rng) is None
        assert legs.draw(28, kind, 5, rng) is None
    data = table()
    few = EmbeddingTable(data.vectors[:, :3], data.category[:3], data.corpus[:3], data.speaker[:3])
    assert LegSimulator(few).draw(0, LegKind.MOSTLY_NEUTRAL, 5, rng) is None
    assert LegSimulator(few).draw(0, LegKind.CONSTANT, 5, rng) is None


def test_every_corpus_counts_alike_in_the_population() -> None:
    """29 clips of one corpus and 7 of another: the mean of the two means."""
    data = table()
    population = population_of(data, 10.0)
    expected = (data.vectors[0, :29].mean(axis=0) + data.vectors[0, 29:].mean(axis=0)) / 2
    np.testing.assert_allclose(population.mean, expected, atol=1e-6)
    assert (population.var > 0).all()


def test_a_cold_line_is_the_population() -> None:
    """Nothing heard: the population's mean and deviation."""
    population = population_of(table(), 10.0)
    mean, std = LineSimulator(table(), population).cold()
    np.testing.assert_allclose(mean, population.mean, atol=1e-6)
    np.testing.assert_allclose(std, np.sqrt(population.var), rtol=1e-5)


@pytest.mark.parametrize("uneven", [False, True])
def test_a_line_is_of_its_own_corpus(uneven: bool) -> None:
    """The more is heard, the further from the population and the nearer to the corpus it is, of which alone it is."""
    data = table()
    lines = LineSimulator(data, population_of(data, 10.0))
    mean, std = lines.draw("two", 500, np.random.default_rng(0), uneven=uneven)
    weight = 500 / 510
    shrunk = (1 - weight) * population_of(data, 10.0).mean
    np.testing.assert_allclose((mean - shrunk)[:29], 0, atol=1e-6)
    assert (mean - shrunk)[29:].sum() == pytest.approx(weight, abs=1e-4)
    assert (std > 0).all()
    if uneven:
        assert (mean - shrunk)[29:].max() > 0.2
