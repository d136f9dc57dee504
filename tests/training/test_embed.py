"""Embedding many clips in batches of like length gives each what it has alone, in order."""

from __future__ import annotations

import numpy as np
import torch

from models.student import AudioEncoder
from tests.models import tiny
from training.embed import embed_tokens


def test_rows_come_back_in_order() -> None:
    """Clips of all lengths, three a batch."""
    torch.manual_seed(0)
    encoder = AudioEncoder(tiny.ENCODER, tiny.TOKENIZER)
    rows = [tiny.tokens(1, length, seed)[0].numpy() for seed, length in enumerate((9, 2, 30, 5, 9, 1, 14))]
    together = embed_tokens(encoder, rows, "test", batch=3)
    assert together.shape == (7, 8)
    assert together.dtype == np.float32
    with torch.no_grad():
        for row, expected in zip(rows, together, strict=True):
            alone, _ = encoder(torch.from_numpy(row)[None], torch.tensor([row.shape[1]]))
            np.testing.assert_allclose(alone[0].numpy(), expected, rtol=1e-4, atol=1e-5)


def test_nothing_embeds_to_nothing() -> None:
    """No clips, no rows, but the width stays."""
    torch.manual_seed(0)
    assert embed_tokens(AudioEncoder(tiny.ENCODER, tiny.TOKENIZER), [], "test").shape == (0, 8)
