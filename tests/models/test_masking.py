"""Masks hide content only, and never all of it."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from models.masking import ratio_to_rate, span_mask
from models.student import lengths_to_valid


def drawn(lengths: list[int], ratio: float, span: int, seed: int) -> tuple[torch.Tensor, torch.Tensor]:
    """(valid, hidden) of rows of these lengths."""
    valid = lengths_to_valid(torch.tensor(lengths), max(1, *lengths))
    return valid, span_mask(valid, ratio, span, torch.Generator().manual_seed(seed))


@given(
    lengths=st.lists(st.integers(0, 40), min_size=2, max_size=6),
    ratio=st.floats(0.01, 0.99),
    span=st.integers(1, 12),
    seed=st.integers(0, 999),
)
def test_some_is_hidden_and_some_is_left(lengths: list[int], ratio: float, span: int, seed: int) -> None:
    """Every row of two or more positions hides one at least and keeps one; padding is never hidden."""
    valid, hidden = drawn(lengths, ratio, span, seed)
    assert not bool((hidden & ~valid).any())
    for length, count in zip(lengths, hidden.sum(dim=1).tolist(), strict=True):
        assert (1 <= count < length) if length >= 2 else count == 0


@pytest.mark.parametrize("span", [1, 5])
@pytest.mark.parametrize("ratio", [0.25, 0.5, 0.75])
def test_about_the_ratio_is_hidden(ratio: float, span: int) -> None:
    """Over long rows the hidden share is the ratio asked for, whatever the span."""
    _, hidden = drawn([2000] * 4, ratio, span, 0)
    assert float(hidden.float().mean()) == pytest.approx(ratio, abs=0.04)


def test_hidden_positions_come_in_runs() -> None:
    """With a span of 5 no run but a row's first and last is shorter than 5."""
    _, hidden = drawn([400, 400], 0.3, 5, 3)
    runs = "".join("x" if place else " " for place in hidden[0, 5:-5].tolist()).split()
    assert min(len(run) for run in runs[1:-1]) >= 5


def test_a_seed_draws_the_same_mask() -> None:
    """Masks repeat with their generator."""
    assert torch.equal(drawn([30, 20], 0.5, 3, 7)[1], drawn([30, 20], 0.5, 3, 7)[1])


@pytest.mark.parametrize("ratio", [0.0, 1.0, -0.1])
def test_a_ratio_must_be_a_share(ratio: float) -> None:
    """Hiding nothing or everything is refused."""
    with pytest.raises(ValueError, match="between 0 and 1"):
        drawn([5, 5], ratio, 2, 0)


def test_the_rate_of_starts() -> None:
    """Runs of one start as often as positions are to be hidden; of two, 1 - sqrt(1 - ratio)."""
    assert ratio_to_rate(0.3, 1) == pytest.approx(0.3)
    assert ratio_to_rate(0.75, 2) == pytest.approx(0.5)
