"""Stage `finetune`: the pretrained model learns categories from labels, each corpus over those that it holds."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from models.config import MaeConfig, TokenizerConfig
from models.fusion import CrossModalFusion
from models.mae import MaskedAutoencoder, hide
from models.masking import span_mask
from models.pooling import AttentivePooling
from models.student import AudioEncoder, Encoded, lengths_to_valid
from training.config import save_config
from training.corpora.errors import CorpusError
from training.corpora.labels import CATEGORIES, EVALUATION_ONLY, Target, held_categories, target
from training.corpora.registry import REGISTRY
from training.corpora.splits import label_share
from training.data.cache import AudioCache, Clip
from training.data.token_batches import TokenBatchConfig, TokenBatches, TokenData
from training.data.tokens import TokenStore
from training.engine import LoopConfig, train
from training.objectives import frame_loss, masked_cross_entropy


@dataclass(frozen=True, slots=True)
class FinetuneConfig:
    """Everything that the stage needs to know.

    label_share: part of the training labels that is used. line_chance: how often an embedding is seen against its own
    corpus's statistics rather than the population's.
    """

    loop: LoopConfig = field(default_factory=lambda: LoopConfig(steps=1200, learning_rate=3e-4))
    batches: TokenBatchConfig = field(default_factory=TokenBatchConfig)
    label_share: float = 1.0
    label_smoothing: float = 0.05
    frame_weight: float = 0.7
    drop_ratio: float = 0.15
    line_chance: float = 0.5
    corpus_power: float = 0.5


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


class Classifier(nn.Module):
    """The teacher: audio half, fusion with video where there is any, pooling, categories."""

    def __init__(self, config: MaeConfig, tokenizer: TokenizerConfig, corpora: int) -> None:
        super().__init__()
        transformer, dim = config.encoder.transformer, config.encoder.embedding_dim
        self.audio = AudioEncoder(config.encoder, tokenizer)
        self.to_video = CrossModalFusion(transformer, config.fusion_layers)
        self.pool = AttentivePooling(transformer.dim, dim)
        self.norm = CorpusNorm(corpora, dim)
        self.dropout = nn.Dropout(0.2)
        self.categories = nn.Linear(dim, len(CATEGORIES))

    def start_from(self, mae: MaskedAutoencoder) -> None:
        """Take over what pretraining learned."""
        self.audio.load_state_dict(mae.audio.state_dict())
        self.to_video.load_state_dict(mae.to_video.state_dict())

    def encode(self, tokens: Tensor, valid: Tensor, hidden: Tensor | None) -> Encoded:
        """Tokens → features and the fused embedding; audio only."""
        silent = torch.zeros(self.audio.config.transformer.dim)
        encoded = self.audio.encode(hide(self.audio.embed(tokens), hidden, silent), valid)
        fused = self.to_video(encoded.frames, None, None)
        embedding, salience = self.pool(fused, valid)
        return Encoded(encoded.frames, encoded.middle, embedding, salience)

    def classify(self, embedding: Tensor, row: Tensor) -> Tensor:
        """Embeddings seen against a row of statistics → logits [B, C]."""
        logits: Tensor = self.categories(self.dropout(self.norm(embedding, row)))
        return logits


class FinetuneTask:
    """Loss of the fine-tuning stage."""

    def __init__(self, config: FinetuneConfig, module: Classifier, batches: TokenBatches) -> None:
        self.config, self.module, self.batches = config, module, batches

    def loss(self, batch: Mapping[str, Tensor]) -> tuple[Tensor, Mapping[str, Tensor]]:
        """Categories + frames."""
        model, config = self.module, self.config
        valid = lengths_to_valid(batch["length"], batch["tokens"].shape[2])
        encoded = model.encode(batch["tokens"], valid, drop_mask(valid, config.drop_ratio))
        model.norm.learn(encoded.embedding.detach(), batch["corpus"])
        row = statistics_row(batch["corpus"], len(model.norm.mean) - 1, config.line_chance)
        logits = model.classify(encoded.embedding, row)
        wanted = smooth(batch["label"], batch["allowed"], config.label_smoothing)
        labels = masked_cross_entropy(logits, wanted, batch["allowed"]).mean()
        loss, figures = labels, {"labels": labels.detach(), "hit": hit_rate(logits, batch)}
        if config.frame_weight and batch["target"].shape[2]:
            heard = valid & batch["heard"][:, None]
            frames = frame_loss(model.audio.predict_frames(encoded.frames), batch["target"], heard)
            loss = loss + config.frame_weight * frames
            figures["frames"] = frames.detach()
        return loss, figures


def drop_mask(valid: Tensor, ratio: float) -> Tensor | None:
    """Spans of tokens to silence, as augmentation, from torch's (step-seeded) generator; None for a ratio of 0."""
    if not ratio:
        return None
    generator = torch.Generator().manual_seed(int(torch.randint(2**31, ())))
    return span_mask(valid, ratio, 4, generator)


