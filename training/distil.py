"""Stage `distil`: an audio-only student learns from teachers and labels, on every training clip with speech.

Of each teacher (`training.data.taught`) it learns the category logits, the embedding, and where there are any its frame
features. Clips without labels teach through the teachers alone. Every draw is heard over a new telephone line, and the
tokenizer goes on learning with the encoder, so that the tokens come to hold what the student is asked for.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from safetensors.torch import load_file
from torch import Tensor, nn
from torch.utils.data import Dataset

from models.audio_tokenizer import AudioTokenizer
from models.audiovisual import hide
from models.config import EncoderConfig, TokenizerConfig
from models.student import AudioEncoder, Encoded, lengths_to_valid
from training.config import save_config
from training.corpora.errors import CorpusError
from training.corpora.labels import CATEGORIES, EVALUATION_ONLY, Target
from training.data.batches import BucketSampler, VariantConfig, pad_rows, vary
from training.data.cache import HOP_SAMPLES, AudioCache
from training.data.taught import COLD, LINE, TaughtStore
from training.data.telephony import TelephonyConfig
from training.engine import LoopConfig, train
from training.finetune import balanced_weights, labelled_numbers
from training.line_classifier import LineClassifier, drop_mask, hit_rate, smooth
from training.objectives import frame_loss, masked_cross_entropy, soft_divergence
from training.train_tokenizer import corpus_weights, noise_bank


@dataclass(frozen=True, slots=True)
class DistilConfig:
    """Everything that the stage needs to know.

    student: its size; None: as large as the autoencoder's audio half, and started from it. unlabelled_share: how often
    a clip without a label is drawn. *_weight: of a term of the loss; teacher_frame_weight is for the teachers' own
    frames, frame_weight for those of `prepare`, fused_weight for the audiovisual model's logits beside another's.
    tokenizer_pace: how fast the tokenizer goes on learning beside the encoder (0: not at all).
    """

    student: EncoderConfig | None = None
    loop: LoopConfig = field(default_factory=lambda: LoopConfig(steps=3500, learning_rate=5e-4))
    telephony: TelephonyConfig = field(default_factory=TelephonyConfig)
    speed_chance: float = 0.6
    speed: tuple[float, float] = (0.85, 1.18)
    max_frames: int = 90
    budget_frames: int = 3600
    temperature: float = 2.0
    label_weight: float = 0.5
    logit_weight: float = 0.5
    embedding_weight: float = 0.5
    teacher_frame_weight: float = 1.0
    frame_weight: float = 0.5
    commitment_weight: float = 0.25
    label_smoothing: float = 0.05
    drop_ratio: float = 0.15
    line_chance: float = 0.5
    corpus_power: float = 0.5
    unlabelled_share: float = 0.25
    fused_weight: float = 0.3
    tokenizer_pace: float = 0.3


class Student(nn.Module):
    """What ships, tokenizer and encoder, with a throw-away classifier and throw-away maps to what the teachers say."""

    def __init__(
        self, config: EncoderConfig, tokenizer: AudioTokenizer, corpora: int, embeddings: Sequence[int] = (),
        frames: Sequence[int] = (),
    ) -> None:  # fmt: skip
        super().__init__()
        self.tokenizer = tokenizer
        self.encoder = AudioEncoder(config, tokenizer.config)
        self.classifier = LineClassifier(corpora, config.embedding_dim, 0.2)
        self.to_embeddings = nn.ModuleList([nn.Linear(config.embedding_dim, width) for width in embeddings])
        self.to_frames = nn.ModuleList([nn.Linear(config.transformer.dim, width) for width in frames])

    def encode(self, audio: Tensor, valid: Tensor, hidden: Tensor | None) -> tuple[Encoded, Tensor]:
        """Audio [B, T · 320], valid [B, T] → features and embedding, and the quantiser's commitment loss."""
        continuous, _, _ = self.tokenizer.encode(audio, self.tokenizer.initial_state(len(audio)))
        quantized = self.tokenizer.quantizer(continuous, valid)
        embedded = self.encoder.embed(quantized.tokens)
        # Forward it is the embedding of the tokens; backward it reaches the tokenizer through a linear map.
        through = continuous.transpose(1, 2).float() @ self.code_map()
        embedded = embedded + (through - through.detach())
        silent = torch.zeros(self.encoder.config.transformer.dim)
        return self.encoder.encode(hide(embedded, hidden, silent), valid), quantized.commitment

    @torch.no_grad()
    def code_map(self) -> Tensor:
        """The linear map [C, D] that comes closest to taking every code to its token's embedding (least squares)."""
        codes = self.tokenizer.quantizer.codebooks.flatten(0, 1).float()
        tables = self.encoder.embed.tables.weight.float()
        square = codes.t() @ codes
        ridge = 1e-3 * square.diagonal().mean() * torch.eye(len(square))
        with torch.autocast(codes.device.type, enabled=False):
            solved: Tensor = torch.linalg.solve(square + ridge, codes.t() @ tables)
        return solved


