"""Batches depend on (seed, step) alone, stay within their budget, and keep tokens and teacher frames in step."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.training import made
from training.data.batches import (
    BucketSampler,
    VariantConfig,
    change_speed,
    pad_rows,
    plain,
    vary,
)
from training.data.telephony import CLEAN, TelephonyConfig

FRAMES = [int(n) for n in np.random.default_rng(0).integers(8, 80, 200)]
WEIGHTS = np.random.default_rng(1).uniform(0, 1, 200)


@given(seed=st.integers(0, 99), step=st.integers(0, 100_000), budget=st.integers(160, 4_000))
def test_a_step_is_one_batch_within_the_budget(seed: int, step: int, budget: int) -> None:
    """The same (seed, step) draws the same clips, whatever was drawn before; padded they fit the budget."""
    one, other = (BucketSampler(FRAMES, WEIGHTS, budget, seed) for _ in range(2))
    other.draw(step + 1)
    chosen, rng = one.draw(step)
    again, rng_again = other.draw(step)
    assert np.array_equal(chosen, again)
    assert rng.random() == rng_again.random()
    assert len(chosen) * max(FRAMES[i] for i in chosen) <= budget


def test_clips_come_as_often_as_they_weigh() -> None:
    """Over many steps a clip's share of the rows is its weight, whatever its length; weight 0 never comes."""
    weights = WEIGHTS.copy()
    weights[:20] = 0
    sampler = BucketSampler(FRAMES, weights, 800, 0)
    counts = np.zeros(200)
    for step in range(4_000):
        np.add.at(counts, sampler.draw(step)[0], 1)
    assert counts[:20].sum() == 0
    short = np.array(FRAMES) < 40
    assert counts[short].sum() / counts.sum() == pytest.approx(weights[short].sum() / weights.sum(), abs=0.03)


def test_nothing_to_sample_is_an_error() -> None:
    """No clip, or no weight."""
    for frames, weights in (([], []), ([5, 6], [0.0, 0.0])):
        with pytest.raises(ValueError, match="nothing to sample"):
            BucketSampler(frames, weights, 100, 0)


@given(factor=st.floats(0.8, 1.25), hops=st.integers(9, 60))
def test_speed_keeps_track_of_frames(factor: float, hops: int) -> None:
    """Played at another speed, each new token stands for the source token at its middle."""
    audio = np.sin(2 * np.pi * 100 * np.arange(hops * 320) / 8_000).astype(np.float32)
    bent, index = change_speed(audio, factor)
    assert len(bent) == len(index) * 320
    assert len(index) == int(hops * 320 / factor) // 320
    assert (np.diff(index) >= 0).all()
    assert np.abs(index - (np.arange(len(index)) + 0.5) * factor).max() < 1
    assert index.max() < hops


def test_speed_moves_the_pitch() -> None:
    """A tone of 200 Hz played a quarter faster is one of 250 Hz."""
    tone = np.sin(2 * np.pi * 200 * np.arange(16_000) / 8_000).astype(np.float32)
    bent, _ = change_speed(tone, 1.25)
    assert int(np.abs(np.fft.rfft(bent, 8_000)).argmax()) == pytest.approx(250, abs=2)


@given(seed=st.integers(0, 500))
def test_variants_stay_in_step_with_the_teacher(tmp_path_factory: pytest.TempPathFactory, seed: int) -> None:
    """Audio is a whole number of tokens, one frame number each, inside the clip, and none over the maximum."""
    folder = tmp_path_factory.getbasetemp() / "variants"
    if not folder.exists():
        made.write_cache(folder, [made.clip(samples=16_123), made.clip(samples=2_000, lead=0, active=0)])
    cache = made.AudioCache(folder)
    config = VariantConfig(TelephonyConfig(noise_chance=0), max_frames=30, speed_chance=0.5)
    for clip in cache.clips:
        variant = vary(cache, clip, config, np.random.default_rng(seed), ())
        tokens = len(variant.frames)
        assert len(variant.audio) == len(variant.clean) == tokens * 320
        assert 1 <= tokens <= round(30 / 0.88)
        assert 0 <= variant.frames.min() <= variant.frames.max() < clip.frames


def test_a_variant_without_speed_is_a_cut_of_its_clip(tmp_path: Path) -> None:
    """The clean twin is the clip's own audio from the first frame on."""
    cache = made.write_cache(tmp_path, [made.clip()])
    config = VariantConfig(CLEAN, max_frames=20, speed_chance=0.0)
    variant = vary(cache, cache.clips[0], config, np.random.default_rng(3), ())
    start = int(variant.frames[0]) * 320
    assert np.array_equal(variant.frames, variant.frames[0] + np.arange(20))
    assert np.array_equal(variant.clean, cache.audio(cache.clips[0])[start : start + 20 * 320])


def test_the_plain_rendering_keeps_the_endpointers_margins(tmp_path: Path) -> None:
    """Five hops before speech and 160 ms behind it, cut to whole tokens; no less than one token."""
    cache = made.write_cache(tmp_path, [made.clip(), made.clip(samples=2_080, lead=1_920, active=160)])
    first = plain(cache, cache.clips[0], CLEAN, np.random.default_rng(0), ())
    assert first.frames[0] == 4_000 // 320 - 5
    assert len(first.frames) == (4_000 + 9_600 + 1_280 - int(first.frames[0]) * 320) // 320
    second = plain(cache, cache.clips[1], CLEAN, np.random.default_rng(0), ())
    assert len(second.frames) >= 1
    assert int(second.frames.max()) < cache.clips[1].frames + 1


def test_rows_are_padded_with_zeros() -> None:
    """Along one axis, to the longest."""
    rows = [np.ones((2, 1), np.int64), np.full((2, 3), 7)]
    assert pad_rows(rows, 1).tolist() == [[[1, 0, 0], [1, 0, 0]], [[7, 7, 7], [7, 7, 7]]]
