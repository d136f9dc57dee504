"""Token batches carry everything that is known of their clips, and no label where a stage must not see any."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import torch

from tests.training import made, made_faces
from training.corpora.labels import CATEGORIES
from training.data.token_batches import TokenBatchConfig, TokenBatches, unlabelled_data
from training.finetune import labelled_data


def test_rows_hold_their_clips_label_and_frames(tmp_path: Path) -> None:
    """The made tokens name the category: each row's label, allowed categories and target belong to its tokens."""
    cache = made.write_cache(tmp_path / "cache", made.labelled_clips())
    store = made.write_store(tmp_path / "tokens", cache, 2, 32)
    data, names = labelled_data(cache, store, 1.0, 0.5, 0)
    assert names == ["made"]
    batches = TokenBatches(data, TokenBatchConfig(budget_frames=400, max_frames=20), 0)
    for step in range(5):
        batch = batches[step]
        rows, _, time = batch["tokens"].shape
        assert rows * time <= 400
        assert time == int(batch["length"].max()) <= 20
        assert batch["target"].shape == (rows, time, made.TEACHER_DIM)
        assert bool(batch["allowed"].all())
        assert bool(batch["heard"].all())
        category = batch["tokens"][:, 0, 0] // 2
        assert torch.equal(category, batch["label"].argmax(dim=1))
        number = batch["target"][:, 0, 0].long()
        emotions = [CATEGORIES.index(str(cache.clips[int(n)].emotion)) for n in number]
        assert emotions == category.tolist()
        for row, length in enumerate(batch["length"].tolist()):
            assert bool((torch.diff(batch["target"][row, :length, 1]) == 1).all())
            assert not batch["tokens"][row, :, length:].any()


def test_a_step_repeats(tmp_path: Path) -> None:
    """(seed, step) is one batch; another seed is another."""
    cache = made.write_cache(tmp_path / "cache", made.labelled_clips())
    store = made.write_store(tmp_path / "tokens", cache, 2, 32)
    data, _ = labelled_data(cache, store, 1.0, 0.5, 0)
    one, same, other = (
        TokenBatches(data, TokenBatchConfig(400, 20), seed)[3]["tokens"] for seed in (0, 0, 1)
    )
    assert torch.equal(one, same)
    assert one.shape != other.shape or not torch.equal(one, other)


def test_unlabelled_rows_have_no_label(tmp_path: Path) -> None:
    """Pretraining sees no label and no corpus."""
    cache = made.write_cache(tmp_path / "cache", made.labelled_clips(), teacher_dim=0)
    store = made.write_store(tmp_path / "tokens", cache, 2, 32)
    numbers = list(range(len(cache.clips)))
    batch = TokenBatches(
        unlabelled_data(cache, store, numbers, np.ones(len(numbers))), TokenBatchConfig(), 0
    )[0]
    assert not batch["label"].any()
    assert not batch["allowed"].any()
    assert not batch["heard"].any()
    assert batch["target"].shape[2] == 0


def test_faces_go_with_their_tokens(tmp_path: Path) -> None:
    """Each token's picture is of its own moment, in either rendering; a clip without a face has length 0."""
    cache = made_faces.write_cache(tmp_path / "cache")
    store = made.write_store(tmp_path / "tokens", cache, 2, 32)
    video = made_faces.write_tokens(tmp_path / "video", cache)
    numbers = list(range(len(cache.clips)))
    data = replace(unlabelled_data(cache, store, numbers, np.ones(len(numbers))), video=video)
    batches, faced = TokenBatches(data, TokenBatchConfig(budget_frames=200, max_frames=12), 0), 0
    for step in range(6):
        batch = batches[step]
        rows, _, time = batch["tokens"].shape
        assert batch["video"].shape == (rows, 3, time)
        for row, length in enumerate(batch["video_length"].tolist()):
            number, moments = int(batch["target"][row, 0, 0]), batch["target"][row, :length, 1].long()
            assert length == (0 if number == 0 else int(batch["length"][row]))
            if length:
                variant = (batch["video"][row, 0, 0] - moments[0]) % 8
                assert int(variant) in (0, 1)
                assert torch.equal(batch["video"][row, 0, :length], (moments + variant) % 8)
                faced += 1
    assert faced > 5
