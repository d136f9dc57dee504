"""Stage `tokenise`: render every clip through the simulated line several times and keep the tokens."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from torch.utils.data import Dataset

from models.audio_tokenizer import AudioTokenizer
from training.config import save_config
from training.data.batches import VariantConfig, pad_rows, plain, vary
from training.data.cache import HOP_SAMPLES, AudioCache, Clip
from training.data.telephony import CLEAN, Audio, TelephonyConfig
from training.data.tokens import part_is_complete, write_facts, write_part
from training.data.workers import in_workers
from training.train_tokenizer import noise_bank

Job = tuple[int, Sequence[int]]
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


class Renderer(Dataset[Rendered]):
    """(variant, clip numbers) → tokens and frame numbers of these clips in that rendering."""

    def __init__(self, config: TokeniseConfig, prepared: Path, tokenizer: AudioTokenizer) -> None:
        self._config, self._prepared, self._tokenizer = config, prepared, tokenizer.eval()
        self._opened: tuple[AudioCache, list[Audio]] | None = None

    @torch.no_grad()
    def __getitem__(self, job: Job) -> Rendered:
        variant, numbers = job
        made = [self._render(variant, number) for number in numbers]
        audio = torch.from_numpy(pad_rows([row for row, _ in made], 0))
        tokens, _ = self._tokenizer(audio, self._tokenizer.initial_state(len(audio)))
        rows = tokens.numpy().astype(np.uint16)
        kept = [row[:, : len(frames)].T for row, (_, frames) in zip(rows, made, strict=True)]
        return kept, [frames.astype(np.int16) for _, frames in made]

    def _render(self, variant: int, number: int) -> tuple[Audio, npt.NDArray[np.int64]]:
        cache, noises = self._open()
        config, clip = self._config, cache.clips[number]
        rng = np.random.default_rng([config.seed, variant, number])
        if variant == 0:
            made = plain(cache, clip, CLEAN, rng, ())
        else:
            made = vary(cache, clip, VariantConfig(config.telephony, config.max_frames), rng, noises)
        longest = config.max_frames
        return made.audio[: longest * HOP_SAMPLES], made.frames[:longest]

    def _open(self) -> tuple[AudioCache, list[Audio]]:
        """The cache and the noises, opened by the process that needs them: a pickled memory map is a copy."""
        if self._opened is None:
            cache = AudioCache(self._prepared)
            self._opened = cache, noise_bank(cache, [c for c in cache.clips if c.split == "train"])
        return self._opened


def tokenise(config: TokeniseConfig, prepared: Path, tokenizer: AudioTokenizer, folder: Path) -> None:
    """Write a token store for the clips of `prepared` into `folder`; finished variants are kept."""
    folder.mkdir(parents=True, exist_ok=True)
    if (folder / "facts.json").exists():
        return
    save_config(config, folder / "config.json")
    clips = AudioCache(prepared).clips
    todo = [v for v in range(config.variants) if not part_is_complete(folder, v)]
    jobs = {variant: _jobs(clips, variant, config.batch) for variant in todo}
    every = [job for variant in todo for job in jobs[variant]]
    rendered = in_workers(Renderer(config, prepared, tokenizer), every, config.workers, "tokenise")
    for variant in todo:
        tokens = [np.zeros((0, tokenizer.config.codebooks), np.uint16)] * len(clips)
        frames = [np.zeros(0, np.int16)] * len(clips)
        for (_, numbers), (rows, indices) in zip(jobs[variant], rendered, strict=False):
            for number, row, index in zip(numbers, rows, indices, strict=True):
                tokens[number], frames[number] = row, index
        write_part(folder, variant, tokens, frames)
    write_facts(folder, config.variants, tokenizer.config.codebooks, len(clips))


def _jobs(clips: Sequence[Clip], variant: int, size: int) -> list[Job]:
    """Clips of like length together; other renderings than the plain one are for training clips only."""
    wanted = [n for n, clip in enumerate(clips) if variant == 0 or clip.split == "train"]
    wanted.sort(key=lambda n: clips[n].samples)
    return [(variant, wanted[i : i + size]) for i in range(0, len(wanted), size)]
