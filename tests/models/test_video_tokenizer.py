"""The video tokenizer: a grid of tokens from each picture by itself, and a picture from each grid."""

from __future__ import annotations

import pytest
import torch

from models.config import VideoTokenizerConfig
from models.video_tokenizer import VideoTokenizer, scaled

CONFIG = VideoTokenizerConfig(channels=(8, 8, 8), codebook_size=16, code_dim=4)


@pytest.fixture
def tokenizer() -> VideoTokenizer:
    """Untrained."""
    torch.manual_seed(0)
    return VideoTokenizer(CONFIG).eval()


def pictures(count: int, seed: int = 0) -> torch.Tensor:
    """Random pixels."""
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(256, (count, 96, 96), dtype=torch.uint8, generator=generator)


def test_sizes_are_those_of_the_configuration() -> None:
    """At its full size: 16 tokens a picture below the codebook's size, and a picture of 96x96 back."""
    torch.manual_seed(0)
    config = VideoTokenizerConfig()
    whole = VideoTokenizer(config).eval()
    with torch.no_grad():
        quantized = whole.quantize(pictures(2))
        assert quantized.tokens.shape == (2, 1, config.grid) == (2, 1, 16)
        assert int(quantized.tokens.max()) < config.codebook_size
        assert whole.rebuild(quantized.vectors).shape == (2, 1, 96, 96)
        assert torch.equal(whole.tokens(pictures(2)), quantized.tokens[:, 0])
    assert sum(p.numel() for p in whole.parameters()) < 2_000_000


def test_a_picture_is_tokenised_by_itself(tokenizer: VideoTokenizer) -> None:
    """What else is in the batch changes no token."""
    with torch.no_grad():
        together = tokenizer.tokens(pictures(3))
        alone = torch.cat([tokenizer.tokens(picture[None]) for picture in pictures(3)])
    assert torch.equal(together, alone)


def test_tokens_run_row_by_row(tokenizer: VideoTokenizer) -> None:
    """What changes in the lower right corner changes the last token, and not the first."""
    with torch.no_grad():
        tokenizer.quantizer.codebooks[0] = torch.randn(16, 4, generator=torch.Generator().manual_seed(1))
        first = pictures(40)
        second = first.clone()
        second[:, 80:, 80:] = 255 - second[:, 80:, 80:]
        plain, changed = tokenizer._fields(first), tokenizer._fields(second)
    moved = (plain - changed).abs().mean(dim=(0, 1))
    assert int(moved.argmax()) == 15
    assert float(moved[0]) < 0.2 * float(moved[15])


def test_only_training_moves_the_codebook(tokenizer: VideoTokenizer) -> None:
    """In evaluation the codes stay; in training they move towards what is seen."""
    before = tokenizer.quantizer.codebooks.clone()
    tokenizer.quantize(pictures(4))
    assert torch.equal(tokenizer.quantizer.codebooks, before)
    tokenizer.train().quantize(pictures(4))
    assert not torch.equal(tokenizer.quantizer.codebooks, before)


def test_the_gradient_passes_the_tokens(tokenizer: VideoTokenizer) -> None:
    """The error of the rebuilt picture teaches encoder and decoder."""
    tokenizer.train()
    seen = pictures(2)
    (tokenizer.rebuild(tokenizer.quantize(seen).vectors) - scaled(seen)).abs().mean().backward()  # type: ignore[no-untyped-call]
    assert all(p.grad is not None for p in tokenizer.parameters())


def test_pixels_are_scaled_to_about_unit_variance() -> None:
    """Uint8 and float alike: grey 115 is 0, and 60 grey levels are 1."""
    grey = torch.tensor([[[115, 175]]], dtype=torch.uint8)
    assert scaled(grey).tolist() == [[[[0.0, 1.0]]]]
    assert torch.equal(scaled(grey), scaled(grey.float()))
