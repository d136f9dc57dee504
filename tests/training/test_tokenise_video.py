"""Every face becomes tokens: plain for all, bent for training, and nothing is done twice."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch

from models.config import VideoTokenizerConfig
from models.video_tokenizer import VideoTokenizer
from tests.training import made_faces
from training.data.video_tokens import VideoTokens
from training.tokenise_video import TokeniseVideoConfig, tokenise_video

CONFIG = VideoTokenizerConfig(channels=(8, 8, 8), codebook_size=16, code_dim=4)


def tokenizer() -> VideoTokenizer:
    """Untrained, with the fields of made faces for codes, so that they are told apart."""
    torch.manual_seed(0)
    made = VideoTokenizer(CONFIG)
    with torch.no_grad():
        fields = made._fields(torch.tensor(made_faces.faces(8, 150.0))).transpose(1, 2).flatten(0, 1)
        made.quantizer.codebooks[0] = fields[::8]
    return made


def test_plain_tokens_are_the_tokenizers(tmp_path: Path) -> None:
    """Variant 0 of every clip, train or not, is what the tokenizer says of its faces."""
    cache = made_faces.write_cache(tmp_path / "cache")
    model = tokenizer()
    tokenise_video(TokeniseVideoConfig(variants=2, batch=7), tmp_path / "cache", model, tmp_path / "out")
    video = VideoTokens(tmp_path / "out")
    assert (video.grid, video.codebook_size, video.variants) == (16, 16, 2)
    np.testing.assert_array_equal(video.codebook, model.quantizer.codebooks[0].numpy())
    differ = 0
    for clip in cache.clips[1:]:
        faces, tokens = cache.faces(clip), video.tokens(clip)
        assert faces is not None
        assert tokens is not None
        with torch.no_grad():
            np.testing.assert_array_equal(tokens, model.tokens(torch.tensor(faces)).numpy().T)
        if clip.split == "train":
            bent = video.tokens(clip, 1)
            assert bent is not None
            differ += int(not np.array_equal(bent, tokens))
    assert differ > 3


def test_finished_tokens_are_kept(tmp_path: Path) -> None:
    """A second call, with another tokenizer, changes nothing."""
    made_faces.write_cache(tmp_path / "cache")
    config = TokeniseVideoConfig(variants=1)
    tokenise_video(config, tmp_path / "cache", tokenizer(), tmp_path / "out")
    before = (tmp_path / "out" / "video.u16").read_bytes()
    other = tokenizer()
    torch.nn.init.normal_(other.quantizer.codebooks)
    tokenise_video(config, tmp_path / "cache", other, tmp_path / "out")
    assert (tmp_path / "out" / "video.u16").read_bytes() == before
