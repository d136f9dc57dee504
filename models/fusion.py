"""Joining modalities: each sequence attends to the other, or to a learned token where it is absent; both are pooled."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from models.config import TransformerConfig
from models.pooling import AttentivePooling
from models.transformer import CrossLayer


class CrossModalFusion(nn.Module):
    """Cross-attention layers from one modality to the other, with a learned 'absent' memory of one token."""

    def __init__(self, config: TransformerConfig, layers: int) -> None:
        super().__init__()
        self.layers = nn.ModuleList([CrossLayer(config) for _ in range(layers)])
        self.absent = nn.Parameter(torch.zeros(1, 1, config.dim))

    def forward(self, x: Tensor, other: Tensor | None, other_valid: Tensor | None) -> Tensor:
        """X [B, T, D] attends to other [B, M, D] where other_valid [B, M]; None: the modality is absent."""
        if other is None or other_valid is None:
            memory = self.absent.expand(len(x), 1, -1)
            valid = torch.ones(len(x), 1, dtype=torch.bool, device=x.device)
        else:
            memory = torch.cat([self.absent.expand(len(x), 1, -1), other], dim=1)
            valid = torch.cat([torch.ones(len(x), 1, dtype=torch.bool, device=x.device), other_valid], dim=1)
        for layer in self.layers:
            x = layer(x, memory, valid)
        return x


Sequence = tuple[Tensor | None, Tensor | None]
"""Frames [B, T, D] of one modality and where they may be looked at, bool [B, T]; both None where it is absent."""


class JointPooling(nn.Module):
    """One embedding pooled by attention over the sequences of both modalities, each marked by a learned vector."""

    def __init__(self, dim: int, embedding_dim: int) -> None:
        super().__init__()
        self.modalities = nn.Parameter(torch.randn(2, dim) * 0.02)
        self.norm = nn.LayerNorm(dim)
        self.pool = AttentivePooling(dim, embedding_dim)

    def forward(self, audio: Sequence, video: Sequence) -> tuple[Tensor, Tensor]:
        """Both sequences → embedding [B, E], weights over the one and then the other [B, T + U].

        Raises:
            ValueError: both are absent.
        """
        frames, shown = [], []
        for (sequence, where), mark in zip((audio, video), self.modalities, strict=True):
            if sequence is not None and where is not None:
                frames.append(sequence + mark)
                shown.append(where)
        if not frames:
            raise ValueError("expected audio, video or both, got neither")
        embedding, salience = self.pool(self.norm(torch.cat(frames, dim=1)), torch.cat(shown, dim=1))
        return embedding, salience
