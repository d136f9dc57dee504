"""Residual quantisation: nearest codes, straight-through gradients, and codebooks that learn from content only."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from models.config import TokenizerConfig
from models.quantizer import ResidualQuantizer, nearest_code, perplexity


def quantizer(*, levels: int = 3, codes: int = 8, seed: int = 0) -> ResidualQuantizer:
    """An untrained quantiser of 4-dimensional vectors, its codes spread like the vectors of `drawn`."""
    torch.manual_seed(seed)
    made = ResidualQuantizer(TokenizerConfig(codebooks=levels, codebook_size=codes, code_dim=4))
    made.codebooks.mul_(5.0)
    return made


def drawn(rows: int, time: int, seed: int = 0) -> Tensor:
    """Normal vectors [rows, 4, time]."""
    return torch.randn(rows, 4, time, generator=torch.Generator().manual_seed(seed))


def everywhere(rows: int, time: int) -> Tensor:
    """No padding."""
    return torch.ones(rows, time, dtype=torch.bool)


def test_the_nearest_code_is_nearest() -> None:
    """The product form finds the code of least Euclidean distance."""
    vectors, codebook = drawn(1, 50)[0].t(), drawn(1, 9, 1)[0].t()
    assert torch.equal(nearest_code(vectors, codebook), torch.cdist(vectors, codebook).argmin(dim=1))


def test_serving_and_training_choose_the_same_tokens() -> None:
    """`tokens`, all that is exported, agrees with the training path."""
    model, vectors = quantizer().eval(), drawn(3, 20)
    assert torch.equal(model.tokens(vectors), model(vectors, everywhere(3, 20)).tokens)


def test_vectors_are_the_sum_of_the_chosen_codes() -> None:
    """What goes on is exactly what the tokens stand for."""
    model, vectors = quantizer().eval(), drawn(2, 10)
    out = model(vectors, everywhere(2, 10))
    meant = sum(model.codebooks[level][out.tokens[:, level]] for level in range(3))
    torch.testing.assert_close(out.vectors, torch.as_tensor(meant).transpose(1, 2))


def test_the_gradient_passes_straight_through() -> None:
    """Whatever the codes, the gradient of the output with respect to the input is one."""
    vectors = drawn(2, 10).requires_grad_()
    quantizer().eval()(vectors, everywhere(2, 10)).vectors.sum().backward()
    assert vectors.grad is not None
    torch.testing.assert_close(vectors.grad, torch.ones_like(vectors))


def test_commitment_is_the_mean_residual_of_content() -> None:
    """Mean square of what each level leaves over, over levels and positions that are kept."""
    model, vectors = quantizer(levels=2).eval(), drawn(1, 4)
    keep = torch.tensor([[True, True, False, True]])
    out = model(vectors, keep)
    first = vectors.transpose(1, 2) - model.codebooks[0][out.tokens[:, 0]]
    second = first - model.codebooks[1][out.tokens[:, 1]]
    expected = (first.square().mean(dim=2)[keep].mean() + second.square().mean(dim=2)[keep].mean()) / 2
    torch.testing.assert_close(out.commitment, expected)


def test_codes_move_to_what_they_stand_for() -> None:
    """Two clusters, two codes: after some steps each code is a cluster's mean."""
    model = quantizer(levels=1, codes=2).train()
    centres = torch.tensor([[3.0, 0, 0, 0], [0, -2.0, 0, 0]])
    for step in range(200):
        near = centres[torch.arange(64) % 2] + 0.1 * drawn(1, 64, step)[0].t()
        model(near.t()[None], everywhere(1, 64))
    distances = torch.cdist(model.codebooks[0], centres)
    assert float(distances.min(dim=1).values.max()) < 0.05
    assert sorted(distances.argmin(dim=1).tolist()) == [0, 1]


def test_dead_codes_come_back() -> None:
    """Codes that nothing is near to are put where vectors are, and are then used."""
    model = quantizer(levels=1).train()
    model.codebooks[0, 1:] = 1e3
    before = perplexity(model.tokens(drawn(4, 64)).transpose(0, 1).flatten(1), 8)
    for step in range(20):
        model(drawn(4, 64, step), everywhere(4, 64))
    after = perplexity(model.tokens(drawn(4, 64)).transpose(0, 1).flatten(1), 8)
    assert float(before) == pytest.approx(1.0)
    assert float(after) > 6.0


def test_padding_teaches_nothing() -> None:
    """Codebooks after a step are the same whatever lies in the padding."""
    keep = everywhere(2, 16)
    keep[1, 9:] = False
    results = []
    for junk in (0.0, 1e3):
        model, vectors = quantizer().train(), drawn(2, 16)
        vectors[1, :, 9:] = junk
        torch.manual_seed(1)
        results.append((model(vectors, keep).commitment, model.codebooks.clone(), model.counts.clone()))
    for calm, wild in zip(*results, strict=True):
        assert torch.equal(calm, wild)


def test_nothing_is_learned_while_evaluating() -> None:
    """Codebooks and counts stay as they are in evaluation mode."""
    model = quantizer().eval()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    model(drawn(2, 16), everywhere(2, 16))
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())


def test_perplexity_counts_codes_in_use() -> None:
    """All of eight alike: 8; always the same: 1; two alike: 2."""
    tokens = torch.stack([torch.arange(8).repeat(4), torch.full((32,), 5), torch.arange(32) % 2])
    torch.testing.assert_close(perplexity(tokens, 8), torch.tensor([8.0, 1.0, 2.0]).double())
