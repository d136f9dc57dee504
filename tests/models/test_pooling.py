"""Pooling weighs content only, and its weights can be shown to people."""

from __future__ import annotations

import pytest
import torch

from models.pooling import AttentivePooling
from models.student import lengths_to_valid


@pytest.fixture
def pool() -> AttentivePooling:
    """An untrained pooling layer."""
    torch.manual_seed(0)
    return AttentivePooling(6, 4).eval()


def test_weights_sum_to_one_over_content(pool: AttentivePooling) -> None:
    """Saliences are a distribution over the valid frames, exactly zero elsewhere."""
    valid = lengths_to_valid(torch.tensor([1, 5, 3]), 5)
    embedding, salience = pool(torch.randn(3, 5, 6), valid)
    assert embedding.shape == (3, 4)
    torch.testing.assert_close(salience.sum(dim=1), torch.ones(3))
    assert bool((salience[~valid] == 0).all())
    assert bool((salience >= 0).all())


def test_padding_changes_nothing(pool: AttentivePooling) -> None:
    """A padded row has the embedding that it has alone."""
    frames = torch.randn(2, 7, 6)
    together, _ = pool(frames, lengths_to_valid(torch.tensor([4, 7]), 7))
    alone, _ = pool(frames[:1, :4], torch.ones(1, 4, dtype=torch.bool))
    torch.testing.assert_close(together[:1], alone)


def test_mean_and_deviation_are_the_weighted_ones(pool: AttentivePooling) -> None:
    """The embedding is the projection of Σ w·x and sqrt(Σ w·(x - mean)²)."""
    frames = torch.randn(1, 5, 6)
    embedding, salience = pool(frames, torch.ones(1, 5, dtype=torch.bool))
    weights = salience[0][:, None]
    mean = (weights * frames[0]).sum(dim=0)
    deviation = ((weights * (frames[0] - mean).square()).sum(dim=0) + 1e-5).sqrt()
    torch.testing.assert_close(embedding[0], pool.project(torch.cat([mean, deviation])))
