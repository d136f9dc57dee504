"""Stage `teach`: a pretrained speech encoder learns the categories from labelled telephone audio, as a teacher.

It is large, and never leaves the training machine. What it says of every clip is what the student later learns from:
category logits, one embedding, and frame features.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils.data import Dataset
from tqdm import tqdm

from models.pooling import AttentivePooling
from models.student import lengths_to_valid
from training.checkpoint import load_weights
from training.config import save_config
from training.corpora.errors import CorpusError
from training.corpora.labels import Target
from training.data.batches import BucketSampler, VariantConfig, active_slice, pad_rows, vary
from training.data.cache import HOP_SAMPLES, AudioCache, Clip
from training.data.taught import Basis, Floats, write_taught
from training.data.telephony import TelephonyConfig, set_level
from training.engine import LoopConfig, train
from training.finetune import balanced_weights, labelled_numbers
from training.line_classifier import LineClassifier, drop_mask, hit_rate, judge, smooth
from training.objectives import masked_cross_entropy
from training.prepare import fit_pca
from training.teachers.whisper import WHISPERS, load_variables
from training.teachers.whisper_encoder import NarrowbandMel, WhisperEncoder, encoder_from
from training.train_tokenizer import noise_bank

LEVEL_DB = -26.0
WEIGHTS = "model.safetensors"


@dataclass(frozen=True, slots=True)
class TeachConfig:
    """Everything that the stage needs to know.

    weights: `whisper-base` or `whisper-tiny`. layers: how many of the encoder's are used. pace: how much slower than
    the new layers the pretrained ones learn.
    """

    weights: str = "whisper-base"
    layers: int = 4
    embedding_dim: int = 256
    dropout: float = 0.1
    pace: float = 0.2
    loop: LoopConfig = field(
        default_factory=lambda: LoopConfig(steps=1000, learning_rate=5e-4, warmup=80, weight_decay=0.05)
    )
    telephony: TelephonyConfig = field(default_factory=TelephonyConfig)
    speed_chance: float = 0.6
    max_frames: int = 80
    budget_frames: int = 3600
    label_smoothing: float = 0.1
    drop_ratio: float = 0.15
    band_drop: int = 12
    line_chance: float = 0.5
    corpus_power: float = 0.5
    frame_dim: int = 128
    basis_clips: int = 1200

    def __post_init__(self) -> None:
        if self.weights not in WHISPERS:
            raise ValueError(f"weights must be one of {', '.join(WHISPERS)}, got {self.weights!r}")


class Teacher(nn.Module):
    """Pretrained layers, a learned mixture of them, attentive pooling, categories."""

    def __init__(self, encoder: WhisperEncoder, config: TeachConfig, corpora: int) -> None:
        super().__init__()
        self.mel = NarrowbandMel()
        self.encoder = encoder
        self.mixture = nn.Parameter(torch.zeros(len(encoder.layers)))
        self.mixed_norm = nn.LayerNorm(encoder.dim)
        self.dropout = nn.Dropout(config.dropout)
        self.pool = AttentivePooling(encoder.dim, config.embedding_dim)
        self.classifier = LineClassifier(corpora, config.embedding_dim, 0.3)

    def frames(self, mel: Tensor, valid: Tensor) -> Tensor:
        """Mel features [B, 80, 2 T], valid [B, T] → mixed frame features [B, T, D]."""
        layers = self.encoder(mel, valid)
        share = torch.softmax(self.mixture, dim=0)
        mixed: Tensor = self.mixed_norm(sum(w * layer for w, layer in zip(share, layers, strict=True)))
        return mixed

    def embed(self, frames: Tensor, valid: Tensor) -> Tensor:
        """Frame features → embedding [B, E]."""
        embedding: Tensor = self.pool(self.dropout(frames), valid)[0]
        return embedding


class LabelledAudio(Dataset[dict[str, Tensor]]):
    """Step number → a batch of telephone audio at one level, with labels."""

    def __init__(self, cache: AudioCache, targets: Mapping[int, Target], config: TeachConfig) -> None:
        self._cache, self._config = cache, config
        if not targets:
            raise CorpusError("no training clip has a label: a teacher needs some")
        self._numbers = list(targets)
        self._targets = [targets[n] for n in self._numbers]
        clips = [cache.clips[n] for n in self._numbers]
        self.names = sorted({clip.corpus for clip in clips})
        self._corpora = [self.names.index(clip.corpus) for clip in clips]
        lengths = [min(clip.frames, config.max_frames) for clip in clips]
        weights = balanced_weights(clips, self._targets, config.corpus_power)
        self._sampler = BucketSampler(lengths, weights, config.budget_frames, config.loop.seed)
        self._variant = VariantConfig(config.telephony, config.max_frames, config.speed_chance)
        self._noises = noise_bank(cache, [c for c in cache.clips if c.split == "train"])

    def __getitem__(self, step: int) -> dict[str, Tensor]:
        chosen, rng = self._sampler.draw(step)
        rows, lengths = [], []
        for place in chosen:
            clip = self._cache.clips[self._numbers[int(place)]]
            variant = vary(self._cache, clip, self._variant, rng, self._noises)
            rows.append(set_level(variant.audio, slice(None), LEVEL_DB))
            lengths.append(2 * len(variant.frames))
        return {
            "audio": torch.from_numpy(pad_rows(rows, 0)),
            "length": torch.tensor(lengths),
            "label": torch.from_numpy(np.stack([self._targets[int(p)].probabilities for p in chosen])),
            "allowed": torch.from_numpy(np.stack([self._targets[int(p)].mask for p in chosen])),
            "corpus": torch.tensor([self._corpora[int(p)] for p in chosen]),
        }


class TeachTask:
    """Loss of the stage: categories, each corpus over its own."""

    def __init__(self, config: TeachConfig, module: Teacher, batches: LabelledAudio) -> None:
        self.config, self.module, self.batches = config, module, batches

    def loss(self, batch: Mapping[str, Tensor]) -> tuple[Tensor, Mapping[str, Tensor]]:
        """Cross-entropy over SpecAugmented audio (Park et al. 2019)."""
        model, config = self.module, self.config
        mel = model.mel(batch["audio"])
        valid = lengths_to_valid(batch["length"], mel.shape[2] // 2)
        mel = self._spared(mel, valid)
        embedding = model.embed(model.frames(mel, valid), valid)
        logits, _ = model.classifier.train_step(embedding, batch["corpus"], config.line_chance)
        wanted = smooth(batch["label"], batch["allowed"], config.label_smoothing)
        labels = masked_cross_entropy(logits, wanted, batch["allowed"]).mean()
        return labels, {"hit": hit_rate(logits, batch)}

    def _spared(self, mel: Tensor, valid: Tensor) -> Tensor:
        """Silence spans of time and one band of each row, at the row's floor."""
        floor = mel.amin(dim=(1, 2), keepdim=True)
        hidden = drop_mask(valid, self.config.drop_ratio)
        if hidden is not None:
            mel = torch.where(hidden.repeat_interleave(2, dim=1)[:, None], floor, mel)
        if self.config.band_drop:
            width = torch.randint(0, self.config.band_drop + 1, (len(mel), 1))
            start = torch.randint(0, 56, (len(mel), 1))
            bands = torch.arange(mel.shape[1])[None]
            mel = torch.where(((bands >= start) & (bands < start + width))[:, :, None], floor, mel)
        return mel


