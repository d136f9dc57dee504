"""What the embedding says: categories, arousal, valence, and whether it is speech at all."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from models.config import HeadConfig


@dataclass(frozen=True, slots=True)
class HeadOutput:
    """logits: [B, C]; arousal, valence: [B] in [-1, 1]; speech: [B], a logit."""

    logits: Tensor
    arousal: Tensor
    valence: Tensor
    speech: Tensor


class LineRelativeHead(nn.Module):
    """A small network over the embedding seen against its line's statistics, and against its own leg so far.

    The line's mean and deviation arrive already shrunk towards the population's. The leg enters through a separate
    branch with a learned gain per category, faded in by n / (n + leg_prior), so that without it the head is exactly its
    cold self.
    """

    def __init__(self, config: HeadConfig, embedding_dim: int, categories: int) -> None:
        super().__init__()
        self.config = config
        self.trunk = nn.Sequential(
            nn.Linear(embedding_dim + 1, config.hidden),
            nn.LayerNorm(config.hidden),
            nn.GELU(),
            nn.Dropout(config.dropout),
        )
        self.direct = nn.Linear(embedding_dim, categories)
        self.categories = nn.Linear(config.hidden, categories)
        self.dimensions = nn.Linear(config.hidden, 2)
        self.leg = nn.Sequential(
            nn.Linear(embedding_dim, config.hidden),
            nn.GELU(),
            nn.Dropout(config.dropout),
            nn.Linear(config.hidden, categories),
        )
        self.leg_gain = nn.Parameter(torch.ones(()), requires_grad=False)
        self.speech = nn.Sequential(
            nn.Linear(embedding_dim, config.hidden), nn.GELU(), nn.Linear(config.hidden, 1)
        )
        self.register_buffer("population_mean", torch.zeros(embedding_dim))
        self.register_buffer("population_std", torch.ones(embedding_dim))
        self.population_mean: Tensor
        self.population_std: Tensor

    def forward(
        self,
        embedding: Tensor,
        line_mean: Tensor,
        line_std: Tensor,
        line_n: Tensor,
        leg_mean: Tensor,
        leg_n: Tensor,
    ) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """The serving graph: [B, E] ×3, [B], [B, E], [B] → logits [B, C], arousal [B], valence [B], speech [B]."""
        relative = ((embedding - line_mean) / line_std).clamp(-8, 8)
        known = (line_n / (line_n + 20))[:, None]
        hidden = self.trunk(torch.cat([relative, known], dim=1))
        own = ((embedding - leg_mean) / line_std).clamp(-8, 8)
        weight = (leg_n / (leg_n + self.config.leg_prior))[:, None] * self.leg_gain
        logits = self.categories(hidden) + self.direct(relative) + weight * self.leg(own)
        arousal, valence = torch.tanh(self.dimensions(hidden)).unbind(dim=1)
        absolute = ((embedding - self.population_mean) / self.population_std).clamp(-8, 8)
        return logits, arousal, valence, self.speech(absolute)[:, 0]

    def outputs(self, *inputs: Tensor) -> HeadOutput:
        """`forward` with names."""
        return HeadOutput(*self(*inputs))