class Lessons(Dataset[dict[str, Any]]):
    """Step number → telephone audio with labels and what the teachers say of it.

    audio [B, T · 320], length [B], target [B, T, D] and heard [B] (frames of `prepare`), label, allowed [B, C],
    corpus [B]; said [B, 2, C], told [B], and lists `embeddings` [B, E] and `frames` [B, T, D], one entry a teacher.
    """

    def __init__(
        self,
        data: LessonData,
        teachers: Sequence[TaughtStore],
        weights: Sequence[float],
        config: DistilConfig,
    ) -> None:
        self._data, self._teachers, self._weights = data, teachers, weights
        clips = [data.cache.clips[n] for n in data.numbers]
        lengths = [min(clip.frames, config.max_frames) for clip in clips]
        self._sampler = BucketSampler(lengths, data.weights, config.budget_frames, config.loop.seed)
        self._variant = VariantConfig(config.telephony, config.max_frames, config.speed_chance, config.speed)
        self._noises = noise_bank(data.cache, [c for c in data.cache.clips if c.split == "train"])

    def __getitem__(self, step: int) -> dict[str, Any]:
        data = self._data
        places, rng = self._sampler.draw(step)
        numbers = [data.numbers[int(place)] for place in places]
        variants = [vary(data.cache, data.cache.clips[n], self._variant, rng, self._noises) for n in numbers]
        sources = [variant.frames for variant in variants]
        heard = [data.cache.frames(data.cache.clips[n]) for n in numbers]
        targets = [data.targets[int(place)] for place in places]
        blank = np.zeros(len(CATEGORIES), np.float32)
        return {
            "audio": torch.from_numpy(pad_rows([variant.audio for variant in variants], 0)),
            "length": torch.tensor([len(source) for source in sources]),
            "target": _padded(heard, sources, data.cache.teacher_dim),
            "heard": torch.tensor([frames is not None for frames in heard]),
            "label": torch.from_numpy(np.stack([blank if t is None else t.probabilities for t in targets])),
            "allowed": torch.from_numpy(np.stack([blank > 1 if t is None else t.mask for t in targets])),
            "corpus": torch.tensor([data.corpora[int(place)] for place in places]),
            **self._said(numbers, sources),
        }

    def _said(self, numbers: Sequence[int], sources: Sequence[npt.NDArray[np.int64]]) -> dict[str, Any]:
        chosen = np.asarray(numbers)
        logits = np.average([t.logits[:, chosen] for t in self._teachers], axis=0, weights=self._weights)
        frames = [
            _padded([t.frames(n) for n in numbers], sources, t.frame_dim)
            for t in self._teachers
            if t.frame_dim
        ]
        return {
            "said": torch.from_numpy(np.ascontiguousarray(logits.transpose(1, 0, 2), dtype=np.float32)),
            "told": torch.from_numpy(np.all([t.heard[chosen] for t in self._teachers], axis=0)),
            "embeddings": [torch.from_numpy(t.embedding[chosen]) for t in self._teachers],
            "frames": frames,
        }


