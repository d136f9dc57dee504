"""Stage `distil`: an audio-only student learns from the teacher's logits, embedding and middle layer, and from labels.

The student starts as the teacher's audio half; what the fusion layers added must be learned into it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import torch
from torch import Tensor, nn

from models.config import EncoderConfig, TokenizerConfig
from models.mae import hide
from models.student import AudioEncoder, Encoded, lengths_to_valid
from training.config import save_config
from training.corpora.labels import CATEGORIES
from training.data.cache import AudioCache
from training.data.token_batches import TokenBatchConfig, TokenBatches
from training.data.tokens import TokenStore
from training.engine import LoopConfig, train
from training.finetune import (
    Classifier,
    CorpusNorm,
    drop_mask,
    hit_rate,
    labelled_data,
    smooth,
    statistics_row,
)
from training.objectives import frame_loss, masked_cross_entropy, soft_divergence


@dataclass(frozen=True, slots=True)
class DistilConfig:
    """Everything that the stage needs to know."""

    loop: LoopConfig = field(default_factory=lambda: LoopConfig(steps=1000, learning_rate=3e-4))
    batches: TokenBatchConfig = field(default_factory=TokenBatchConfig)
    temperature: float = 2.0
    logit_weight: float = 0.5
    embedding_weight: float = 0.3
    middle_weight: float = 0.3
    frame_weight: float = 0.5
    label_smoothing: float = 0.05
    drop_ratio: float = 0.2
    line_chance: float = 0.5
    corpus_power: float = 0.5


class Student(nn.Module):
    """The encoder that ships, with a throw-away classifier."""

    def __init__(self, config: EncoderConfig, tokenizer: TokenizerConfig, corpora: int) -> None:
        super().__init__()
        self.encoder = AudioEncoder(config, tokenizer)
        self.norm = CorpusNorm(corpora, config.embedding_dim)
        self.dropout = nn.Dropout(0.2)
        self.categories = nn.Linear(config.embedding_dim, len(CATEGORIES))

    def start_from(self, teacher: Classifier) -> None:
        """The teacher's audio half, its pooling, statistics and classifier."""
        self.encoder.load_state_dict(teacher.audio.state_dict())
        self.encoder.pool.load_state_dict(teacher.pool.state_dict())
        self.norm.load_state_dict(teacher.norm.state_dict())
        self.categories.load_state_dict(teacher.categories.state_dict())

    def encode(self, tokens: Tensor, valid: Tensor, hidden: Tensor | None) -> Encoded:
        """Tokens → features and embedding."""
        silent = torch.zeros(self.encoder.config.transformer.dim)
        return self.encoder.encode(hide(self.encoder.embed(tokens), hidden, silent), valid)

    def classify(self, embedding: Tensor, row: Tensor) -> Tensor:
        """Embeddings seen against a row of statistics → logits [B, C]."""
        logits: Tensor = self.categories(self.dropout(self.norm(embedding, row)))
        return logits


class DistilTask:
    """Loss of the distillation stage; the teachers are frozen, their logits averaged."""

    def __init__(
        self, config: DistilConfig, module: Student, teachers: Sequence[Classifier], batches: TokenBatches
    ) -> None:
        self.config, self.module, self.batches = config, module, batches
        self._teachers = [teacher.eval() for teacher in teachers]

    def loss(self, batch: Mapping[str, Tensor]) -> tuple[Tensor, Mapping[str, Tensor]]:
        """Labels + logits + embedding + middle layer + frames."""
        model, config = self.module, self.config
        valid = lengths_to_valid(batch["length"], batch["tokens"].shape[2])
        encoded = model.encode(batch["tokens"], valid, drop_mask(valid, config.drop_ratio))
        model.norm.learn(encoded.embedding.detach(), batch["corpus"])
        row = statistics_row(batch["corpus"], len(model.norm.mean) - 1, config.line_chance)
        logits = model.classify(encoded.embedding, row)
        wanted = smooth(batch["label"], batch["allowed"], config.label_smoothing)
        labels = masked_cross_entropy(logits, wanted, batch["allowed"]).mean()
        taught, teacher = self._teach(batch, valid, row)
        follow = soft_divergence(logits, taught, torch.ones_like(batch["allowed"]), config.temperature).mean()
        embedding = 1 - nn.functional.cosine_similarity(encoded.embedding, teacher.embedding).mean()
        middle = (encoded.middle - teacher.middle).float()[valid].square().mean()
        middle = middle / teacher.middle.float()[valid].var().clamp(min=1e-3)
        loss = labels + config.logit_weight * follow
        loss = loss + config.embedding_weight * embedding + config.middle_weight * middle
        figures = {"labels": labels.detach(), "follow": follow.detach(), "hit": hit_rate(logits, batch)}
        if config.frame_weight and batch["target"].shape[2]:
            heard = valid & batch["heard"][:, None]
            frames = frame_loss(model.encoder.predict_frames(encoded.frames), batch["target"], heard)
            loss = loss + config.frame_weight * frames
            figures["frames"] = frames.detach()
        return loss, figures

    @torch.no_grad()
    def _teach(self, batch: Mapping[str, Tensor], valid: Tensor, row: Tensor) -> tuple[Tensor, Encoded]:
        heard = [teacher.encode(batch["tokens"], valid, None) for teacher in self._teachers]
        logits = [t.classify(e.embedding, row) for t, e in zip(self._teachers, heard, strict=True)]
        return torch.stack(logits).mean(dim=0), heard[0]


def distil(
    config: DistilConfig, encoder: EncoderConfig, tokenizer: TokenizerConfig, teachers: Sequence[Classifier],
    prepared: Path, tokens: Path, folder: Path,
) -> None:  # fmt: skip
    """Run the stage: `model.safetensors`, `config.json`, `log.jsonl` in `folder`."""
    save_config(config, folder / "config.json")
    cache, store = AudioCache(prepared), TokenStore(tokens)
    data, names = labelled_data(cache, store, 1.0, config.corpus_power, config.loop.seed)
    torch.manual_seed(config.loop.seed)
    model = Student(encoder, tokenizer, len(names))
    model.start_from(teachers[0])
    batches = TokenBatches(data, config.batches, config.loop.seed)
    train(DistilTask(config, model, teachers, batches), config.loop, folder, "distil")
