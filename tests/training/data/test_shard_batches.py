"""Batches out of shards follow from seed and number alone, hold every clip once an epoch, and look like the others."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.training import made
from tests.training.data.test_shard_files import SCHEMA, write
from training.data.shard_batches import EpochOrder, ShardBatches
from training.data.shard_files import Shards
from training.data.token_batches import TokenBatchConfig, TokenBatches, unlabelled_data
from training.shards import write_shards

CONFIG = TokenBatchConfig(budget_frames=40, max_frames=8)


def order(lengths: list[int], per_shard: int = 10, seed: int = 0, window: int = 16) -> EpochOrder:
    """Clips of these lengths, so many in a shard; every third has video."""
    counts = [len(lengths[i : i + per_shard]) for i in range(0, len(lengths), per_shard)]
    seen = np.arange(len(lengths)) % 3 == 0
    return EpochOrder(np.array(lengths), seen, counts, 60, seed, window)


@settings(deadline=None)
@given(
    lengths=st.lists(st.integers(1, 30), min_size=1, max_size=80),
    seed=st.integers(0, 1000),
    window=st.integers(1, 100),
)
def test_every_clip_once_an_epoch(lengths: list[int], seed: int, window: int) -> None:
    """In batches of clips with faces or without, within the budget wherever two clips are."""
    batches = order(lengths, seed=seed, window=window).epoch(3)
    assert sorted(np.concatenate(batches).tolist()) == list(range(len(lengths)))
    for batch in batches:
        assert len(set(batch % 3 == 0)) == 1
        assert len(batch) <= 2 or len(batch) * max(lengths[clip] for clip in batch) <= 60


def test_like_lengths_share_a_batch() -> None:
    """Of 400 clips in one window little of a batch is padding, and no batch is nearly empty."""
    rng = np.random.default_rng(0)
    lengths = rng.integers(2, 20, 400).tolist()
    made_ = order(lengths, window=400).epoch(0)
    held = [np.array([lengths[clip] for clip in batch]) for batch in made_]
    padded = sum(len(batch) * batch.max() for batch in held)
    assert sum(lengths) / padded > 0.9
    assert min(len(batch) * batch.max() for batch in held) > 60 / 4


def test_a_step_is_found_without_those_before_it() -> None:
    """Numbers run through the epochs; asked for in any order, or first of all, each is the same batch."""
    lengths = list(range(1, 41))
    run = order(lengths)
    ends = np.cumsum([len(order(lengths).epoch(e)) for e in range(3)])
    told = [run.clips(number) for number in range(int(ends[-1]))]
    for epoch, end in enumerate(ends):
        start = 0 if epoch == 0 else ends[epoch - 1]
        assert sorted(np.concatenate(told[start:end]).tolist()) == list(range(40))
    for number in (int(ends[-1]) - 1, 0, int(ends[0]), int(ends[0]) - 1):
        assert np.array_equal(order(lengths).clips(number), told[number])
    first, second = told[: ends[0]], told[ends[0] : ends[1]]
    assert [b.tolist() for b in first] != [b.tolist() for b in second]
    assert not np.array_equal(order(lengths, seed=1).clips(0), told[0])


def test_few_shards_are_read_at_a_time() -> None:
    """A window's batches come from the shards that it spans, here two or three of ten."""
    run = order([5] * 100, per_shard=10, window=20)
    batches = run.epoch(0)
    for start in range(0, len(batches) - 2, 3):
        shards = {int(clip) // 10 for batch in batches[start : start + 2] for clip in batch}
        assert len(shards) <= 4


def test_nothing_to_sample() -> None:
    """No clip, no order."""
    with pytest.raises(ValueError, match="hold no clip"):
        EpochOrder(np.array([], np.int64), np.array([], np.bool_), [], 60, 0)


def test_batches_repeat(tmp_path: Path) -> None:
    """(seed, number) is one batch, whoever reads it and whatever was read before; another seed is another."""
    shards = write(tmp_path)
    one = ShardBatches(shards, CONFIG, 0)
    for _ in range(2):
        for number in (7, 0, 3):
            again = ShardBatches(Shards(tmp_path), CONFIG, 0)[number]
            assert set(one[number]) == set(again)
            assert all(torch.equal(value, again[key]) for key, value in one[number].items())
    other = ShardBatches(shards, CONFIG, 1)
    assert any(not torch.equal(one[n]["number"], other[n]["number"]) for n in range(5))


def test_video_comes_along(tmp_path: Path) -> None:
    """A batch has video for all its clips, of each token's own moment, or none at all; crops have their length."""
    shards = write(tmp_path)
    batches = ShardBatches(shards, CONFIG, 0, faced_frames=5)
    found = set()
    for number in range(12):
        batch = batches[number]
        clips = batch["number"].tolist()
        assert ("video" in batch) == all(clip % 4 == 0 for clip in clips)
        assert batch["tokens"].shape[2] <= (5 if "video" in batch else 8)
        assert batch["heard"].tolist() == [clip % 5 != 0 for clip in clips]
        found.add("video" in batch)
        if "video" not in batch:
            continue
        assert batch["video"].shape == (len(clips), SCHEMA.video_grid, batch["tokens"].shape[2])
        assert torch.equal(batch["video_length"], batch["length"])
        for row, clip in enumerate(clips):
            video, length = shards.sample(clip).video, int(batch["length"][row])
            assert video is not None
            places = np.minimum(batch["source"][row, :length].numpy(), len(video[0]) - 1)
            assert np.array_equal(batch["video"][row, :, :length].numpy(), video[0][places].T)
    assert found == {True, False}


def test_they_look_like_batches_of_the_store(tmp_path: Path) -> None:
    """The same keys, types and shapes as `TokenBatches`; tokens and targets are those of the clip's rendering."""
    cache = made.write_cache(tmp_path / "cache", made.labelled_clips())
    store = made.write_store(tmp_path / "tokens", cache, 2, 32)
    shards = write_shards(tmp_path / "cache", tmp_path / "tokens", tmp_path / "shards", shard_bytes=60_000)
    config = TokenBatchConfig(budget_frames=400, max_frames=20)
    batch = ShardBatches(shards, config, 0)[1]
    numbers = list(range(len(cache.clips)))
    other = TokenBatches(unlabelled_data(cache, store, numbers, np.ones(len(numbers))), config, 0)[1]
    assert set(batch) == set(other)
    for key, value in batch.items():
        assert (value.dtype, value.ndim) == (other[key].dtype, other[key].ndim)
    names = {clip.id: number for number, clip in enumerate(cache.clips)}
    for row, clip in enumerate(batch["number"].tolist()):
        number, length = names[shards.sample(clip).id], int(batch["length"][row])
        assert cache.clips[number].split == "train"
        tokens, source = batch["tokens"][row, :, :length].numpy(), batch["source"][row, :length].numpy()
        assert any(
            np.array_equal(tokens, store.tokens(variant, number)[:, source])
            for variant in range(store.variants)
        )
        heard = cache.frames(cache.clips[number])
        assert bool(batch["heard"][row]) == (heard is not None)
        if heard is not None:
            assert np.array_equal(batch["target"][row, :length].numpy(), heard[source])
