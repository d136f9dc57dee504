"""What the embedding says: categories, arousal, valence, and what kind of sound it is."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from models.config import HeadConfig


@dataclass(frozen=True, slots=True)
class HeadOutput:
    """logits: [B, C]; arousal, valence: [B] in [-1, 1]; speech: [B], a logit; sound: [B, S], logits of its kinds."""

    logits: Tensor
    arousal: Tensor
    valence: Tensor
    speech: Tensor
    sound: Tensor


class LineRelativeHead(nn.Module):
    """A small network over the embedding seen against its line's statistics, and against its own leg so far.

    The line's mean and deviation arrive already shrunk towards the population's. The leg enters through a separate
    branch with a learned gain per category, faded in by n / (n + leg_prior), so that without it the head is exactly its
    cold self. What kind of sound it is is judged against the population alone: a gate that followed its line would come
    to take the line's music for speech.
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
        self.sound = nn.Sequential(
            nn.Linear(embedding_dim, config.hidden),
            nn.GELU(),
            nn.Dropout(config.dropout),
            nn.Linear(config.hidden, config.hidden),
            nn.GELU(),
            nn.Dropout(config.dropout),
            nn.Linear(config.hidden, len(config.sounds)),
        )
        self.register_buffer("sound_shift", torch.zeros(len(config.rejected)))
        self.register_buffer("population_mean", torch.zeros(embedding_dim))
        self.register_buffer("population_std", torch.ones(embedding_dim))
        self.sound_shift: Tensor
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
    ) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
        """The serving graph: [B, E] ×3, [B], [B, E], [B] → logits [B, C], 3 × [B] as in `HeadOutput`, sound [B, S]."""
        relative = ((embedding - line_mean) / line_std).clamp(-8, 8)
        known = (line_n / (line_n + 20))[:, None]
        hidden = self.trunk(torch.cat([relative, known], dim=1))
        own = ((embedding - leg_mean) / line_std).clamp(-8, 8)
        weight = (leg_n / (leg_n + self.config.leg_prior))[:, None] * self.leg_gain
        logits = self.categories(hidden) + self.direct(relative) + weight * self.leg(own)
        arousal, valence = torch.tanh(self.dimensions(hidden)).unbind(dim=1)
        sound = self.hear(embedding)
        return logits, arousal, valence, self.speech(sound), sound

    def hear(self, embedding: Tensor) -> Tensor:
        """Logits [B, S] of the kinds of sound, the rejected ones less the shifts that calibration chose."""
        absolute = ((embedding - self.population_mean) / self.population_std).clamp(-8, 8)
        kept, rejected = self._parted(self.sound(absolute))
        return torch.cat([kept, rejected - self.sound_shift], dim=1)

    def speech(self, sound: Tensor) -> Tensor:
        """Log-odds [B] of speech and events together against the likeliest rejected kind, from `hear`'s logits."""
        kept, rejected = self._parted(sound)
        return kept.logsumexp(dim=1) - rejected.amax(dim=1)

    def _parted(self, sound: Tensor) -> tuple[Tensor, Tensor]:
        at = 1 + len(self.config.events)
        return sound[:, :at], sound[:, at:]

    def outputs(self, *inputs: Tensor) -> HeadOutput:
        """`forward` with names."""
        return HeadOutput(*self(*inputs))
