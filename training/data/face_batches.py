"""Which pictures of faces a step sees: drawn by speaker, in pairs close in time, from (seed, step) alone."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.utils.data import Dataset

from training.data.cache import AudioCache, Clip

Pictures = npt.NDArray[np.uint8]


@dataclass(frozen=True, slots=True)
class FaceAugmentConfig:
    """How pictures of one clip are bent, all of them alike.

    shift: pixels, at most, in either direction. contrast: factors. brightness: grey levels, at most. flip: chance.
    """

    shift: int = 4
    contrast: tuple[float, float] = (0.7, 1.35)
    brightness: float = 25.0
    flip: float = 0.5


def bend(pictures: Pictures, config: FaceAugmentConfig, rng: np.random.Generator) -> Pictures:
    """Pictures [F, H, W], mirrored, moved (the border repeats), and made darker or lighter, all in the same way."""
    if rng.random() < config.flip:
        pictures = pictures[:, :, ::-1]
    down, right = rng.integers(-config.shift, config.shift + 1, size=2)
    height, width = pictures.shape[1:]
    rows = np.clip(np.arange(height) + down, 0, height - 1)
    columns = np.clip(np.arange(width) + right, 0, width - 1)
    pictures = pictures[:, rows[:, None], columns]
    gain, offset = rng.uniform(*config.contrast), rng.uniform(-config.brightness, config.brightness)
    mean = float(pictures.mean())
    levels = np.arange(256, dtype=np.float64)
    table = np.clip(np.round((levels - mean) * gain + mean + offset), 0, 255).astype(np.uint8)
    return table[pictures]


def speaker_weights(clips: Sequence[Clip], power: float) -> npt.NDArray[np.float64]:
    """Weight of each clip so that a speaker of n clips counts as n^power (0: all speakers alike)."""
    counts = Counter(clip.speaker for clip in clips)
    return np.array([counts[clip.speaker] ** (power - 1.0) for clip in clips])


class FacePairs(Dataset[Tensor]):
    """Step number → pairs of pictures of one clip, uint8 [pairs, 2, 96, 96]."""

    def __init__(
        self,
        cache: AudioCache,
        clips: Sequence[Clip],
        *,
        pairs: int,
        apart: int,
        power: float,
        augment: FaceAugmentConfig,
        seed: int,
    ) -> None:
        """Draw from clips with faces and two frames or more.

        Args:
            cache: where the faces are.
            clips: to draw from.
            pairs: in a step.
            apart: frames between the two of a pair, at most.
            power: a speaker of n clips counts as n^power.
            augment: how a pair is bent.
            seed: of every draw.

        Raises:
            ValueError: no clip has faces.
        """
        self._cache, self._pairs, self._apart = cache, pairs, apart
        self._clips = [clip for clip in clips if clip.face_offset >= 0 and clip.frames > 1]
        if not self._clips:
            raise ValueError("no clip has faces: name an audiovisual corpus")
        weights = speaker_weights(self._clips, power)
        self._shares = weights / weights.sum()
        self._augment, self._seed = augment, seed

    def __getitem__(self, step: int) -> Tensor:
        rng = np.random.default_rng([self._seed, step])
        chosen = rng.choice(len(self._clips), size=self._pairs, p=self._shares)
        return torch.from_numpy(np.stack([self._pair(self._clips[int(n)], rng) for n in chosen]))

    def _pair(self, clip: Clip, rng: np.random.Generator) -> Pictures:
        faces = self._cache.faces(clip)
        if faces is None:
            raise ValueError(f"clip {clip.id!r} has no faces")
        apart = int(rng.integers(1, min(self._apart, clip.frames - 1) + 1))
        first = int(rng.integers(0, clip.frames - apart))
        return bend(faces[[first, first + apart]], self._augment, rng)
