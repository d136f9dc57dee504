"""The tokenizer stage: speech and noise in the right shares, features of unit variance, and a loss that falls."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from tests.models import tiny
from tests.training import made
from training.data.cache import AudioCache
from training.engine import LoopConfig
from training.train_tokenizer import (
    AudioBatches,
    LearnedTokenizer,
    TokenizerStageConfig,
    TokenizerTask,
    corpus_weights,
    noise_bank,
    train_tokenizer,
)

CONFIG = TokenizerStageConfig(
    model=tiny.TOKENIZER,
    encoder=tiny.ENCODER,
    loop=LoopConfig(steps=6, warmup=2, save_every=3, log_every=1, precision="fp32", threads=1, workers=0),
    max_frames=20,
    budget_frames=120,
)


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> AudioCache:
    """Made clips with frames of a made teacher."""
    return made.write_cache(tmp_path_factory.mktemp("cache"), made.labelled_clips(1))


def test_a_batch_pairs_damaged_with_clean_sound(cache: AudioCache) -> None:
    """Audio, its clean twin and the teacher's frames are of one length; noise has no teacher."""
    clips = [clip for clip in cache.clips if clip.split == "train"]
    heard = set()
    for step in range(8):
        batch = AudioBatches(cache, clips, replace(CONFIG, noise_share=0.5))[step]
        rows, samples = batch["audio"].shape
        assert batch["clean"].shape == (rows, samples)
        assert batch["target"].shape == (rows, samples // 320, made.TEACHER_DIM)
        assert int(batch["length"].max()) * 320 == samples
        assert not torch.equal(batch["audio"], batch["clean"])
        heard |= set(batch["heard"].tolist())
    assert heard == {True, False}


def test_batches_repeat(cache: AudioCache) -> None:
    """A step's batch is the same from a second object."""
    clips = [clip for clip in cache.clips if clip.split == "train"]
    one, other = (AudioBatches(cache, clips, CONFIG)[5] for _ in range(2))
    assert all(torch.equal(one[name], other[name]) for name in one)


def test_corpora_weigh_the_power_of_their_size() -> None:
    """Four clips against one: twice as much with a power of one half, the same with 0, four times with 1."""
    clips = [made.clip(corpus="a")] * 4 + [made.clip(corpus="b")]
    for power, ratio in ((0.5, 2.0), (0.0, 1.0), (1.0, 4.0)):
        weights = corpus_weights(clips, power)
        assert weights[:4].sum() / weights[4] == pytest.approx(ratio)


def test_the_noise_bank_is_noise_and_babble(cache: AudioCache) -> None:
    """Backgrounds as recorded, no music, and voices on top of each other where there are voices enough."""
    long = [replace(clip, samples=16_001) for clip in cache.clips[:1]] * 8
    bank = noise_bank(cache, [clip for clip in cache.clips if clip.split == "train"] + long)
    backgrounds = [c for c in cache.clips if c.kind and c.kind.startswith("background")]
    assert len(bank) == len(backgrounds) + 2
    assert np.array_equal(bank[0], cache.audio(backgrounds[0]))


def test_features_are_measured(cache: AudioCache) -> None:
    """After measuring, features of the batches have about zero mean and unit variance."""
    task = TokenizerTask(CONFIG, cache, [c for c in cache.clips if c.split == "train"])
    task.measure_features(4)
    tokenizer = task.module.tokenizer
    batch = task.batches[0]
    _, features, _ = tokenizer.encode(batch["audio"], tokenizer.initial_state(len(batch["audio"])))
    valid = (torch.arange(features.shape[2])[None] < 4 * batch["length"][:, None])[:, None].expand_as(
        features
    )
    assert float(features[valid].mean()) == pytest.approx(0, abs=0.3)
    assert float(features[valid].std()) == pytest.approx(1, abs=0.3)


@pytest.mark.parametrize("bfloat16", [False, True])
def test_the_loss_falls(cache: AudioCache, bfloat16: bool) -> None:
    """Reconstruction and frames are learned in a few steps, in either precision."""
    task = TokenizerTask(CONFIG, cache, [c for c in cache.clips if c.split == "train"])
    task.measure_features(2)
    task.module.train()
    optimizer = torch.optim.AdamW((p for p in task.module.parameters() if p.requires_grad), lr=0.01)
    curve = []
    for step in range(25):
        torch.manual_seed(step)
        with torch.autocast("cpu", dtype=torch.bfloat16, enabled=bfloat16):
            loss, figures = task.loss(task.batches[step % 3])
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        curve.append(float(figures["rebuild"]))
    assert set(figures) == {"rebuild", "commitment", "frames"}
    assert np.mean(curve[-3:]) < 0.9 * np.mean(curve[:3])


def test_the_stage_resumes_and_hands_over(cache: AudioCache, tmp_path: Path) -> None:
    """It writes weights, configuration and log; handed over, token embeddings are the projected codes."""
    folder = tmp_path / "tokenizer"
    prepared = tmp_path / "prepared"
    made.write_cache(prepared, made.labelled_clips(1))
    train_tokenizer(CONFIG, prepared, folder)
    assert {"model.safetensors", "config.json", "log.jsonl", "state"} <= {p.name for p in folder.iterdir()}
    learned = LearnedTokenizer(CONFIG, made.TEACHER_DIM)
    encoder = learned.hand_over()
    tokens = tiny.tokens(1, 4)
    codes = sum(learned.tokenizer.quantizer.codebooks[k][tokens[:, k]] for k in range(2))
    torch.testing.assert_close(
        encoder.embed(tokens), learned.project(torch.as_tensor(codes)), rtol=1e-4, atol=1e-5
    )
