"""Which clips an experiment learns from and is judged on, by their numbers in the cache."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from training.corpora.labels import (
    EVALUATION_ONLY,
    Target,
    category_mask,
    held_categories,
    target,
)
from training.corpora.splits import label_share
from training.data.cache import AudioCache
from training.evaluation_sets import chosen_clips, evaluation_sets
from training.experiments.figures import Answers, IntArray

HIDDEN_LOGIT = -1e4


@dataclass(frozen=True, slots=True)
class JudgedSet:
    """Clips of a set. allowed: bool [C], the categories among which an answer is chosen."""

    name: str
    numbers: tuple[int, ...]
    truth: IntArray
    speakers: tuple[str, ...]
    allowed: npt.NDArray[np.bool_]
    in_mean: bool

    def answers(self, logits: npt.NDArray[np.float64]) -> Answers:
        """The most likely category of each clip, from logits [N, C]."""
        prediction = np.where(self.allowed, logits, HIDDEN_LOGIT).argmax(axis=1)
        return Answers(self.truth, prediction[None].astype(np.int64), self.speakers, self.in_mean)


def unseen_sets(cache: AudioCache) -> list[JudgedSet]:
    """Test speakers of every corpus, and the corpora that nothing is trained on (these not in the mean)."""
    return _sets(cache, "test", ("test", "cross"))


def dev_sets(cache: AudioCache) -> list[JudgedSet]:
    """Dev speakers of every corpus that has test speakers."""
    return _sets(cache, "dev", ("test",))


def _sets(cache: AudioCache, split: str, of: Sequence[str]) -> list[JudgedSet]:
    numbers = {clip.id: number for number, clip in enumerate(cache.clips)}
    found = []
    for test in evaluation_sets(cache):
        if test.split not in of or (test.intent and split == "dev"):
            continue
        wanted = replace(test, split=split if test.split == "test" else test.split)
        clips, truth = chosen_clips(cache, wanted, 0)
        if clips:
            found.append(
                JudgedSet(
                    test.name,
                    tuple(numbers[clip.id] for clip in clips),
                    np.array(truth, np.int64),
                    tuple(clip.speaker for clip in clips),
                    category_mask(test.categories),
                    # Of CREMA-D's two sets, which hold the same clips, the listeners' counts.
                    test.split == "test" and not test.intent,
                )
            )
    return found


@dataclass(frozen=True, slots=True)
class LabelledClips:
    """Clips with their targets."""

    numbers: tuple[int, ...]
    targets: tuple[Target, ...]

    @property
    def hard(self) -> IntArray:
        """The most likely category of each [N]."""
        return np.array([int(t.probabilities.argmax()) for t in self.targets], np.int64)


def labelled(cache: AudioCache, split: str, share: float = 1.0, seed: int = 0) -> LabelledClips:
    """A share of a split's labelled clips, each category's spread over its speakers; evaluation-only corpora never."""
    speech = [
        c for c in cache.clips if c.kind is None and c.split == split and c.corpus not in EVALUATION_ONLY
    ]
    held = held_categories(clip for clip in cache.clips if clip.kind is None)
    chosen = label_share(speech, share, seed=seed, held=held) if share < 1 else speech
    wanted = {clip.id: target(clip, held) for clip in chosen}
    pairs = [(n, t) for n, clip in enumerate(cache.clips) if (t := wanted.get(clip.id)) is not None]
    return LabelledClips(tuple(n for n, _ in pairs), tuple(t for _, t in pairs))
