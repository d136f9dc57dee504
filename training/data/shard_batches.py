"""Number of a micro-batch → a batch of tokens out of shards: every clip once an epoch, in a seeded order."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.utils.data import Dataset

from training.corpora.labels import CATEGORIES
from training.data.batches import pad_rows
from training.data.shard_files import Sample, Shards
from training.data.token_batches import TokenBatchConfig

WINDOW = 4096
"""Clips among which those of like length are sought (about half a shard of the default size)."""
_ORDER = 1
"""Tells the generator of an epoch's order from that of a micro-batch."""


class EpochOrder:
    """Which clips a micro-batch holds. Needs the clips' lengths, and none of their content.

    An epoch takes the shards in a drawn order and the clips of each in a drawn order; within a window of that sequence
    clips of like length are put together, with faces or without, as many as fit the budget; the window's batches come
    in a drawn order. So a few shards are read at a time, and a step is found without reading what came before it.
    """

    def __init__(
        self,
        lengths: npt.NDArray[np.int64],
        seen: npt.NDArray[np.bool_],
        clips_per_shard: Sequence[int],
        budget_frames: int,
        seed: int,
        window: int = WINDOW,
    ) -> None:
        if len(lengths) == 0:
            raise ValueError("there is nothing to sample: the shards hold no clip")
        self._lengths, self._seen, self._budget = lengths, seen, budget_frames
        self._seed, self._window = seed, window
        self._starts = np.cumsum([0, *clips_per_shard])
        self._ends: list[int] = []
        self._planned: tuple[int, list[npt.NDArray[np.int64]]] = (-1, [])

    def clips(self, number: int) -> npt.NDArray[np.int64]:
        """Clip numbers of a micro-batch."""
        epoch = int(np.searchsorted(self._ends, number, side="right"))
        while epoch == len(self._ends):
            before = self._ends[-1] if self._ends else 0
            self._ends.append(before + len(self.epoch(epoch)))
            epoch = int(np.searchsorted(self._ends, number, side="right"))
        start = self._ends[epoch - 1] if epoch else 0
        return self.epoch(epoch)[number - start]

    def epoch(self, epoch: int) -> list[npt.NDArray[np.int64]]:
        """All micro-batches of an epoch, in order."""
        if self._planned[0] != epoch:
            rng = np.random.default_rng([self._seed, epoch, _ORDER])
            spans = list(zip(self._starts[:-1], self._starts[1:], strict=True))
            drawn = [rng.permutation(np.arange(*spans[shard])) for shard in rng.permutation(len(spans))]
            sequence = np.concatenate(drawn)
            windows = np.array_split(sequence, max(1, round(len(sequence) / self._window)))
            batches: list[npt.NDArray[np.int64]] = []
            for window in windows:
                seen = self._seen[window]
                made = self._alike(window[~seen]) + self._alike(window[seen])
                batches += [made[place] for place in rng.permutation(len(made))]
            self._planned = (epoch, batches)
        return self._planned[1]

    def _alike(self, window: npt.NDArray[np.int64]) -> list[npt.NDArray[np.int64]]:
        """Batches of a window, longest clips first; a short last one takes from the one before it."""
        rest = window[np.argsort(-self._lengths[window], kind="stable")]
        batches = []
        while len(rest):
            size = max(2, self._budget // int(self._lengths[rest[0]]))
            batches.append(rest[:size])
            rest = rest[size:]
        if len(batches) > 1 and len(batches[-1]) < len(batches[-2]):
            batches[-2:] = np.array_split(np.concatenate(batches[-2:]), 2)
        return batches


class ShardBatches(Dataset[dict[str, Tensor]]):
    """Batches with the keys of `TokenBatches`, without labels and corpora; from (seed, number) alone.

    A batch is of clips that all have faces, or of clips without. The former also has `video` [B, G, T], a frame for
    each audio token, and `video_length` [B]; its clips are cropped to `faced_frames`.
    """

    def __init__(
        self,
        shards: Shards,
        config: TokenBatchConfig,
        seed: int,
        window: int = WINDOW,
        faced_frames: int | None = None,
    ) -> None:
        self._shards, self._config, self._seed = shards, config, seed
        self._longest = np.where(shards.seen, faced_frames or config.max_frames, config.max_frames)
        lengths = np.minimum(shards.lengths, self._longest)
        self._order = EpochOrder(
            lengths, shards.seen, shards.clips_per_shard, config.budget_frames, seed, window
        )

    def __getitem__(self, number: int) -> dict[str, Tensor]:
        rng = np.random.default_rng([self._seed, number])
        chosen = self._order.clips(number)
        rows = [self._row(self._shards.sample(int(clip)), int(self._longest[clip]), rng) for clip in chosen]
        count = len(rows)
        batch = {
            "number": torch.from_numpy(chosen),
            "source": torch.from_numpy(pad_rows([row["source"] for row in rows], 0)),
            "tokens": torch.from_numpy(pad_rows([row["tokens"] for row in rows], 1)),
            "length": torch.tensor([row["tokens"].shape[1] for row in rows]),
            "target": torch.from_numpy(pad_rows([row["target"] for row in rows], 0)),
            "heard": torch.tensor([row["heard"] for row in rows]),
            "label": torch.zeros(count, len(CATEGORIES)),
            "allowed": torch.zeros(count, len(CATEGORIES), dtype=torch.bool),
            "corpus": torch.zeros(count, dtype=torch.int64),
        }
        if "video" in rows[0]:
            batch["video"] = torch.from_numpy(pad_rows([row["video"] for row in rows], 1))
            batch["video_length"] = batch["length"].clone()
        return batch

    def _row(self, sample: Sample, longest: int, rng: np.random.Generator) -> dict[str, Any]:
        schema, variant = self._shards.schema, 0
        if schema.variants > 1 and rng.random() >= self._config.plain_chance:
            variant = int(rng.integers(1, schema.variants))
        if len(sample.tokens[variant]) == 0:
            variant = 0
        tokens, frames = sample.tokens[variant], sample.frames[variant].astype(np.int64)
        extra = len(tokens) - longest
        start = int(rng.integers(0, extra + 1)) if extra > 0 else 0
        kept = slice(start, start + longest)
        tokens, frames = tokens[kept], frames[kept]
        heard = sample.teacher
        row = {
            "tokens": np.ascontiguousarray(tokens.T.astype(np.int64)),
            "source": frames,
            "heard": heard is not None,
            "target": np.zeros((len(frames), schema.teacher_dim), np.float32)
            if heard is None
            else _at(heard, frames).astype(np.float32),
        }
        if sample.video is not None:
            seen = sample.video[int(rng.integers(len(sample.video)))]
            row["video"] = np.ascontiguousarray(_at(seen, frames).T.astype(np.int64))
        return row


def _at(rows: npt.NDArray[Any], places: npt.NDArray[np.int64]) -> npt.NDArray[Any]:
    """Rows [F, D] at these places, the last one where they end earlier."""
    return np.asarray(rows[np.minimum(places, len(rows) - 1)])
