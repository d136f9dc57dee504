"""Losses against numbers worked out by hand."""

from __future__ import annotations

import math

import pytest
import torch

from training.objectives import (
    contrast,
    frame_loss,
    hidden_token_loss,
    info_nce,
    masked_cross_entropy,
    soft_divergence,
)

LN = math.log


def test_cross_entropy_over_all_categories() -> None:
    """Q = softmax(0, ln 3) = (1/4, 3/4): -ln 1/4 for the first, -ln 3/4 for the second, their mean for half of each."""
    logits = torch.tensor([[0.0, LN(3)]]).expand(3, 2)
    target = torch.tensor([[1.0, 0.0], [0.0, 1.0], [0.5, 0.5]])
    expected = torch.tensor([LN(4), LN(4 / 3), 0.5 * (LN(4) + LN(4 / 3))])
    allowed = torch.ones(3, 2, dtype=torch.bool)
    torch.testing.assert_close(masked_cross_entropy(logits, target, allowed), expected)


def test_categories_that_a_corpus_lacks_don_t_count() -> None:
    """A huge logit of a category that is not allowed changes neither the loss nor any gradient."""
    logits = torch.tensor([[0.0, LN(3), 1e3]], requires_grad=True)
    allowed = torch.tensor([[True, True, False]])
    loss = masked_cross_entropy(logits, torch.tensor([[1.0, 0.0, 0.0]]), allowed).sum()
    loss.backward()  # type: ignore[no-untyped-call]
    assert loss.item() == pytest.approx(LN(4))
    assert logits.grad is not None
    torch.testing.assert_close(logits.grad, torch.tensor([[-0.75, 0.75, 0.0]]))


def test_divergence_is_zero_where_they_agree_and_known_where_not() -> None:
    """T = 1: KL((1/4, 3/4) ‖ (1/2, 1/2)) = 1/4 ln 1/2 + 3/4 ln 3/2; shifting logits changes nothing."""
    teacher = torch.tensor([[0.0, LN(3)], [2.0, 2.0 + LN(3)]])
    student = torch.tensor([[1.0, 1.0], [5.0, 5.0 + LN(3)]])
    allowed = torch.ones(2, 2, dtype=torch.bool)
    expected = torch.tensor([0.25 * LN(0.5) + 0.75 * LN(1.5), 0.0])
    torch.testing.assert_close(
        soft_divergence(student, teacher, allowed, 1.0), expected, atol=1e-6, rtol=1e-5
    )


def test_divergence_is_scaled_by_the_temperature() -> None:
    """Logits and temperature doubled: four times as much."""
    generator = torch.Generator().manual_seed(0)
    teacher, student = torch.randn(2, 5, 4, generator=generator)
    allowed = torch.ones(5, 4, dtype=torch.bool)
    cold = soft_divergence(student, teacher, allowed, 1.0)
    torch.testing.assert_close(soft_divergence(2 * student, 2 * teacher, allowed, 2.0), 4 * cold)


def test_hidden_tokens_only() -> None:
    """One hidden position with two codebooks: the mean of -ln 1/2 and -ln 4/5; visible ones may be anything."""
    logits = torch.full((1, 2, 2, 2), 1e3)
    logits[0, 1, 0] = torch.tensor([0.0, 0.0])
    logits[0, 1, 1] = torch.tensor([0.0, LN(4)])
    tokens = torch.tensor([[[0, 1], [0, 1]]])
    loss = hidden_token_loss(logits, tokens, torch.tensor([[False, True]]))
    assert loss.item() == pytest.approx(0.5 * (LN(2) + LN(5 / 4)))


def test_frames_that_were_heard() -> None:
    """Mean square over the heard frames; nothing, but still a gradient, where none was."""
    predicted = torch.tensor([[[1.0, 2.0], [5.0, 5.0]]], requires_grad=True)
    wanted = torch.zeros(1, 2, 2)
    assert frame_loss(predicted, wanted, torch.tensor([[True, False]])).item() == pytest.approx(2.5)
    nothing = frame_loss(predicted, wanted, torch.tensor([[False, False]]))
    nothing.backward()  # type: ignore[no-untyped-call]
    assert nothing.item() == 0.0
    assert predicted.grad is not None
    assert not predicted.grad.any()


def test_contrast_of_two_pairs() -> None:
    """Orthogonal pairs at temperature 1: each of four softmaxes is e / (e + 1), so the loss is ln(1 + 1/e)."""
    audio = torch.tensor([[2.0, 0.0], [0.0, 3.0]])
    loss = info_nce(audio, 5 * audio, torch.tensor(0.0))
    assert loss.item() == pytest.approx(LN(1 + math.exp(-1)), rel=1e-5)
    crossed = info_nce(audio, audio.flip(0), torch.tensor(0.0))
    assert crossed.item() == pytest.approx(LN(1 + math.e), rel=1e-5)


def test_contrast_is_symmetric_and_its_temperature_bounded() -> None:
    """Swapping the modalities changes nothing; a temperature below 0.01 counts as 0.01."""
    generator = torch.Generator().manual_seed(0)
    one, other = torch.randn(2, 6, 4, generator=generator)
    heat = torch.tensor(0.07).log()
    torch.testing.assert_close(info_nce(one, other, heat), info_nce(other, one, heat))
    torch.testing.assert_close(
        info_nce(one, other, torch.tensor(-50.0)), info_nce(one, other, torch.tensor(0.01).log())
    )


def test_contrast_of_given_similarities() -> None:
    """Temperature 1, pairs at ln 3 and others at 0: each row and column gives its pair 3/4."""
    similarity = LN(3) * torch.eye(2)
    assert contrast(similarity, torch.tensor(0.0)).item() == pytest.approx(LN(4 / 3))
