"""Attentive statistics pooling (Okabe et al. 2018): one embedding and its salience over time."""

from __future__ import annotations

import torch
from torch import Tensor, nn


class AttentivePooling(nn.Module):
    """Frames [B, T, D] where valid [B, T] → embedding [B, E] from weighted mean and deviation, weights [B, T]."""

    def __init__(self, dim: int, embedding_dim: int) -> None:
        super().__init__()
        self.score = nn.Sequential(nn.Linear(dim, dim // 2), nn.Tanh(), nn.Linear(dim // 2, 1))
        self.project = nn.Linear(2 * dim, embedding_dim)

    def forward(self, frames: Tensor, valid: Tensor) -> tuple[Tensor, Tensor]:
        """Pool."""
        score = self.score(frames)[:, :, 0].float().masked_fill(~valid, -1e4)
        salience = torch.softmax(score, dim=1)
        weights = salience[:, :, None]
        frames = frames.float()
        mean = (weights * frames).sum(dim=1)
        variance = (weights * (frames - mean[:, None]).square()).sum(dim=1)
        embedding: Tensor = self.project(torch.cat([mean, (variance + 1e-5).sqrt()], dim=1)).float()
        return embedding, salience
