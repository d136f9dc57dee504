"""Tokens of every clip in several telephone renderings: what all later stages learn from."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import numpy.typing as npt

from training.files import write_whole


class TokenStore:
    """Read access to a folder that the `tokenise` stage wrote.

    Variant 0 is the plain rendering of every clip; the others are random renderings of training clips.
    """

    def __init__(self, folder: Path) -> None:
        facts = json.loads((folder / "facts.json").read_text())
        self.variants: int = facts["variants"]
        self.codebooks: int = facts["codebooks"]
        self._parts = [_Part(folder, v, self.codebooks) for v in range(self.variants)]

    def tokens(self, variant: int, clip: int) -> npt.NDArray[np.int64]:
        """Token ids [K, T] of a clip by its number in the cache."""
        part = self._parts[variant]
        rows = part.tokens[part.offsets[clip] : part.offsets[clip + 1]]
        return np.ascontiguousarray(rows.T.astype(np.int64))

    def frames(self, variant: int, clip: int) -> npt.NDArray[np.int64]:
        """For each token, the number of the teacher frame it stands for [T]."""
        part = self._parts[variant]
        return part.frames[part.offsets[clip] : part.offsets[clip + 1]].astype(np.int64)

    def length(self, variant: int, clip: int) -> int:
        """Tokens of a clip in a variant; 0 where it was not rendered."""
        offsets = self._parts[variant].offsets
        return int(offsets[clip + 1] - offsets[clip])


class _Part:
    def __init__(self, folder: Path, variant: int, codebooks: int) -> None:
        self.tokens = np.fromfile(folder / f"tokens.{variant}.u16", dtype=np.uint16).reshape(-1, codebooks)
        self.frames = np.fromfile(folder / f"frames.{variant}.i16", dtype=np.int16)
        self.offsets = np.load(_offsets(folder, variant))


def part_is_complete(folder: Path, variant: int) -> bool:
    """Whether a variant was written to its end."""
    return _offsets(folder, variant).exists()


def write_part(
    folder: Path, variant: int, tokens: list[npt.NDArray[np.uint16]], frames: list[npt.NDArray[np.int16]]
) -> None:
    """Write one variant: per clip tokens [T, K] and frame numbers [T], empty where it was not rendered."""
    np.concatenate(tokens).tofile(folder / f"tokens.{variant}.u16")
    np.concatenate(frames).tofile(folder / f"frames.{variant}.i16")
    partial = folder / f"offsets.{variant}.part.npy"
    np.save(partial, np.cumsum([0, *(len(t) for t in tokens)]))
    partial.rename(_offsets(folder, variant))  # last: it says that the variant is complete


def write_facts(folder: Path, variants: int, codebooks: int, clips: int) -> None:
    """Declare a store complete, once all of its variants are written."""
    facts = {"variants": variants, "codebooks": codebooks, "clips": clips}
    write_whole(folder / "facts.json", json.dumps(facts))


def _offsets(folder: Path, variant: int) -> Path:
    return folder / f"offsets.{variant}.npy"
