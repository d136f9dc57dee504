"""Step number → a batch of sound alone, or of clips with both sound and face."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
from torch import Tensor
from torch.utils.data import Dataset

from training.data.token_batches import TokenBatchConfig, TokenBatches, TokenData, gather


@dataclass(frozen=True, slots=True)
class AvBatchConfig:
    """How often a step has faces, and which.

    share: of the steps. speakers, clips_each: at most so many, all different, so that a clip's negatives in the
    contrastive loss are other people and the same person alike. speaker_power: a speaker of n clips is drawn as
    n^power. max_frames: crops much shorter than the clips; two crops of one length tell less by how they begin and end.
    """

    share: float = 0.25
    speakers: int = 8
    clips_each: int = 6
    speaker_power: float = 0.5
    max_frames: int = 50

    def __post_init__(self) -> None:
        if not 0 <= self.share <= 1:
            raise ValueError(f"share must lie between 0 and 1, got {self.share}")
        if min(self.speakers, self.clips_each, self.max_frames) < 1:
            raise ValueError("speakers, clips_each and max_frames must be at least 1")


class FacedBatches(Dataset[dict[str, Tensor]]):
    """Batches of clips that all have faces, drawn by speaker."""

    def __init__(self, data: TokenData, config: TokenBatchConfig, faced: AvBatchConfig, seed: int) -> None:
        """Draw from those clips of `data` that have faces; its weights play no part.

        Raises:
            ValueError: there are none, or no tokens of them.
        """
        self._data, self._config, self._faced, self._seed = data, config, faced, seed
        self._config = replace(config, max_frames=faced.max_frames)
        places: dict[str, list[int]] = {}
        for place, number in enumerate(data.numbers):
            clip = data.cache.clips[number]
            if clip.face_offset >= 0:
                places.setdefault(clip.speaker, []).append(place)
        if not places or data.video is None:
            raise ValueError(
                "no clip has tokens of its face: name an audiovisual corpus, and tokenise its video"
            )
        self._places = [np.array(places[speaker]) for speaker in sorted(places)]
        sizes = np.array([len(own) for own in self._places], dtype=np.float64) ** faced.speaker_power
        self._shares = sizes / sizes.sum()

    def draw(self, step: int) -> tuple[npt.NDArray[np.int64], np.random.Generator]:
        """Places of a step, speaker by speaker, and the generator for everything else about it."""
        rng = np.random.default_rng([self._seed, step, 2])
        count = min(self._faced.speakers, len(self._places))
        speakers = rng.choice(len(self._places), size=count, replace=False, p=self._shares)
        chosen = []
        for speaker in speakers:
            own = self._places[int(speaker)]
            chosen.append(rng.choice(own, size=min(self._faced.clips_each, len(own)), replace=False))
        return np.concatenate(chosen), rng

    def __getitem__(self, step: int) -> dict[str, Tensor]:
        return gather(self._data, self._config, *self.draw(step))


class MixedBatches(Dataset[dict[str, Tensor]]):
    """A step is one of faces or one of sound alone; which of the two depends on (seed, step) alone."""

    def __init__(self, data: TokenData, config: TokenBatchConfig, faced: AvBatchConfig, seed: int) -> None:
        self._sound = TokenBatches(replace(data, video=None), config, seed)
        self._faces = FacedBatches(data, config, faced, seed) if faced.share else None
        self._share, self._seed = faced.share, seed

    def has_faces(self, step: int) -> bool:
        """Whether a step is one of faces."""
        return bool(np.random.default_rng([self._seed, step, 1]).random() < self._share)

    def __getitem__(self, step: int) -> dict[str, Tensor]:
        if self._faces is not None and self.has_faces(step):
            return self._faces[step]
        return self._sound[step]
