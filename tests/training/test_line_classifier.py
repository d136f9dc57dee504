"""The training-time classifier: statistics of lines, views of them, label smoothing, dropped tokens, hits."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor

from training.line_classifier import (
    CorpusNorm,
    LineClassifier,
    drop_mask,
    hit_rate,
    judge,
    smooth,
    statistics_row,
)


def test_corpora_are_standardised_by_their_own_statistics() -> None:
    """In its own row each corpus has zero mean and unit variance; in the last one the mixture of them has."""
    norm, generator = CorpusNorm(2, 3), torch.Generator().manual_seed(0)

    def drawn() -> tuple[Tensor, Tensor]:
        corpus = torch.arange(64) % 2
        x = torch.randn(64, 3, generator=generator)
        return torch.where(corpus[:, None] == 0, 2 * x + 5, x - 5), corpus

    for _ in range(300):
        norm.learn(*drawn())
    embedding, corpus = drawn()
    own = norm(embedding, corpus)
    for number in (0, 1):
        assert float(own[corpus == number].mean()) == pytest.approx(0, abs=0.3)
        assert float(own[corpus == number].std()) == pytest.approx(1, abs=0.2)
    mixed = norm(embedding, torch.full((64,), 2))
    assert float(mixed.mean()) == pytest.approx(0, abs=0.3)
    assert float(mixed[corpus == 0].mean()) > 0.8


def test_statistics_of_few_rows_are_not_learned() -> None:
    """Fewer than four rows of a corpus say nothing about its spread."""
    norm = CorpusNorm(2, 3)
    norm.learn(torch.randn(3, 3), torch.zeros(3, dtype=torch.int64))
    assert not norm.mean.any()


def test_rows_of_statistics() -> None:
    """Chance 0 is always the population, chance 1 always the own corpus."""
    corpus = torch.tensor([0, 1, 0])
    assert statistics_row(corpus, 2, 0.0).tolist() == [2, 2, 2]
    assert statistics_row(corpus, 2, 1.0).tolist() == [0, 1, 0]


def test_smoothing_stays_among_the_allowed() -> None:
    """0.1 of a hard label over two allowed categories: 0.95 and 0.05, nothing for the third."""
    label = torch.tensor([[1.0, 0.0, 0.0]])
    allowed = torch.tensor([[True, True, False]])
    torch.testing.assert_close(smooth(label, allowed, 0.1), torch.tensor([[0.95, 0.05, 0.0]]))


def test_dropped_tokens_repeat_with_torchs_seed() -> None:
    """The mask comes from the step's seed; a ratio of 0 is no mask."""
    valid = torch.ones(2, 30, dtype=torch.bool)
    torch.manual_seed(5)
    one = drop_mask(valid, 0.3)
    torch.manual_seed(5)
    other = drop_mask(valid, 0.3)
    assert one is not None
    assert other is not None
    assert torch.equal(one, other)
    assert 0 < int(one.sum()) < 60
    assert drop_mask(valid, 0.0) is None


def test_hits_are_judged_among_the_allowed() -> None:
    """The largest logit is of a category that the corpus lacks: the next one counts."""
    batch = {"label": torch.eye(3)[[1, 0]], "allowed": torch.tensor([[True, True, False]] * 2)}
    assert float(hit_rate(torch.tensor([[0.0, 1.0, 9.0], [0.0, 1.0, 9.0]]), batch)) == 0.5


def test_a_judgement_shows_both_views() -> None:
    """Two corpora far apart: of its own line every corpus is centred, seen cold the two lie on either side."""
    rng = np.random.default_rng(0)
    table = rng.standard_normal((40, 3)).astype(np.float32)
    table[20:] += 10
    classifier = LineClassifier(2, 3, 0.0)
    heard = np.ones(40, dtype=np.bool_)
    logits = judge(classifier.categories, table, heard, ["a"] * 20 + ["b"] * 20)
    assert logits.shape == (2, 40, classifier.categories.out_features)
    bias = classifier.categories.bias.detach().numpy()
    np.testing.assert_allclose(logits[1, :20].mean(axis=0), bias, atol=1e-3)
    assert not np.allclose(logits[0, :20].mean(axis=0), bias, atol=0.05)
