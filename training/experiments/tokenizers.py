"""Tokenizers: short trainings of equal budget with each quantiser, judged by what a linear probe reads from them."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from models.config import EncoderConfig, TokenizerConfig
from models.quantizer import Quantized, bits_per_second, perplexity
from models.streaming import StateReader
from models.student import lengths_to_valid
from training.data.batches import pad_rows, plain
from training.data.cache import HOP_SAMPLES, AudioCache, Clip
from training.data.telephony import CLEAN, set_level
from training.engine import LoopConfig, train
from training.experiments.figures import MEAN, uar
from training.experiments.ledger import Arm, Outcome
from training.experiments.probe import FloatArray, mean_and_std, probe, probed_numbers
from training.experiments.source import Source
from training.train_tokenizer import LearnedTokenizer, TokenizerStageConfig, TokenizerTask

CONTINUOUS = "continuous"
REFERENCE = "rvq_8x256"
MAX_FRAMES = 150


@dataclass(frozen=True, slots=True)
class TokenizersSettings:
    """What all arms share. described: dev clips behind reconstruction and perplexity."""

    loop: LoopConfig = field(
        default_factory=lambda: LoopConfig(steps=500, learning_rate=7e-4, warmup=50, device="cpu")
    )
    budget_frames: int = 2400
    described: int = 400


def variants(base: TokenizerConfig) -> dict[str, TokenizerConfig]:
    """Every quantiser by name, with the convolutions of `base`; the continuous one's is taken out after it is built."""
    found = {"rvq_8x256": replace(base, codebooks=8, codebook_size=256)}
    found |= {f"rvq_{k}x256": replace(base, codebooks=k, codebook_size=256) for k in (2, 4)}
    found["vq_1x1024"] = replace(base, codebooks=1, codebook_size=1024)
    found["rvq_8x256_rotation"] = replace(found["rvq_8x256"], gradient="rotation")
    # 8 × 6 × 5 = 240: the levels that Mentzer et al. (2023) advise for about 2^8 codes.
    found |= {f"fsq_{k}x240": _finite(base, k, (8, 6, 5)) for k in (2, 4, 8)}
    return {**found, CONTINUOUS: found["rvq_8x256"]}


def _finite(base: TokenizerConfig, groups: int, levels: tuple[int, ...]) -> TokenizerConfig:
    size, width = math.prod(levels), groups * len(levels)
    return replace(base, quantizer="fsq", levels=levels, codebooks=groups, codebook_size=size, code_dim=width)


class Continuous(nn.Module):
    """No quantiser: vectors go on as they are, and there are no tokens but zeros."""

    def __init__(self, config: TokenizerConfig) -> None:
        super().__init__()
        self.register_buffer("codebooks", torch.zeros(1, 1, config.code_dim), persistent=False)
        self.codebooks: Tensor

    def tokens(self, vectors: Tensor) -> Tensor:
        """Zeros [B, 1, T]."""
        return torch.zeros(len(vectors), 1, vectors.shape[2], dtype=torch.int64)

    def forward(self, vectors: Tensor, keep: Tensor) -> Quantized:
        """The identity."""
        return Quantized(vectors.float(), self.tokens(vectors), vectors.new_zeros(()).float())


@dataclass(slots=True)
class Described:
    """What a tokenizer makes of clips.

    frames, codes: pooled features by clip number; rebuild: L1 of each clip's log-mel features; error: squared error of
    the teacher's frames; tokens: [K, T] of each.
    """

    frames: dict[int, FloatArray] = field(default_factory=dict)
    codes: dict[int, FloatArray] = field(default_factory=dict)
    rebuild: list[float] = field(default_factory=list)
    error: list[float] = field(default_factory=list)
    tokens: list[Tensor] = field(default_factory=list)


