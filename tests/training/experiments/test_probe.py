"""The linear probe reads what is there, and no more."""

from __future__ import annotations

import numpy as np
import torch

from training.experiments.figures import uar
from training.experiments.probe import mean_and_std, probe, probed_numbers
from training.experiments.source import Source


def test_padding_is_not_pooled() -> None:
    """Mean and deviation are those of the valid frames."""
    frames = torch.randn(2, 9, 3)
    valid = torch.tensor([[True] * 9, [True] * 4 + [False] * 5])
    pooled = mean_and_std(frames, valid)
    short = frames[1, :4]
    np.testing.assert_allclose(pooled[1, :3], short.mean(dim=0), rtol=1e-5)
    np.testing.assert_allclose(pooled[1, 3:], short.std(dim=0, correction=0), rtol=1e-4)


def test_it_reads_a_category_that_the_features_hold(source: Source) -> None:
    """Features that point at the category give a UAR of one, made-up ones about chance."""
    cache = source.cache()
    taught, numbers = probed_numbers(cache)
    rng = np.random.default_rng(0)
    words = sorted({clip.emotion for clip in cache.clips if clip.emotion})
    noise = {n: rng.standard_normal(7).astype(np.float32) for n in numbers}
    telling = {
        n: noise[n] * 0.1 + 3 * np.eye(7, dtype=np.float32)[words.index(cache.clips[n].emotion or "")]
        for n in numbers
    }
    assert uar(probe(cache, taught, telling))["made7"].value == 1.0
    assert uar(probe(cache, taught, noise))["made7"].value < 0.6
