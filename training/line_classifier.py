"""A classifier that sees an embedding against the statistics of its line, as the shipped head does; for training only.

Teacher, fine-tuned model and student share it. A corpus stands for a line; the last row of the statistics is the
population, which a line that nobody has heard yet is seen against.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from models.masking import span_mask
from training.corpora.labels import CATEGORIES
from training.data.taught import Floats, line_statistics


class CorpusNorm(nn.Module):
    """Standardises embeddings by running statistics of their own corpus, or of all of them (the population)."""

    def __init__(self, corpora: int, dim: int, momentum: float = 0.05) -> None:
        super().__init__()
        self.momentum = momentum
        self.register_buffer("mean", torch.zeros(corpora + 1, dim))
        self.register_buffer("var", torch.ones(corpora + 1, dim))
        self.mean: Tensor
        self.var: Tensor

    def forward(self, embedding: Tensor, row: Tensor) -> Tensor:
        """Embeddings [B, E]; row int64 [B], a corpus's number, or the last row for the population."""
        return (embedding - self.mean[row]) / (self.var[row] + 1e-3).sqrt()

    @torch.no_grad()
    def learn(self, embedding: Tensor, corpus: Tensor) -> None:
        """Move the statistics towards a batch's."""
        for row in (*sorted(set(corpus.tolist())), len(self.mean) - 1):
            chosen = embedding if row == len(self.mean) - 1 else embedding[corpus == row]
            if len(chosen) >= 4:
                self.mean[row].lerp_(chosen.mean(dim=0), self.momentum)
                self.var[row].lerp_(chosen.var(dim=0), self.momentum)


class LineClassifier(nn.Module):
    """Embeddings [B, E] → logits [B, C] over all categories."""

    def __init__(self, corpora: int, dim: int, dropout: float) -> None:
        super().__init__()
        self.norm = CorpusNorm(corpora, dim)
        self.dropout = nn.Dropout(dropout)
        self.categories = nn.Linear(dim, len(CATEGORIES))

    @property
    def population(self) -> int:
        """The row of statistics that is nobody's own."""
        return len(self.norm.mean) - 1

    def forward(self, embedding: Tensor, row: Tensor) -> Tensor:
        """Classify embeddings seen against a row of statistics each, row int64 [B]."""
        logits: Tensor = self.categories(self.dropout(self.norm(embedding, row)))
        return logits

    def train_step(self, embedding: Tensor, corpus: Tensor, line_chance: float) -> tuple[Tensor, Tensor]:
        """Learn the statistics, draw each row's view, classify: logits [B, C] and the rows of statistics [B]."""
        self.norm.learn(embedding.detach(), corpus)
        row = statistics_row(corpus, self.population, line_chance)
        return self(embedding, row), row


def statistics_row(corpus: Tensor, population: int, line_chance: float) -> Tensor:
    """Each row's own corpus with probability `line_chance`, else the population's row."""
    own = torch.rand(len(corpus)) < line_chance
    return torch.where(own, corpus, torch.full_like(corpus, population))


def drop_mask(valid: Tensor, ratio: float) -> Tensor | None:
    """Spans of tokens to silence, as augmentation, from torch's (step-seeded) generator; None for a ratio of 0."""
    if not ratio:
        return None
    generator = torch.Generator().manual_seed(int(torch.randint(2**31, ())))
    return span_mask(valid, ratio, 4, generator)


def smooth(label: Tensor, allowed: Tensor, amount: float) -> Tensor:
    """Give `amount` of the probability to all allowed categories alike."""
    even = allowed.float() / allowed.sum(dim=1, keepdim=True).clamp(min=1)
    return label * (1 - amount) + even * amount


def hit_rate(logits: Tensor, batch: Mapping[str, Tensor]) -> Tensor:
    """Share of rows whose most likely allowed category is the label's."""
    best = logits.detach().masked_fill(~batch["allowed"], -1e4).argmax(dim=1)
    return (best == batch["label"].argmax(dim=1)).float().mean()


def judge(
    categories: nn.Linear, table: Floats, heard: npt.NDArray[np.bool_], corpora: Sequence[str]
) -> Floats:
    """Embeddings [N, E] → logits [2, N, C]: cold, and seen against the statistics of the clip's own corpus."""
    lines, population = line_statistics(table, heard, corpora)
    weight, bias = (p.detach().float().numpy() for p in (categories.weight, categories.bias))
    views = []
    for own in (False, True):
        mean = np.stack([(lines.get(c, population) if own else population)[0] for c in corpora])
        var = np.stack([(lines.get(c, population) if own else population)[1] for c in corpora])
        views.append(((table - mean) / np.sqrt(var + 1e-3)) @ weight.T + bias)
    return np.stack(views).astype(np.float32)
