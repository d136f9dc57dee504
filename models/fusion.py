"""Joining modalities: each sequence attends to the other; a learned token stands in for one that is absent."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from models.config import TransformerConfig
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
