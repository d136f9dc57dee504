"""Attention sees distances and content, never padding."""

from __future__ import annotations

import pytest
import torch

from models.student import lengths_to_valid
from models.transformer import CrossLayer, Transformer, rotary
from tests.models import tiny

LENGTHS = [3, 9, 6]


@pytest.fixture
def padded() -> tuple[torch.Tensor, torch.Tensor]:
    """Three rows of different length with junk in the padding, and where they are valid."""
    valid = lengths_to_valid(torch.tensor(LENGTHS), 9)
    x = torch.randn(3, 9, 16, generator=torch.Generator().manual_seed(0))
    return torch.where(valid[:, :, None], x, torch.tensor(1e3)), valid


def test_rotation_keeps_lengths() -> None:
    """Positions turn vectors and don't stretch them."""
    x = torch.randn(2, 2, 7, 8)
    torch.testing.assert_close(rotary(x).norm(dim=-1), x.norm(dim=-1))


def test_products_depend_on_the_distance_only() -> None:
    """The same two vectors, three apart, have the same product wherever they are."""
    generator = torch.Generator().manual_seed(0)
    q, k = torch.randn(2, 8, generator=generator)
    turned_q, turned_k = (rotary(v.expand(1, 1, 12, 8))[0, 0] for v in (q, k))
    products = (turned_q[3:] * turned_k[:-3]).sum(dim=1)
    torch.testing.assert_close(products, products[:1].expand(9), rtol=1e-4, atol=1e-4)
    assert float(products[0]) != pytest.approx(float(q @ k), abs=1e-3)


def test_padding_changes_nothing(padded: tuple[torch.Tensor, torch.Tensor]) -> None:
    """Every row of a padded batch is what it is alone; so is the middle layer."""
    x, valid = padded
    torch.manual_seed(0)
    model = Transformer(tiny.TRANSFORMER).eval()
    with torch.no_grad():
        together, middle = model.layered(x, valid)
        for row, length in enumerate(LENGTHS):
            alone, middle_alone = model.layered(x[row : row + 1, :length], valid[row : row + 1, :length])
            torch.testing.assert_close(together[row, :length], alone[0], rtol=1e-4, atol=1e-5)
            torch.testing.assert_close(middle[row, :length], middle_alone[0], rtol=1e-4, atol=1e-5)


def test_a_memory_is_read_where_it_is_valid(padded: tuple[torch.Tensor, torch.Tensor]) -> None:
    """Cross-attention gives the same over a padded memory and over its content."""
    memory, valid = padded
    torch.manual_seed(0)
    layer, x = CrossLayer(tiny.TRANSFORMER).eval(), torch.randn(3, 4, 16)
    with torch.no_grad():
        together = layer(x, memory, valid)
        alone = layer(x[:1], memory[:1, :3], valid[:1, :3])
    torch.testing.assert_close(together[:1], alone, rtol=1e-4, atol=1e-5)


def test_order_matters() -> None:
    """The same frames in another order give other features: positions are seen."""
    torch.manual_seed(0)
    model, x = Transformer(tiny.TRANSFORMER).eval(), torch.randn(1, 6, 16)
    valid = torch.ones(1, 6, dtype=torch.bool)
    with torch.no_grad():
        assert not torch.allclose(model(x, valid).flip(1), model(x.flip(1), valid), atol=1e-3)
