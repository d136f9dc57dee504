"""Pairs of pictures are drawn by speaker, close in time, bent alike, and the same for the same step."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from tests.training import made, made_faces
from training.data.cache import AudioCache
from training.data.face_batches import FaceAugmentConfig, FacePairs, bend, speaker_weights

PLAIN = FaceAugmentConfig(shift=0, contrast=(1.0, 1.0), brightness=0.0, flip=0.0)


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> AudioCache:
    """Made faces."""
    return made_faces.write_cache(tmp_path_factory.mktemp("cache"))


def pairs(cache: AudioCache, **changes: Any) -> FacePairs:
    """Batches of all clips, with changes."""
    wanted: dict[str, Any] = {"pairs": 64, "apart": 2, "power": 0.5, "augment": PLAIN, "seed": 0}
    return FacePairs(cache, cache.clips, **(wanted | changes))


def test_a_pair_is_of_one_clip_and_close_in_time(cache: AudioCache) -> None:
    """Both pictures are of one clip's skin, one or two frames apart: the made mouth opens by an eighth a frame."""
    batch = pairs(cache)[0].numpy()
    assert batch.shape == (64, 2, 96, 96)
    skin = batch[:, :, 30, 48]
    assert np.array_equal(skin[:, 0], skin[:, 1])
    known = {int(clip_faces[0, 30, 48]) for c in cache.clips if (clip_faces := cache.faces(c)) is not None}
    assert set(skin[:, 0].tolist()) <= known
    assert (batch[:, 0] != batch[:, 1]).any(axis=(1, 2)).all()


def test_a_step_repeats(cache: AudioCache) -> None:
    """(seed, step) is one batch; another step or seed is another."""
    one = pairs(cache, augment=FaceAugmentConfig())
    assert torch.equal(one[3], pairs(cache, augment=FaceAugmentConfig())[3])
    assert not torch.equal(one[3], one[4])
    assert not torch.equal(one[3], pairs(cache, augment=FaceAugmentConfig(), seed=1)[3])


@pytest.mark.parametrize(("power", "share"), [(0.0, 1 / 5), (1.0, 4 / 13)])
def test_speakers_are_drawn_by_a_power_of_their_clips(cache: AudioCache, power: float, share: float) -> None:
    """With power 0 a speaker of four clips is seen as often as one of one clip; with 1, every clip alike."""
    clips = [clip for clip in cache.clips if clip.face_offset >= 0]
    weights = speaker_weights(clips, power)
    first = sum(w for w, c in zip(weights, clips, strict=True) if c.speaker == "faced:a")
    assert first / weights.sum() == pytest.approx(share)


def test_without_faces_there_is_nothing_to_draw(tmp_path: Path) -> None:
    """A cache of sound alone is named as such."""
    cache = made.write_cache(tmp_path, [made.clip()])
    with pytest.raises(ValueError, match="no clip has faces"):
        pairs(cache)


def test_a_clip_is_bent_as_one() -> None:
    """Mirrored, moved, lightened: the same for every picture; nothing at all where nothing is asked for."""
    faces = made_faces.faces(4, 150.0)
    assert np.array_equal(bend(faces, PLAIN, np.random.default_rng(0)), faces)
    turned = bend(
        faces, FaceAugmentConfig(shift=0, contrast=(1, 1), brightness=0, flip=1.0), np.random.default_rng(0)
    )
    assert np.array_equal(turned, faces[:, :, ::-1])
    still = np.repeat(faces[:1], 4, axis=0)
    for seed in range(5):
        bent = bend(still, FaceAugmentConfig(), np.random.default_rng(seed))
        assert bent.shape == still.shape
        assert bent.dtype == np.uint8
        assert (bent == bent[:1]).all()
        assert not np.array_equal(bent, still)
