"""Networks small enough to run in milliseconds, with weights from a seed."""

from __future__ import annotations

import torch
from torch import Tensor

from models.audio_tokenizer import AudioTokenizer
from models.config import EncoderConfig, MaeConfig, TokenizerConfig, TransformerConfig, VideoConfig

TOKENIZER = TokenizerConfig(
    stem_channels=8,
    channels=12,
    dilations=(1, 2),
    codebooks=2,
    codebook_size=16,
    code_dim=6,
    decoder_layers=1,
)
TRANSFORMER = TransformerConfig(dim=16, layers=2, heads=2, hidden=24, dropout=0.0)
ENCODER = EncoderConfig(TRANSFORMER, embedding_dim=8, teacher_dim=5)
SMALLER = EncoderConfig(TransformerConfig(dim=8, layers=1, heads=1, hidden=16, dropout=0.0), 8, 5)
MAE = MaeConfig(ENCODER, VideoConfig(codebook_size=8, grid=3, layers=1))


def tokenizer(seed: int = 0) -> AudioTokenizer:
    """An untrained tokenizer whose features have about unit variance."""
    torch.manual_seed(seed)
    return AudioTokenizer(TOKENIZER).eval()


def noise(hops: int, seed: int = 0, rows: int = 1) -> Tensor:
    """White noise at about -26 dBFS, `hops` token hops long, [rows, hops · 320]."""
    generator = torch.Generator().manual_seed(seed)
    return 0.05 * torch.randn(rows, hops * TOKENIZER.hop_samples, generator=generator)


def tokens(rows: int, time: int, seed: int = 0) -> Tensor:
    """Random tokens [rows, K, time]."""
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(TOKENIZER.codebook_size, (rows, TOKENIZER.codebooks, time), generator=generator)