def train_teacher(config: TeachConfig, encoder: WhisperEncoder, prepared: Path, folder: Path) -> Teacher:
    """Train one teacher: `model.safetensors`, `config.json`, `log.jsonl` in `folder`; finished ones are loaded.

    Raises:
        CorpusError: no training clip has a label.
    """
    cache = AudioCache(prepared)
    batches = LabelledAudio(cache, labelled_numbers(cache.clips, "train"), config)
    torch.manual_seed(config.loop.seed)
    teacher = Teacher(encoder, config, len(batches.names))
    if not (folder / WEIGHTS).exists():
        save_config(config, folder / "config.json")
        train(
            TeachTask(config, teacher, batches), config.loop, folder, f"teach {config.weights}",
            pace=lambda name: config.pace if name.startswith("encoder.") else 1.0,
        )  # fmt: skip
    load_weights(teacher, folder / WEIGHTS)
    return teacher.eval()


def teach(config: TeachConfig, prepared: Path, folder: Path) -> None:
    """Train one teacher and let it hear every training clip: a `TaughtStore` in `folder`.

    Raises:
        TeacherMissingError: the pretrained weights are not installed.
    """
    encoder = encoder_from(load_variables(config.weights), config.layers)
    write_lessons(config, train_teacher(config, encoder, prepared, folder), prepared, folder)


