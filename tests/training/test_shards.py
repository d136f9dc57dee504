"""The command line writes shards of what the stages left, shows them and checks them."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from tests.training import made, made_faces
from training.data.shard_files import ShardError, Shards
from training.shards import main, write_shards


def test_the_command_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """`write` takes the training clips, in a drawn order, and the tokenizer along; `show` and `verify` read them."""
    cache = made.write_cache(tmp_path / "cache", made.labelled_clips())
    made.write_store(tmp_path / "tokens", cache, 2, 32)
    (tmp_path / "weights").write_bytes(b"weights")
    given = ["--prepared", str(tmp_path / "cache"), "--tokens", str(tmp_path / "tokens")]
    given += ["--out", str(tmp_path / "out"), "--tokenizer", str(tmp_path / "weights")]
    assert main(["write", *given]) == 0
    assert json.loads(capsys.readouterr().out)["clips"] == 58
    shards = Shards(tmp_path / "out")
    ids = [shards.sample(number).id for number in range(len(shards))]
    wanted = [clip.id for clip in cache.clips if clip.split == "train"]
    assert sorted(ids) == sorted(wanted)
    assert ids != wanted
    assert shards.tokenizer is not None
    assert shards.tokenizer.read_bytes() == b"weights"
    assert shards.video_codebook is None
    for command in ("show", "verify"):
        assert main([command, str(tmp_path / "out")]) == 0
        assert json.loads(capsys.readouterr().out)["codebooks"] == 2
    assert main(["write", *given]) == 2
    assert "holds finished shards already" in capsys.readouterr().err
    assert main(["verify", str(tmp_path / "nowhere")]) == 2
    assert "no finished shards" in capsys.readouterr().err


def test_no_clip_is_an_error(tmp_path: Path) -> None:
    """A split that nothing belongs to."""
    cache = made.write_cache(tmp_path / "cache", made.labelled_clips())
    made.write_store(tmp_path / "tokens", cache, 2, 32)
    with pytest.raises(ShardError, match="no clip of nobody"):
        write_shards(tmp_path / "cache", tmp_path / "tokens", tmp_path / "out", splits=["nobody"])


def test_faces_go_along(tmp_path: Path) -> None:
    """Every rendering of a training clip's face, the plain one of others, none where a clip has no face."""
    cache = made_faces.write_cache(tmp_path / "cache")
    made.write_store(tmp_path / "tokens", cache, 2, 32)
    video = made_faces.write_tokens(tmp_path / "tokens", cache)
    shards = write_shards(tmp_path / "cache", tmp_path / "tokens", tmp_path / "out", splits=["train", "dev"])
    assert shards.video_codebook is not None
    assert np.array_equal(shards.video_codebook, video.codebook)
    assert (shards.schema.video_grid, shards.schema.video_codebook_size) == (video.grid, video.codebook_size)
    clips = {clip.id: clip for clip in cache.clips}
    for number in range(len(shards)):
        sample = shards.sample(number)
        clip = clips[sample.id]
        if clip.face_offset < 0:
            assert sample.video is None
            continue
        assert sample.video is not None
        assert len(sample.video) == (video.variants if clip.split == "train" else 1)
        for variant, rows in enumerate(sample.video):
            wanted = video.tokens(clip, variant)
            assert wanted is not None
            assert np.array_equal(rows.T, wanted)
