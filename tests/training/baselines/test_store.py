"""Features are listened to once, kept by clip, and given back in the order asked for."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from tests.training import made
from training.baselines import store
from training.baselines.features import BaselineMissingError, Floats, System
from training.baselines.store import features_of, read_part
from training.data.cache import AudioCache
from training.data.telephony import Audio


@pytest.fixture
def cache(tmp_path: Path) -> AudioCache:
    """Six clips of two corpora."""
    clips = [
        made.clip(id=f"{corpus}/{n}", corpus=corpus, samples=8_000 + 320 * n, lead=1_600, active=4_800)
        for n in range(3)
        for corpus in ("a", "b")
    ]
    return made.write_cache(tmp_path / "cache", clips, teacher_dim=0)


@pytest.fixture
def heard(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The length of every clip that a stand-in system is asked to listen to."""
    lengths: list[int] = []

    def listen(audio: Audio) -> Floats:
        lengths.append(len(audio))
        return np.array([len(audio), audio.std()], np.float32)

    monkeypatch.setattr(store, "SYSTEMS", {"made": System("made", "", "", lambda: listen)})
    return lengths


def test_nothing_is_listened_to_twice(cache: AudioCache, heard: list[int], tmp_path: Path) -> None:
    """Not within a call nor over calls; what is new is added to the file."""
    first = features_of("made", cache, [*cache.clips[:4], cache.clips[0]], tmp_path)
    assert len(heard) == 4
    np.testing.assert_array_equal(first[0], first[4])
    again = features_of("made", cache, cache.clips[::-1], tmp_path)
    assert len(heard) == 6
    np.testing.assert_array_equal(again[::-1][:4], first[:4])
    assert len(read_part(tmp_path / "made" / "a.train.npz")) == 3
    features_of("made", cache, cache.clips, tmp_path)
    assert len(heard) == 6


def test_another_cut_is_another_clip(cache: AudioCache, heard: list[int], tmp_path: Path) -> None:
    """A clip of the same name and another length is listened to."""
    features_of("made", cache, cache.clips[:1], tmp_path)
    features_of("made", cache, [replace(cache.clips[0], samples=6_400)], tmp_path)
    assert len(heard) == 2


def test_kept_features_need_no_system(
    cache: AudioCache, heard: list[int], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its package is opened only for what is missing."""
    features_of("made", cache, cache.clips[:1], tmp_path)

    def missing() -> store.Listener:
        raise BaselineMissingError("not here")

    monkeypatch.setattr(store, "SYSTEMS", {"made": System("made", "", "", missing)})
    assert features_of("made", cache, cache.clips[:1], tmp_path).shape == (1, 2)
    with pytest.raises(BaselineMissingError, match="not here"):
        features_of("made", cache, cache.clips, tmp_path)