@torch.no_grad()
def _heard(
    teacher: Teacher, cache: AudioCache, numbers: Sequence[int], budget_frames: int
) -> Iterator[tuple[int, Floats, Floats]]:
    """(clip number, embedding [E], frame features [T, D] at 25 a second) of clips as they lie in the cache."""
    teacher.eval()
    order = sorted(numbers, key=lambda n: cache.clips[n].frames)
    with tqdm(total=len(order), desc="hear", unit="clip", mininterval=2) as bar:
        while order:
            longest = cache.clips[order[: min(64, len(order))][-1]].frames
            chosen = order[: max(1, min(64, budget_frames // max(1, longest)))]
            order = order[len(chosen) :]
            clips = [cache.clips[n] for n in chosen]
            audio = torch.from_numpy(pad_rows([levelled(cache, clip) for clip in clips], 0))
            mel = teacher.mel(audio)
            with torch.autocast("cpu", dtype=torch.bfloat16, enabled=torch.cpu._is_avx512_bf16_supported()):
                valid = lengths_to_valid(torch.tensor([2 * clip.frames for clip in clips]), mel.shape[2] // 2)
                features = teacher.frames(mel, valid).float()
                vectors = teacher.embed(features, valid).float().numpy()
            halved = features.reshape(len(clips), -1, 2, features.shape[2]).mean(dim=2).numpy()
            for place, (number, clip) in enumerate(zip(chosen, clips, strict=True)):
                yield number, vectors[place], halved[place, : clip.frames]
            bar.update(len(chosen))


def levelled(cache: AudioCache, clip: Clip) -> Floats:
    """The clip's whole hops, its speech at the common level."""
    audio = cache.audio(clip)[: clip.frames * HOP_SAMPLES]
    return set_level(audio, active_slice(clip), LEVEL_DB)


def write_lessons(config: TeachConfig, teacher: Teacher, prepared: Path, folder: Path) -> None:
    """Let the teacher hear every training clip with speech; write a `TaughtStore` into `folder`."""
    cache = AudioCache(prepared)
    numbers = [
        n for n, c in enumerate(cache.clips) if c.split == "train" and c.kind is None and c.frames >= 4
    ]
    sample = np.random.default_rng(config.loop.seed).permutation(numbers)[: config.basis_clips]
    seen = np.concatenate([f[::4] for _, _, f in _heard(teacher, cache, [int(n) for n in sample], 4800)])
    fitted = fit_pca(seen, config.frame_dim)
    basis = Basis(fitted["mean"], fitted["basis"], fitted["scale"])
    said = ((n, e, basis.project(f)) for n, e, f in _heard(teacher, cache, numbers, 4800))
    corpora = [c.corpus for c in cache.clips]
    write_taught(
        folder, config.weights, len(cache.clips), said,
        lambda table, heard: judge(teacher.classifier.categories, table, heard, corpora), config.frame_dim,
    )  # fmt: skip