class Tokenizers:
    """The experiment."""

    name = "tokenizers"
    question = (
        "Which quantiser, at which bit rate? UAR of a linear probe on predicted teacher frames, dev speakers."
    )

    def __init__(self, source: Source, settings: TokenizersSettings) -> None:
        self.source, self.settings = source, settings

    def arms(self) -> Sequence[Arm]:
        """One a quantiser, against eight residual codebooks of 256."""
        shared = {"steps": self.settings.loop.steps, "budget_frames": self.settings.budget_frames}
        keys = ("quantizer", "gradient", "codebooks", "codebook_size", "code_dim")
        found = []
        for name, config in variants(self.source.tokenizer()).items():
            plain_values = {key: asdict(config)[key] for key in keys}
            if name == CONTINUOUS:
                plain_values = {"quantizer": "none", "code_dim": config.code_dim}
            found.append(Arm(name, {**plain_values, **shared}, None if name == REFERENCE else REFERENCE))
        return found

    def work(self, arm: Arm, seed: int, folder: Path) -> Outcome:
        """Train a tokenizer, then describe and probe it."""
        config, cache = variants(self.source.tokenizer())[arm.name], self.source.cache()
        module = self._train(config, arm.name == CONTINUOUS, cache, seed, folder)
        taught, numbers = probed_numbers(cache)
        pooled = describe(module, cache, numbers)
        shown = describe(module, cache, self._shown(cache), pool=False)
        by_codes = probe(cache, taught, pooled.codes)
        answers = probe(cache, taught, pooled.frames) if pooled.frames else by_codes
        figures: dict[str, Any] = {"rebuild_l1": _mean(shown.rebuild), "uar_of_codes": _mean_uar(by_codes)}
        if shown.error:
            figures["frame_error"] = _mean(shown.error)
        if arm.name != CONTINUOUS:
            tokens = torch.cat(shown.tokens, dim=1)
            used = [round(float(p), 1) for p in perplexity(tokens, config.codebook_size)]
            figures |= {
                "bits_per_second": bits_per_second([config.codebook_size] * config.codebooks),
                "used_bits_per_second": round(bits_per_second(used), 1),
                "perplexity": used,
            }
        return Outcome(answers, figures)

    def _train(
        self, config: TokenizerConfig, continuous: bool, cache: AudioCache, seed: int, folder: Path
    ) -> LearnedTokenizer:
        stage = TokenizerStageConfig(
            model=config,
            encoder=self.source.config(EncoderConfig, "tokenizer", "encoder"),
            loop=replace(self.settings.loop, seed=seed),
            budget_frames=self.settings.budget_frames,
        )
        clips = [clip for clip in cache.clips if clip.split == "train" and clip.frames >= 8]
        task = TokenizerTask(stage, cache, clips)
        if continuous:
            task.module.tokenizer.quantizer = Continuous(config)
        task.measure_features()
        module = train(task, stage.loop, folder, folder.parent.name)
        if not isinstance(module, LearnedTokenizer):
            raise TypeError(f"expected a LearnedTokenizer, got {type(module).__name__}")
        return module

    def _shown(self, cache: AudioCache) -> list[int]:
        dev = [n for n, clip in enumerate(cache.clips) if clip.split == "dev" and clip.kind is None]
        return dev[:: max(1, len(dev) // self.settings.described)]


@torch.no_grad()
def describe(
    module: LearnedTokenizer, cache: AudioCache, numbers: Sequence[int], *, pool: bool = True, batch: int = 16
) -> Described:
    """Run clips, as the plain telephone chain renders them, through a tokenizer; pool: features of whole clips only."""
    module.eval()
    found = Described()
    order = sorted(numbers, key=lambda n: cache.clips[n].samples)
    for at in range(0, len(order), batch):
        chosen = order[at : at + batch]
        heard = _heard(module, cache, [cache.clips[n] for n in chosen])
        if pool:
            found.codes |= dict(zip(chosen, mean_and_std(heard["codes"], heard["valid"]), strict=True))
            if "frames" in heard:
                found.frames |= dict(zip(chosen, mean_and_std(heard["frames"], heard["valid"]), strict=True))
        else:
            _measure(found, heard, [cache.frames(cache.clips[n]) for n in chosen])
    return found


def _heard(module: LearnedTokenizer, cache: AudioCache, clips: Sequence[Clip]) -> dict[str, Any]:
    tokenizer, rng = module.tokenizer, np.random.default_rng(0)
    made = [plain(cache, clip, CLEAN, rng, ()) for clip in clips]
    longest = MAX_FRAMES * HOP_SAMPLES
    audio = torch.from_numpy(pad_rows([m.audio[:longest] for m in made], 0))
    clean = [set_level(m.clean[:longest], slice(None), -26.0) for m in made]
    length = torch.tensor([min(len(m.frames), MAX_FRAMES) for m in made])
    valid = lengths_to_valid(length, audio.shape[1] // HOP_SAMPLES)
    quantized = tokenizer.quantize(audio, valid)
    blank = StateReader(torch.zeros(len(clips), tokenizer.frontend.state_size))
    wanted = tokenizer.frontend(torch.from_numpy(pad_rows(clean, 0)), blank)
    codes = quantized.vectors.transpose(1, 2)
    heard = {
        "codes": codes, "valid": valid, "length": length, "tokens": quantized.tokens,
        "apart": (tokenizer.decoder(quantized.vectors) - wanted).abs().mean(dim=1),
        "places": [m.frames[:MAX_FRAMES] for m in made],
    }  # fmt: skip
    if cache.teacher_dim:
        encoded = module.encoder.encode(module.project(codes), valid)
        heard["frames"] = module.encoder.predict_frames(encoded.frames)
    return heard


def _measure(found: Described, heard: Mapping[str, Any], taught: Sequence[FloatArray | None]) -> None:
    for row, frames in enumerate(taught):
        length = int(heard["length"][row])
        found.tokens.append(heard["tokens"][row, :, :length])
        found.rebuild.append(float(heard["apart"][row, : 4 * length].mean()))
        if frames is not None and "frames" in heard:
            places = np.minimum(heard["places"][row], len(frames) - 1)
            apart = heard["frames"][row, :length].numpy() - frames[places]
            found.error.append(float(np.square(apart).mean()))


def _mean(values: Sequence[float]) -> float:
    return round(float(np.mean(values)), 4)


def _mean_uar(answers: Mapping[str, Any]) -> float:
    found = uar(answers)
    return round((found[MEAN] if MEAN in found else next(iter(found.values()))).value, 4)
