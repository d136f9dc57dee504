"""Tokens of every face, in several renderings: what the later stages see of a speaker."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import numpy.typing as npt

from training.data.cache import Clip

TOKENS, CODEBOOK, FACTS = "video.u16", "video_codebook.npy", "video.json"


class VideoTokens:
    """Read access to the video part of a folder that the `tokenise` stage wrote.

    Variant 0 is every face as it is; the others are random renderings of training clips.
    """

    def __init__(self, folder: Path) -> None:
        facts = json.loads((folder / FACTS).read_text())
        self.variants: int = facts["variants"]
        self.grid: int = facts["grid"]
        self.codebook_size: int = facts["codebook_size"]
        shape = (self.variants, facts["faces"], self.grid)
        self.codebook: npt.NDArray[np.float32] = np.load(folder / CODEBOOK)
        """Every code as a vector [codebook_size, C]."""
        self._tokens = np.fromfile(folder / TOKENS, dtype=np.uint16).reshape(shape)

    def tokens(self, clip: Clip, variant: int = 0) -> npt.NDArray[np.int64] | None:
        """Token ids [grid, clip.frames] of a clip's faces, None where it has none.

        Raises:
            ValueError: another variant than the plain one of a clip that is not for training.
        """
        if clip.face_offset < 0:
            return None
        if variant and clip.split != "train":
            raise ValueError(f"clip {clip.id!r} is of {clip.split}: only training clips are rendered again")
        rows = self._tokens[variant, clip.face_offset : clip.face_offset + clip.frames]
        return np.ascontiguousarray(rows.T.astype(np.int64))


def has_video(folder: Path) -> bool:
    """Whether the folder holds complete video tokens."""
    return (folder / FACTS).exists()
