"""Quantisers: nearest codes, gradients that pass, codebooks that learn from content only, finite scalars."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from models.config import TokenizerConfig
from models.quantizer import (
    FiniteScalarQuantizer,
    ResidualQuantizer,
    bits_per_second,
    make_quantizer,
    nearest_code,
    pass_rotated,
    perplexity,
)


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


def finite(levels: tuple[int, ...], groups: int = 2) -> FiniteScalarQuantizer:
    """A finite scalar quantiser of some groups."""
    made = make_quantizer(
        TokenizerConfig(
            quantizer="fsq",
            codebooks=groups,
            levels=levels,
            codebook_size=math.prod(levels),
            code_dim=groups * len(levels),
        )
    )
    assert isinstance(made, FiniteScalarQuantizer)
    return made.eval()


LEVELS = st.lists(st.integers(2, 8), min_size=1, max_size=4).map(tuple)


@given(levels=LEVELS, groups=st.integers(1, 3), seed=st.integers(0, 99))
@settings(max_examples=40, deadline=None, derandomize=True)
def test_finite_tokens_name_the_vectors(levels: tuple[int, ...], groups: int, seed: int) -> None:
    """Tokens lie within the codebook, are the same for serving and training, and their codes add up to the vectors."""
    model = finite(levels, groups)
    vectors = 3 * torch.randn(2, groups * len(levels), 7, generator=torch.Generator().manual_seed(seed))
    out = model(vectors, everywhere(2, 7))
    assert out.tokens.dtype == torch.int64
    assert int(out.tokens.min()) >= 0
    assert int(out.tokens.max()) < math.prod(levels)
    assert torch.equal(out.tokens, model.tokens(vectors))
    meant = sum(model.codebooks[group][out.tokens[:, group]] for group in range(groups))
    torch.testing.assert_close(out.vectors, torch.as_tensor(meant).transpose(1, 2))
    assert float(out.vectors.abs().max()) <= 1.0


@given(levels=LEVELS)
@settings(max_examples=30, deadline=None, derandomize=True)
def test_every_finite_code_can_be_reached(levels: tuple[int, ...]) -> None:
    """Extreme inputs give the outermost levels, and each code quantises to itself."""
    model, size = finite(levels, 1), math.prod(levels)
    far = torch.stack([torch.full((len(levels), 1), sign * 50.0) for sign in (-1, 1)])
    assert model.tokens(far).flatten().tolist() == [0, size - 1]
    # Undo the bound: the input whose tanh lands on the code.
    wanted = model.codebooks[0].t()[None] * model.width
    inputs = torch.atanh(((wanted + model.offset) / model.reach).clamp(-1, 1)) - model.shift
    assert torch.equal(model.tokens(inputs)[0, 0], torch.arange(size))


@pytest.mark.parametrize("levels", [(8, 8, 4), (8, 6, 5), (3, 2)])
def test_finite_codes_are_all_different(levels: tuple[int, ...]) -> None:
    """As many vectors as the product of the levels, and each group keeps to its own dimensions."""
    codes = finite(levels).codebooks
    assert len(torch.unique(codes[0], dim=0)) == math.prod(levels)
    assert not codes[0][:, len(levels) :].any()
    assert not codes[1][:, : len(levels)].any()


def test_finite_gradients_pass_the_rounding() -> None:
    """The gradient is that of the tanh, as if nothing had been rounded; nothing is to be learned."""
    model, vectors = finite((5, 4)), drawn(2, 6).requires_grad_()
    model(vectors, everywhere(2, 6)).vectors.sum().backward()
    smooth = drawn(2, 6).requires_grad_()
    bounded = torch.tanh(smooth.reshape(2, 2, 2, 6) + model.shift) * model.reach - model.offset
    (bounded / model.width).sum().backward()
    assert vectors.grad is not None
    torch.testing.assert_close(vectors.grad, smooth.grad)
    assert dict(model.state_dict()) == {}


@given(seed=st.integers(0, 999))
@settings(max_examples=40, deadline=None, derandomize=True)
def test_the_rotation_keeps_angles(seed: int) -> None:
    """The value is the codes'; the gradient lies to the input as the output's lies to the codes, scaled by ‖q‖/‖e‖."""
    generator = torch.Generator().manual_seed(seed)
    e, q, above = (torch.randn(5, 6, generator=generator) for _ in range(3))
    e.requires_grad_()
    passed = pass_rotated(e, q)
    torch.testing.assert_close(passed, q, rtol=0, atol=0)
    passed.backward(above)
    assert e.grad is not None
    scale = q.norm(dim=1) / e.norm(dim=1)
    torch.testing.assert_close(e.grad.norm(dim=1), scale * above.norm(dim=1), rtol=1e-4, atol=1e-5)
    before = torch.cosine_similarity(above, q)
    torch.testing.assert_close(torch.cosine_similarity(e.grad, e), before, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("factor", [0.0, 1.0, -1.0])
def test_the_rotation_stands_degenerate_inputs(factor: float) -> None:
    """No input, one that is its code already, and one right opposite: value and gradient are finite."""
    q = torch.ones(1, 4)
    e = (factor * q).requires_grad_()
    passed = pass_rotated(e, q)
    passed.sum().backward()
    assert torch.equal(passed, q)
    assert e.grad is not None
    assert bool(torch.isfinite(e.grad).all())


def test_rotation_changes_the_gradient_only() -> None:
    """A quantiser told to rotate gives the same vectors and tokens, with another gradient than the identity's."""
    straight, rotating = quantizer().eval(), quantizer().eval()
    rotating.config = TokenizerConfig(codebooks=3, codebook_size=8, code_dim=4, gradient="rotation")
    vectors = drawn(2, 10).requires_grad_()
    one, other = (model(vectors, everywhere(2, 10)) for model in (straight, rotating))
    torch.testing.assert_close(one.vectors, other.vectors)
    assert torch.equal(one.tokens, other.tokens)
    other.vectors.sum().backward()
    assert vectors.grad is not None
    assert not torch.allclose(vectors.grad, torch.ones_like(vectors))


@pytest.mark.parametrize(
    ("changes", "complaint"),
    [
        ({"quantizer": "lookup"}, "quantizer must be one of"),
        ({"gradient": "none"}, "gradient must be one of"),
        ({"levels": (4, 4)}, "expected none for rvq"),
        ({"quantizer": "fsq"}, "levels of at least 2"),
        ({"quantizer": "fsq", "levels": (8, 8, 4)}, "codebook_size 256 and code_dim 24"),
        ({"quantizer": "fsq", "levels": (8, 8, 4), "gradient": "rotation"}, "straight through"),
    ],
)
def test_impossible_quantisers_are_refused(changes: dict[str, object], complaint: str) -> None:
    """What does not go together is named."""
    with pytest.raises(ValueError, match=complaint):
        TokenizerConfig(**changes)  # type: ignore[arg-type]


def test_the_default_names_its_state_as_ever() -> None:
    """Checkpoints of residual quantisers made before there was a choice still fit."""
    assert sorted(quantizer().state_dict()) == ["codebooks", "counts", "sums"]
    assert isinstance(make_quantizer(TokenizerConfig(codebooks=1)), ResidualQuantizer)


def test_bits_per_second_adds_up() -> None:
    """Eight codebooks of 256 at 25 a second are 1,600 bit/s; a codebook used evenly by half costs a bit less."""
    assert bits_per_second([256] * 8) == 1_600
    assert bits_per_second([128], 50.0) == 350
