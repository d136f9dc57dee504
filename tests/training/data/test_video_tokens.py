"""Video tokens come back by clip, and only as far as they were rendered."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from tests.training import made_faces
from training.data.video_tokens import VideoTokens, has_video


def test_tokens_of_a_clip(tmp_path: Path) -> None:
    """One grid for each of the clip's own frames; none for a clip without a face."""
    cache = made_faces.write_cache(tmp_path / "cache")
    video = made_faces.write_tokens(tmp_path / "tokens", cache)
    assert (video.grid, video.codebook_size, video.variants, video.codebook.shape) == (3, 8, 2, (8, 4))
    assert video.tokens(cache.clips[0]) is None
    for clip in cache.clips[1:]:
        tokens = video.tokens(clip)
        assert tokens is not None
        assert tokens.shape == (3, clip.frames)
        assert np.array_equal(tokens[0], np.arange(clip.frames) % 8)


def test_only_training_clips_have_other_renderings(tmp_path: Path) -> None:
    """Asking for one of a dev clip is an error: evaluation is on the plain faces."""
    cache = made_faces.write_cache(tmp_path / "cache")
    video = made_faces.write_tokens(tmp_path / "tokens", cache)
    train, dev = cache.clips[1], next(clip for clip in cache.clips if clip.split == "dev")
    bent = video.tokens(train, 1)
    assert bent is not None
    assert bent[0, 0] == 1
    with pytest.raises(ValueError, match="only training clips"):
        video.tokens(dev, 1)


def test_an_unfinished_folder_has_no_video(tmp_path: Path) -> None:
    """The facts are written last."""
    assert not has_video(tmp_path)
    cache = made_faces.write_cache(tmp_path / "cache")
    made_faces.write_tokens(tmp_path / "tokens", cache)
    assert has_video(tmp_path / "tokens")
    (tmp_path / "tokens" / "video.json").unlink()
    with pytest.raises(FileNotFoundError):
        VideoTokens(tmp_path / "tokens")
