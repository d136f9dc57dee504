"""The audio cache gives back what was written, and an unfinished one is no cache."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from tests.training import made, made_faces
from training.data.cache import AudioCache, CacheWriter


def test_clips_come_back(tmp_path: Path) -> None:
    """Audio, teacher frames and everything known of each clip are what was written."""
    votes = {"angry": 3.0, "sad": 1.0}
    clips = [made.clip(id="x/0"), made.clip(id="x/1", samples=5_000, votes=votes, arousal=-0.7, sex="female")]
    cache = made.write_cache(tmp_path, clips)
    assert [c.id for c in cache.clips] == ["x/0", "x/1"]
    assert (cache.clips[1].votes, cache.clips[1].arousal, cache.clips[1].sex) == (votes, -0.7, "female")
    for number, clip in enumerate(cache.clips):
        written = made.speechlike(clip.samples, number)
        assert np.array_equal(cache.audio(clip), written.astype(np.float32) / 32768)
        frames = cache.frames(clip)
        assert frames is not None
        assert frames.shape == (clip.samples // 320, made.TEACHER_DIM)
        assert frames[2].tolist() == [number, 2, number]
        assert frames.dtype == np.float32


def test_noise_and_caches_without_a_teacher_have_no_frames(tmp_path: Path) -> None:
    """No frames where nobody listened."""
    with_teacher = made.write_cache(tmp_path / "a", [made.clip(), made.clip(id="n", kind="music")])
    assert with_teacher.frames(with_teacher.clips[1]) is None
    without = made.write_cache(tmp_path / "b", [made.clip()], teacher_dim=0)
    assert without.teacher_dim == 0
    assert without.frames(without.clips[0]) is None


def test_an_unfinished_cache_cannot_be_read(tmp_path: Path) -> None:
    """A writer that was killed before `close` leaves no index."""
    writer = CacheWriter(tmp_path, 0)
    writer.append(made.clip(), made.speechlike(16_000, 0), None)
    with pytest.raises(FileNotFoundError):
        AudioCache(tmp_path)
    writer.close()
    assert len(AudioCache(tmp_path).clips) == 1


def test_faces_come_back(tmp_path: Path) -> None:
    """One picture for each token hop of a clip that has a face; None for one that has not."""
    cache = made_faces.write_cache(tmp_path)
    assert cache.faces(cache.clips[0]) is None
    assert cache.face_count == sum(clip.frames for clip in cache.clips[1:])
    for number, clip in enumerate(cache.clips[1:], start=1):
        faces = cache.faces(clip)
        assert faces is not None
        np.testing.assert_array_equal(faces, made_faces.faces(clip.frames, 100 + 8 * number))


def test_an_older_cache_is_still_read(tmp_path: Path) -> None:
    """One written before there were faces: its index and facts know nothing of them."""
    made.write_cache(tmp_path, [made.clip()])
    (tmp_path / "faces.u8").unlink()
    line = json.loads((tmp_path / "index.jsonl").read_text())
    del line["face_offset"]
    (tmp_path / "index.jsonl").write_text(json.dumps(line) + "\n")
    facts = json.loads((tmp_path / "facts.json").read_text())
    del facts["faces"]
    (tmp_path / "facts.json").write_text(json.dumps(facts))
    cache = AudioCache(tmp_path)
    assert cache.face_count == 0
    assert cache.faces(cache.clips[0]) is None


def test_faces_must_be_one_for_each_hop(tmp_path: Path) -> None:
    """One too few would shift every clip behind it."""
    writer = CacheWriter(tmp_path, 0)
    clip = made.clip(samples=3_200, face_offset=0)
    with pytest.raises(ValueError, match="needs 10 faces"):
        writer.append(clip, made.speechlike(3_200, 0), None, made_faces.faces(9, 150.0))
    writer.close()
