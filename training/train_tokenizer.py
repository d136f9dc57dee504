"""Stage `tokenizer`: the audio VQ-VAE learns to rebuild clean sound, and what a teacher hears in it, from a bad line.

Two signals reach the tokens: log-mel features of the undamaged clip (L1), and the teacher's frames, predicted by a
transformer over the quantised vectors (which later stages go on training).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils.data import Dataset

from models.audio_tokenizer import AudioTokenizer
from models.config import EncoderConfig, TokenizerConfig
from models.streaming import StateReader
from models.student import AudioEncoder, lengths_to_valid
from training.config import save_config
from training.data.batches import BucketSampler, VariantConfig, pad_rows, vary
from training.data.cache import HOP_SAMPLES, MIXABLE, AudioCache, Clip, is_kind
from training.data.telephony import Audio, TelephonyConfig, set_level
from training.engine import LoopConfig, train


@dataclass(frozen=True, slots=True)
class TokenizerStageConfig:
    """Everything that the stage needs to know."""

    model: TokenizerConfig = field(default_factory=TokenizerConfig)
    encoder: EncoderConfig = field(default_factory=EncoderConfig)
    loop: LoopConfig = field(default_factory=lambda: LoopConfig(steps=2400))
    telephony: TelephonyConfig = field(default_factory=TelephonyConfig)
    max_frames: int = 80
    budget_frames: int = 3600
    frame_weight: float = 2.0
    commitment_weight: float = 0.25
    noise_share: float = 0.04
    """Share of music, prompts and the like among the clips, so that they have tokens of their own."""


class LearnedTokenizer(nn.Module):
    """The tokenizer, and the encoder that predicts the teacher from its quantised vectors."""

    def __init__(self, config: TokenizerStageConfig, teacher_dim: int) -> None:
        super().__init__()
        self.tokenizer = AudioTokenizer(config.model)
        self.encoder = AudioEncoder(_with_teacher(config.encoder, teacher_dim), config.model)
        self.project = nn.Linear(config.model.code_dim, config.encoder.transformer.dim, bias=False)
        for unused in (*self.encoder.embed.parameters(), *self.encoder.pool.parameters()):
            unused.requires_grad_(False)

    @torch.no_grad()
    def hand_over(self) -> AudioEncoder:
        """The encoder with its token embeddings started from the codebooks."""
        self.encoder.embed.start_from(self.tokenizer.quantizer.codebooks, self.project.weight)
        return self.encoder


def _with_teacher(config: EncoderConfig, teacher_dim: int) -> EncoderConfig:
    return EncoderConfig(config.transformer, config.embedding_dim, teacher_dim)


def corpus_weights(clips: Sequence[Clip], power: float = 0.5) -> np.ndarray[Any, np.dtype[np.float64]]:
    """Weight of each clip so that a corpus of n clips counts as n^power (0: all corpora alike, 1: all clips alike)."""
    counts = Counter(clip.corpus for clip in clips)
    return np.array([counts[clip.corpus] ** (power - 1.0) for clip in clips])


class AudioBatches(Dataset[dict[str, Tensor]]):
    """Step number → a batch of telephone audio, its clean twin and the teacher's frames."""

    def __init__(self, cache: AudioCache, clips: Sequence[Clip], config: TokenizerStageConfig) -> None:
        self._cache, self._clips, self._config = cache, clips, config
        weights = corpus_weights(clips)
        noisy = np.array([clip.kind is not None for clip in clips])
        if noisy.any() and not noisy.all():
            speech = weights[~noisy].sum()
            weights[noisy] *= config.noise_share / (1 - config.noise_share) * speech / weights[noisy].sum()
        lengths = [min(clip.frames, config.max_frames) for clip in clips]
        self._sampler = BucketSampler(lengths, weights, config.budget_frames, config.loop.seed)
        self._variant = VariantConfig(config.telephony, config.max_frames)
        self._noises = noise_bank(cache, clips)

    def __getitem__(self, step: int) -> dict[str, Tensor]:
        chosen, rng = self._sampler.draw(step)
        dim = self._cache.teacher_dim
        damaged, clean, targets, lengths, heard = [], [], [], [], []
        for number in chosen:
            clip = self._clips[number]
            variant = vary(self._cache, clip, self._variant, rng, self._noises)
            frames = self._cache.frames(clip)
            damaged.append(variant.audio)
            clean.append(set_level(variant.clean, slice(None), -26.0))
            lengths.append(len(variant.frames))
            heard.append(frames is not None)
            targets.append(
                np.zeros((len(variant.frames), dim), np.float32) if frames is None else frames[variant.frames]
            )
        return {
            "audio": torch.from_numpy(pad_rows(damaged, 0)),
            "clean": torch.from_numpy(pad_rows(clean, 0)),
            "target": torch.from_numpy(pad_rows(targets, 0)),
            "length": torch.tensor(lengths),
            "heard": torch.tensor(heard),
        }


