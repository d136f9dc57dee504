"""Stage `tokenise`: render every clip through the simulated line several times and keep the tokens."""

from __future__ import annotations

import json
import multiprocessing
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from tqdm import tqdm

from models.audio_tokenizer import AudioTokenizer
from training.config import save_config
from training.data.batches import VariantConfig, pad_rows, plain, vary
from training.data.cache import HOP_SAMPLES, AudioCache
from training.data.telephony import CLEAN, Audio, TelephonyConfig
from training.data.tokens import write_part
from training.train_tokenizer import noise_bank

Rendered = tuple[list[npt.NDArray[np.uint16]], list[npt.NDArray[np.int16]]]


@dataclass(frozen=True, slots=True)
class TokeniseConfig:
    """How many renderings, and how they are made."""

    variants: int = 6
    telephony: TelephonyConfig = field(default_factory=TelephonyConfig)
    max_frames: int = 150
    batch: int = 16
    workers: int = 2
    seed: int = 1


class _Worker:
    def __init__(self, config: TokeniseConfig, prepared: Path, tokenizer: AudioTokenizer) -> None:
        torch.set_num_threads(1)
        self.config, self.cache, self.tokenizer = config, AudioCache(prepared), tokenizer.eval()
        self.noises = noise_bank(self.cache, [c for c in self.cache.clips if c.split == "train"])

    @torch.no_grad()
    def __call__(self, job: tuple[int, Sequence[int]]) -> Rendered:
        variant, clips = job
        rendered = [self._render(variant, number) for number in clips]
        audio = torch.from_numpy(pad_rows([audio for audio, _ in rendered], 0))
        tokens, _ = self.tokenizer(audio, self.tokenizer.initial_state(len(audio)))
        rows = tokens.numpy().astype(np.uint16)
        kept = [row[:, : len(frames)].T for row, (_, frames) in zip(rows, rendered, strict=True)]
        return kept, [frames.astype(np.int16) for _, frames in rendered]

    def _render(self, variant: int, number: int) -> tuple[Audio, npt.NDArray[np.int64]]:
        clip = self.cache.clips[number]
        rng = np.random.default_rng([self.config.seed, variant, number])
        if variant == 0:
            made = plain(self.cache, clip, CLEAN, rng, ())
        else:
            settings = VariantConfig(self.config.telephony, self.config.max_frames)
            made = vary(self.cache, clip, settings, rng, self.noises)
        longest = self.config.max_frames
        return made.audio[: longest * HOP_SAMPLES], made.frames[:longest]


_worker: _Worker | None = None


def _start(config: TokeniseConfig, prepared: Path, tokenizer: AudioTokenizer) -> None:
    global _worker  # noqa: PLW0603 - one per child process, the only way multiprocessing offers
    _worker = _Worker(config, prepared, tokenizer)


def _work(job: tuple[int, Sequence[int]]) -> tuple[Sequence[int], Rendered]:
    assert _worker is not None
    return job[1], _worker(job)


def tokenise(config: TokeniseConfig, prepared: Path, tokenizer: AudioTokenizer, folder: Path) -> None:
    """Write a token store for the clips of `prepared` into `folder`; finished variants are kept."""
    folder.mkdir(parents=True, exist_ok=True)
    if (folder / "facts.json").exists():
        return
    save_config(config, folder / "config.json")
    clips = AudioCache(prepared).clips
    context = multiprocessing.get_context("spawn")
    with context.Pool(config.workers, initializer=_start, initargs=(config, prepared, tokenizer)) as pool:
        for variant in range(config.variants):
            if (folder / f"offsets.{variant}.npy").exists():
                continue
            wanted = [n for n, clip in enumerate(clips) if variant == 0 or clip.split == "train"]
            wanted.sort(key=lambda n: clips[n].samples)
            jobs = [(variant, wanted[i : i + config.batch]) for i in range(0, len(wanted), config.batch)]
            tokens = [np.zeros((0, tokenizer.config.codebooks), np.uint16)] * len(clips)
            frames = [np.zeros(0, np.int16)] * len(clips)
            bar = tqdm(
                pool.imap_unordered(_work, jobs), total=len(jobs), desc=f"tokenise {variant}", unit="batch"
            )
            for numbers, (made_tokens, made_frames) in bar:
                for number, row, index in zip(numbers, made_tokens, made_frames, strict=True):
                    tokens[number], frames[number] = row, index
            write_part(folder, variant, tokens, frames)
    facts = {"variants": config.variants, "codebooks": tokenizer.config.codebooks, "clips": len(clips)}
    (folder / "facts.json").write_text(json.dumps(facts))
