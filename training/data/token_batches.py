"""Step number → a batch of tokens with everything that is known of their clips."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.utils.data import Dataset

from training.corpora.labels import CATEGORIES, Target
from training.data.batches import BucketSampler, pad_rows
from training.data.cache import AudioCache, Clip
from training.data.tokens import TokenStore
from training.data.video_tokens import VideoTokens


@dataclass(frozen=True, slots=True)
class TokenData:
    """What a stage draws from. numbers: clips by their number in the cache; weights, targets and corpora go along.

    video: tokens of the clips' faces, where a stage looks at them.
    """

    cache: AudioCache
    store: TokenStore
    numbers: Sequence[int]
    weights: npt.NDArray[np.float64]
    targets: Sequence[Target | None]
    corpora: Sequence[int]
    video: VideoTokens | None = None


@dataclass(frozen=True, slots=True)
class TokenBatchConfig:
    """Size and length of batches, and how often a rendering is the plain one."""

    budget_frames: int = 4800
    max_frames: int = 120
    plain_chance: float = 0.15


class TokenBatches(Dataset[dict[str, Tensor]]):
    """Batches of `tokens` [B, K, T], `length` [B], teacher `target` [B, T, D] and `heard` [B], labels and corpus.

    Also the clips' `number` [B] in the cache, and which of its frames each token stands for, `source` [B, T].

    With video: `video` [B, grid, T] and `video_length` [B], 0 for a clip without faces.
    """

    def __init__(self, data: TokenData, config: TokenBatchConfig, seed: int) -> None:
        self._data, self._config = data, config
        lengths = [min(data.cache.clips[n].frames, config.max_frames) for n in data.numbers]
        self._sampler = BucketSampler(lengths, data.weights, config.budget_frames, seed)

    def __getitem__(self, step: int) -> dict[str, Tensor]:
        return gather(self._data, self._config, *self._sampler.draw(step))


def gather(
    data: TokenData, config: TokenBatchConfig, chosen: npt.NDArray[np.int64], rng: np.random.Generator
) -> dict[str, Tensor]:
    """The batch of the chosen places of `data.numbers`, every one in a rendering and a crop drawn from rng."""
    rows = [_row(data, config, int(place), rng) for place in chosen]
    batch = {
        "tokens": torch.from_numpy(pad_rows([r["tokens"] for r in rows], 1)),
        "length": torch.tensor([r["tokens"].shape[1] for r in rows]),
        "target": torch.from_numpy(pad_rows([r["target"] for r in rows], 0)),
        "heard": torch.tensor([r["heard"] for r in rows]),
        "label": torch.from_numpy(np.stack([r["label"] for r in rows])),
        "allowed": torch.from_numpy(np.stack([r["allowed"] for r in rows])),
        "corpus": torch.tensor([data.corpora[int(place)] for place in chosen]),
        "number": torch.tensor([data.numbers[int(place)] for place in chosen]),
        "source": torch.from_numpy(pad_rows([r["source"] for r in rows], 0)),
    }
    if data.video is None:
        return batch
    faces = [r["video"] for r in rows]
    time = batch["tokens"].shape[2]
    padded = np.zeros((len(rows), data.video.grid, time), np.int64)
    for target, face in zip(padded, faces, strict=True):
        target[:, : face.shape[1]] = face
    return batch | {
        "video": torch.from_numpy(padded),
        "video_length": torch.tensor([face.shape[1] for face in faces]),
    }


def _row(data: TokenData, config: TokenBatchConfig, place: int, rng: np.random.Generator) -> dict[str, Any]:
    number = data.numbers[place]
    clip = data.cache.clips[number]
    variant = 0
    if data.store.variants > 1 and rng.random() >= config.plain_chance:
        variant = int(rng.integers(1, data.store.variants))
    if data.store.length(variant, number) == 0:
        variant = 0
    tokens, frames = data.store.tokens(variant, number), data.store.frames(variant, number)
    extra = tokens.shape[1] - config.max_frames
    start = int(rng.integers(0, extra + 1)) if extra > 0 else 0
    kept = slice(start, start + config.max_frames)
    tokens, frames = tokens[:, kept], frames[kept]
    heard = data.cache.frames(clip)
    target = data.targets[place]
    width = len(CATEGORIES)
    row = {
        "tokens": tokens,
        "source": frames,
        "heard": heard is not None,
        "target": np.zeros((len(frames), data.cache.teacher_dim), np.float32)
        if heard is None
        else heard[np.minimum(frames, len(heard) - 1)],
        "label": np.zeros(width, np.float32) if target is None else target.probabilities,
        "allowed": np.zeros(width, np.bool_) if target is None else target.mask,
    }
    if data.video is not None:
        row["video"] = _faces(data.video, clip, frames, rng)
    return row


def _faces(
    video: VideoTokens, clip: Clip, frames: npt.NDArray[np.int64], rng: np.random.Generator
) -> npt.NDArray[np.int64]:
    """The face of each token's own moment [grid, T], in any rendering; [grid, 0] for a clip without faces."""
    variant = int(rng.integers(video.variants)) if clip.split == "train" else 0
    tokens = video.tokens(clip, variant)
    if tokens is None:
        return np.zeros((video.grid, 0), np.int64)
    return tokens[:, np.minimum(frames, tokens.shape[1] - 1)]


def unlabelled_data(
    cache: AudioCache, store: TokenStore, numbers: Sequence[int], weights: npt.NDArray[Any]
) -> TokenData:
    """Clips without their labels, for stages that must not see any."""
    return TokenData(cache, store, numbers, weights, [None] * len(numbers), [0] * len(numbers))