def noise_bank(cache: AudioCache, clips: Sequence[Clip], most: int = 400) -> list[Audio]:
    """Training noise to mix in: ambience and backgrounds, and a babble of many voices."""
    wanted = [c for c in clips if is_kind(c, MIXABLE)]
    bank = [cache.audio(c) for c in wanted[:most]]
    rng = np.random.default_rng(7)
    voices = [c for c in clips if c.kind is None and c.samples > 16_000]
    for _ in range(min(24, len(voices) // 4)):
        chosen = [cache.audio(voices[i]) for i in rng.integers(len(voices), size=6)]
        shortest = min(len(v) for v in chosen)
        bank.append(
            np.sum([set_level(v[:shortest], slice(None), -30.0) for v in chosen], axis=0).astype(np.float32)
        )
    return bank


class TokenizerTask:
    """Loss of the tokenizer stage."""

    def __init__(self, config: TokenizerStageConfig, cache: AudioCache, clips: Sequence[Clip]) -> None:
        self.config = config
        torch.manual_seed(config.loop.seed)
        self.module: LearnedTokenizer = LearnedTokenizer(config, cache.teacher_dim)
        self.batches = AudioBatches(cache, clips, config)

    @torch.no_grad()
    def measure_features(self, batches: int = 8) -> None:
        """Set the front-end's affine map from the first batches, so that features have about unit variance."""
        frontend = self.module.tokenizer.frontend
        kept = []
        for step in range(batches):
            batch = self.batches[step]
            reader = StateReader(torch.zeros(len(batch["audio"]), frontend.state_size))
            logs = torch.log10(frontend.relative_power(batch["audio"], reader) + frontend.config.floor)
            valid = lengths_to_valid(batch["length"] * 4, logs.shape[2])
            kept.append(logs.transpose(1, 2)[valid])
        joined = torch.cat(kept)
        frontend.mean.copy_(joined.mean(dim=0))
        frontend.scale.copy_(1 / joined.std(dim=0).clamp(min=1e-3))

    def loss(self, batch: Mapping[str, Tensor]) -> tuple[Tensor, Mapping[str, Tensor]]:
        """Reconstruction + commitment + the teacher's frames."""
        model, config = self.module, self.config
        valid = lengths_to_valid(batch["length"], batch["audio"].shape[1] // HOP_SAMPLES)
        quantized = model.tokenizer.quantize(batch["audio"], valid)
        with torch.no_grad():
            frontend = model.tokenizer.frontend
            wanted = frontend(batch["clean"], StateReader(torch.zeros(len(valid), frontend.state_size)))
        rebuilt = model.tokenizer.decoder(quantized.vectors)
        fine = valid.repeat_interleave(4, dim=1)
        rebuild = (rebuilt - wanted).abs().mean(dim=1)[fine].mean()
        loss = rebuild + config.commitment_weight * quantized.commitment
        figures = {"rebuild": rebuild.detach(), "commitment": quantized.commitment.detach()}
        taught = valid & batch["heard"][:, None]
        if batch["target"].shape[2] and bool(taught.any()):
            encoded = model.encoder.encode(model.project(quantized.vectors.transpose(1, 2)), valid)
            predicted = model.encoder.predict_frames(encoded.frames).float()
            frames = (predicted - batch["target"]).square().mean(dim=2)[taught].mean()
            loss = loss + config.frame_weight * frames
            figures["frames"] = frames.detach()
        return loss, figures


def train_tokenizer(config: TokenizerStageConfig, prepared: Path, folder: Path) -> None:
    """Run the stage: `model.safetensors`, `config.json`, `log.jsonl` in `folder`."""
    save_config(config, folder / "config.json")
    cache = AudioCache(prepared)
    clips = [clip for clip in cache.clips if clip.split == "train" and clip.frames >= 8]
    task = TokenizerTask(config, cache, clips)
    task.measure_features()
    train(task, config.loop, folder, "tokenizer")