def statistics_row(corpus: Tensor, population: int, line_chance: float) -> Tensor:
    """Each row's own corpus with probability `line_chance`, else the population's row."""
    own = torch.rand(len(corpus)) < line_chance
    return torch.where(own, corpus, torch.full_like(corpus, population))


def smooth(label: Tensor, allowed: Tensor, amount: float) -> Tensor:
    """Give `amount` of the probability to all allowed categories alike."""
    even = allowed.float() / allowed.sum(dim=1, keepdim=True).clamp(min=1)
    return label * (1 - amount) + even * amount


def hit_rate(logits: Tensor, batch: Mapping[str, Tensor]) -> Tensor:
    """Share of rows whose most likely allowed category is the label's."""
    best = logits.detach().masked_fill(~batch["allowed"], -1e4).argmax(dim=1)
    return (best == batch["label"].argmax(dim=1)).float().mean()


def labelled_numbers(clips: Sequence[Clip], split: str) -> dict[int, Target]:
    """Clips of a split that carry a usable target, by number; evaluation-only corpora never."""
    found = {}
    held = held_categories(clip for clip in clips if clip.kind is None)
    for number, clip in enumerate(clips):
        if clip.split != split or clip.kind is not None or clip.corpus in EVALUATION_ONLY:
            continue
        wanted = target(clip, held)
        if wanted is not None:
            found[number] = wanted
    return found


def balanced_weights(
    clips: Sequence[Clip], targets: Sequence[Target], power: float
) -> npt.NDArray[np.float64]:
    """Corpora by n^power (none beyond its `max_share`), and within a corpus every category alike; sums to 1."""
    per_corpus = Counter(clip.corpus for clip in clips)
    shares = {name: count**power for name, count in per_corpus.items()}
    total = sum(shares.values())
    shares = {name: value / total for name, value in shares.items()}
    if len(shares) > 1:
        shares = {n: min(v, REGISTRY[n].facts.max_share if n in REGISTRY else 1.0) for n, v in shares.items()}
    cells = [(clip.corpus, int(t.probabilities.argmax())) for clip, t in zip(clips, targets, strict=True)]
    per_cell = Counter(cells)
    kinds = Counter(corpus for corpus, _ in per_cell)
    weights = np.array([shares[c] / (kinds[c] * per_cell[(c, k)]) for c, k in cells])
    return np.asarray(weights / weights.sum())


def labelled_data(
    cache: AudioCache, store: TokenStore, share: float, power: float, seed: int
) -> tuple[TokenData, list[str]]:
    """Training clips with targets, their sampling weights, and the corpora by number.

    Raises:
        CorpusError: no training clip has a label.
    """
    targets = labelled_numbers(cache.clips, "train")
    numbers = [n for n in targets if store.length(0, n) >= 4]
    if share < 1:
        chosen = [cache.clips[n] for n in numbers]
        kept = {clip.id for clip in label_share(chosen, share, seed=seed, held=held_categories(chosen))}
        numbers = [n for n in numbers if cache.clips[n].id in kept]
    if not numbers:
        raise CorpusError("no training clip has a label: the stages from `finetune` on need some")
    clips = [cache.clips[n] for n in numbers]
    names = sorted({clip.corpus for clip in clips})
    wanted = [targets[n] for n in numbers]
    weights = balanced_weights(clips, wanted, power)
    return TokenData(cache, store, numbers, weights, wanted, [names.index(c.corpus) for c in clips]), names


def finetune(
    config: FinetuneConfig, mae: MaeConfig, tokenizer: TokenizerConfig, pretrained: MaskedAutoencoder | None,
    prepared: Path, tokens: Path, folder: Path,
) -> None:  # fmt: skip
    """Run the stage: `model.safetensors`, `config.json`, `log.jsonl` in `folder`.

    `pretrained` None starts from scratch.
    """
    save_config(config, folder / "config.json")
    cache, store = AudioCache(prepared), TokenStore(tokens)
    data, names = labelled_data(cache, store, config.label_share, config.corpus_power, config.loop.seed)
    torch.manual_seed(config.loop.seed)
    model = Classifier(mae, tokenizer, len(names))
    if pretrained is not None:
        model.start_from(pretrained)
    batches = TokenBatches(data, config.batches, config.loop.seed)
    train(FinetuneTask(config, model, batches), config.loop, folder, "finetune")