def _padded(
    frames: Sequence[npt.NDArray[np.float32] | None], sources: Sequence[npt.NDArray[np.int64]], width: int
) -> Tensor:
    """Each row's frames of the moments that its tokens stand for [B, T, width], zeros where there are none."""
    rows = [
        np.zeros((len(source), width), np.float32)
        if found is None
        else found[np.minimum(source, len(found) - 1)]
        for found, source in zip(frames, sources, strict=True)
    ]
    return torch.from_numpy(pad_rows(rows, 0))


class DistilTask:
    """Loss of the distillation stage."""

    def __init__(self, config: DistilConfig, module: Student, batches: Lessons) -> None:
        self.config, self.module, self.batches = config, module, batches

    def loss(self, batch: Mapping[str, Any]) -> tuple[Tensor, Mapping[str, Tensor]]:
        """Labels + teachers' logits, embeddings and frames + the frames of `prepare`."""
        model, config = self.module, self.config
        valid = lengths_to_valid(batch["length"], batch["audio"].shape[1] // HOP_SAMPLES)
        hidden = drop_mask(valid, config.drop_ratio)
        encoded, commitment = model.encode(batch["audio"], valid, hidden)
        logits, row = model.classifier.train_step(encoded.embedding, batch["corpus"], config.line_chance)
        loss, figures = self._labels(logits, batch)
        loss = loss + config.commitment_weight * commitment
        told = batch["told"]
        if bool(told.any()):
            cold = row == model.classifier.population
            said = torch.where(cold[:, None], batch["said"][:, COLD], batch["said"][:, LINE])
            every = torch.ones_like(batch["allowed"])
            follow = soft_divergence(logits[told], said[told], every[told], config.temperature).mean()
            loss = loss + config.logit_weight * follow
            apart = self._embeddings(encoded.embedding[told], [e[told] for e in batch["embeddings"]])
            loss = loss + config.embedding_weight * apart
            figures |= {"follow": follow.detach(), "embedding": apart.detach()}
        heard = valid & told[:, None]
        for number, (to_frames, wanted) in enumerate(zip(model.to_frames, batch["frames"], strict=True)):
            frames = frame_loss(to_frames(encoded.frames), wanted, heard)
            loss = loss + config.teacher_frame_weight * frames
            figures[f"frames_{number}"] = frames.detach()
        if config.frame_weight and batch["target"].shape[2] and model.encoder.frame_head is not None:
            heard = valid & batch["heard"][:, None]
            frames = frame_loss(model.encoder.predict_frames(encoded.frames), batch["target"], heard)
            loss = loss + config.frame_weight * frames
            figures["frames"] = frames.detach()
        return loss, figures

    def _labels(self, logits: Tensor, batch: Mapping[str, Tensor]) -> tuple[Tensor, dict[str, Tensor]]:
        rows = batch["allowed"].any(dim=1)
        if not bool(rows.any()):
            return logits.sum() * 0.0, {}
        allowed, label = batch["allowed"][rows], batch["label"][rows]
        wanted = smooth(label, allowed, self.config.label_smoothing)
        loss = masked_cross_entropy(logits[rows], wanted, allowed).mean()
        hit = hit_rate(logits[rows], {"allowed": allowed, "label": label})
        return self.config.label_weight * loss, {"labels": loss.detach(), "hit": hit}

    def _embeddings(self, embedding: Tensor, wanted: Sequence[Tensor]) -> Tensor:
        """Mean squared error to the teachers' standardised embeddings, averaged over teachers (1: no better than 0)."""
        apart = [
            (to(embedding).float() - w).square().mean()
            for to, w in zip(self.module.to_embeddings, wanted, strict=True)
        ]
        return torch.stack(apart).mean()


@dataclass(frozen=True, slots=True)
class LessonData:
    """What is drawn from. numbers: clips by their number in the cache; weights, targets and corpora go along."""

    cache: AudioCache
    numbers: Sequence[int]
    weights: npt.NDArray[np.float64]
    targets: Sequence[Target | None]
    corpora: Sequence[int]


def lesson_data(cache: AudioCache, config: DistilConfig) -> tuple[LessonData, list[str]]:
    """Labelled clips as `balanced_weights` says, the other speech by corpus; and the corpora by number.

    Raises:
        CorpusError: no training clip has a label.
    """
    targets = labelled_numbers(cache.clips, "train")
    labelled = [n for n in targets if cache.clips[n].frames >= 4]
    if not labelled:
        raise CorpusError("no training clip has a label: the stages from `finetune` on need some")
    other = [
        n
        for n, clip in enumerate(cache.clips)
        if n not in targets and clip.split == "train" and clip.kind is None
        and clip.corpus not in EVALUATION_ONLY and clip.frames >= 4
    ]  # fmt: skip
    clips = [cache.clips[n] for n in labelled]
    wanted = [targets[n] for n in labelled]
    weights = balanced_weights(clips, wanted, config.corpus_power)
    if other and config.unlabelled_share:
        extra = corpus_weights([cache.clips[n] for n in other], config.corpus_power)
        share = config.unlabelled_share
        weights = np.concatenate([(1 - share) * weights, share * extra / extra.sum()])
    else:
        other = []
    numbers = [*labelled, *other]
    names = sorted({cache.clips[n].corpus for n in numbers})
    rows = [names.index(cache.clips[n].corpus) for n in numbers]
    return LessonData(cache, numbers, weights, [*wanted, *([None] * len(other))], rows), names


def distil(
    config: DistilConfig, encoder: EncoderConfig, tokenizer: AudioTokenizer, start: AudioEncoder | None,
    teachers: Mapping[Path, float], prepared: Path, folder: Path,
) -> None:  # fmt: skip
    """Run the stage: `model.safetensors`, `config.json`, `log.jsonl` in `folder`.

    `tokenizer` goes on learning (in place); `start` gives the encoder's first weights where it is as large; `teachers`
    are folders of lessons, with the weight of each one's logits.
    """
    save_config(config, folder / "config.json")
    stores = [TaughtStore(path) for path in teachers]
    data, names = lesson_data(AudioCache(prepared), config)
    for unused in tokenizer.decoder.parameters():
        unused.requires_grad_(False)
    torch.manual_seed(config.loop.seed)
    model = Student(
        encoder, tokenizer, len(names), [s.embedding.shape[1] for s in stores],
        [s.frame_dim for s in stores if s.frame_dim],
    )  # fmt: skip
    if start is not None and same_size(start.config, encoder):
        model.encoder.load_state_dict(start.state_dict())
    task = DistilTask(config, model, Lessons(data, stores, list(teachers.values()), config))
    train(
        task, config.loop, folder, "distil",
        pace=lambda name: config.tokenizer_pace if name.startswith("tokenizer.") else 1.0,
    )  # fmt: skip


def same_size(one: EncoderConfig, other: EncoderConfig) -> bool:
    """Whether one encoder's weights fit into the other; dropout has none."""
    dropout = other.transformer.dropout
    return replace(one, transformer=replace(one.transformer, dropout=dropout)) == other


def load_student(
    folder: Path, config: EncoderConfig, tokenizer: TokenizerConfig
) -> tuple[AudioTokenizer, AudioEncoder]:
    """What `distil` made, without its throw-away parts."""
    weights = load_file(folder / "model.safetensors")
    parts: tuple[AudioTokenizer, AudioEncoder] = AudioTokenizer(tokenizer), AudioEncoder(config, tokenizer)
    for part, prefix in zip(parts, ("tokenizer.", "encoder."), strict=True):
        part.load_state_dict({k.removeprefix(prefix): v for k, v in weights.items() if k.startswith(prefix)})
        part.eval()
    return parts
