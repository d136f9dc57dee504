"""The label space: seven categories, which of them each corpus holds, and a place on the circumplex.

Corpora disagree on what they hold. A clip of a corpus without surprise says nothing about surprise, so the
loss of each clip runs over its corpus's own categories only (`Target.mask`), and recall is reported per
corpus.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import numpy.typing as npt

from training.corpora.errors import LabelError

CATEGORIES = ("angry", "disgust", "fear", "happy", "neutral", "sad", "surprise")
"""Order of every posterior, mask and confusion matrix here and of the bundle's logits."""

_INDEX = {name: index for index, name in enumerate(CATEGORIES)}

_VOTED = ("angry", "disgust", "fear", "happy", "neutral", "sad")

CORPUS_CATEGORIES: Mapping[str, tuple[str, ...]] = {
    "ravdess": CATEGORIES,
    "crema_d": _VOTED,  # the actors meant happy or sad only; the listeners chose among these six
    "nemo": ("angry", "fear", "happy", "neutral", "sad", "surprise"),
    "ased": ("angry", "fear", "happy", "neutral", "sad"),
    "turev": ("angry", "happy", "neutral", "sad"),
    "tess": CATEGORIES,
    "emospeech_in": ("angry", "fear", "happy", "neutral"),
    "emodb": ("angry", "happy", "neutral", "sad"),  # the others are incomplete in this copy
}
"""Which categories each shared corpus holds completely, calm counted as neutral."""

EVALUATION_ONLY = frozenset({"emodb"})
"""Corpora that nothing is trained or selected on."""

SYNONYMS: Mapping[str, str] = {
    "anger": "angry",
    "calm": "neutral",
    "disgusted": "disgust",
    "fearful": "fear",
    "happiness": "happy",
    "joy": "happy",
    "sadness": "sad",
    "surprised": "surprise",
}

OUTSIDE = frozenset({"boredom"})
"""Words for states that no category stands for: such clips carry no target."""

CIRCUMPLEX: Mapping[str, tuple[float, float]] = {
    "happy": (0.9239, 0.3827),  # 22.5°, between pleasure and excitement
    "surprise": (0.3827, 0.9239),  # 67.5°, between excitement and arousal
    "angry": (-0.3827, 0.9239),  # 112.5°, between arousal and distress
    "fear": (-0.7071, 0.7071),  # 135°, distress
    "disgust": (-0.9239, 0.3827),  # 157.5°, between distress and displeasure
    "sad": (-0.9239, -0.3827),  # 202.5°, between displeasure and depression
    "neutral": (0.0, 0.0),  # the centre
}
"""Category → (valence, arousal), each (cos, sin) of an angle on Russell's circle.

Russell (1980, "A circumplex model of affect", Journal of Personality and Social Psychology 39(6), 1161–1178)
puts eight affective concepts at 45° steps: pleasure 0°, excitement 45°, arousal 90°, distress 135°,
displeasure 180°, depression 225°, sleepiness 270°, relaxation 315°. Where the seven categories lie among
these, in steps of 22.5°, was decided here. So these are a mapping, not labels: nobody rated the clips, and
a valence or arousal trained on it holds no more than the categories do.
"""


class Labelled(Protocol):
    """What a label is read from: a corpus's clip (`manifest.Segment`) or its cached piece (`data.cache.Clip`)."""

    @property
    def id(self) -> str:
        """Unique name, for messages."""
        ...

    @property
    def corpus(self) -> str:
        """Which corpus it is of."""
        ...

    @property
    def speaker(self) -> str:
        """The unit that splits keep apart."""
        ...

    @property
    def emotion(self) -> str | None:
        """The corpus's own word."""
        ...

    @property
    def votes(self) -> Mapping[str, float] | None:
        """Listeners by category."""
        ...


@dataclass(frozen=True, slots=True, eq=False)
class Target:
    """What a clip teaches about the seven categories.

    probabilities: float32 [7], sums to 1, zero outside the mask: one-hot, or the listeners' shares.
    mask: bool [7], True for the categories that the clip's corpus holds.
    hard: index of the one category where one must be named (sampling, recall); None where listeners tied.
    """

    probabilities: npt.NDArray[np.float32]
    mask: npt.NDArray[np.bool_]
    hard: int | None


def canonical(emotion: str) -> str | None:
    """The category for a corpus's word; None for a known word that no category stands for.

    >>> canonical("calm"), canonical("Fearful"), canonical("boredom")
    ('neutral', 'fear', None)

    Raises:
        LabelError: a word that is not known at all, which is more likely a typing error.
    """
    word = emotion.strip().lower()
    word = SYNONYMS.get(word, word)
    if word in OUTSIDE:
        return None
    if word not in _INDEX:
        known = sorted({*CATEGORIES, *SYNONYMS, *OUTSIDE})
        raise LabelError(f"unknown emotion {emotion!r}, expected one of {', '.join(known)}")
    return word


def category_index(category: str) -> int:
    """Position of a category in `CATEGORIES`."""
    return _INDEX[category]


def category_mask(categories: Iterable[str]) -> npt.NDArray[np.bool_]:
    """Boolean [7], True for the given categories."""
    held = set(categories)
    return np.array([name in held for name in CATEGORIES], dtype=np.bool_)


def held_categories(segments: Iterable[Labelled]) -> dict[str, tuple[str, ...]]:
    """Which categories each corpus of these clips holds.

    Shared corpora come from `CORPUS_CATEGORIES`. For any other (a site's own folder) they are those its
    labelled clips show, so that a category it never has is neither learnt nor unlearnt from it.
    """
    seen: dict[str, set[str]] = {}
    for segment in segments:
        words = segment.votes if segment.votes is not None else (segment.emotion,)
        named = {canonical(word) for word in words if word is not None}
        seen.setdefault(segment.corpus, set()).update(name for name in named if name is not None)
    return {
        corpus: CORPUS_CATEGORIES.get(corpus, tuple(name for name in CATEGORIES if name in names))
        for corpus, names in seen.items()
    }


def target(segment: Labelled, held: Mapping[str, tuple[str, ...]] = CORPUS_CATEGORIES) -> Target | None:
    """The target of a clip; None where it has no label or a label that its corpus does not hold completely.

    Votes, where there are any, go before the actor's intent: their shares are the probabilities, and `hard`
    is the plurality (a tie goes to the intent if it is among the tied, otherwise to nobody).

    Args:
        segment: the clip.
        held: categories by corpus, for corpora of one's own from `held_categories`.

    Raises:
        LabelError: an unknown word, or a labelled clip of a corpus that `held` lacks.
    """
    intent = None if segment.emotion is None else canonical(segment.emotion)
    if segment.votes is None and intent is None:
        return None
    if segment.corpus not in held:
        raise LabelError(f"clip {segment.id!r}: no categories known for corpus {segment.corpus!r}")
    mask = category_mask(held[segment.corpus])
    if segment.votes is not None:
        return _voted_target(segment.votes, mask, intent)
    return None if intent is None else _named_target(intent, mask)


def _named_target(category: str, mask: npt.NDArray[np.bool_]) -> Target | None:
    index = _INDEX[category]
    if not mask[index]:
        return None
    probabilities = np.zeros(len(CATEGORIES), dtype=np.float32)
    probabilities[index] = 1.0
    return Target(probabilities, mask, index)


def agrees_with_listeners(segment: Labelled) -> bool:
    """Whether the actor's intent is among the listeners' most frequent choices; True where nobody voted."""
    if segment.votes is None or segment.emotion is None:
        return True
    counts = _counts(segment.votes)
    intent = canonical(segment.emotion)
    return intent is not None and bool(counts[_INDEX[intent]] == counts.max())


def _counts(votes: Mapping[str, float]) -> npt.NDArray[np.float64]:
    counts = np.zeros(len(CATEGORIES))
    for word, count in votes.items():
        name = canonical(word)
        if name is not None:
            counts[_INDEX[name]] += count
    return counts


def _voted_target(
    votes: Mapping[str, float], mask: npt.NDArray[np.bool_], intent: str | None
) -> Target | None:
    counts = np.where(mask, _counts(votes), 0.0)
    if counts.sum() == 0:
        return None
    most = np.flatnonzero(counts == counts.max())
    hard = int(most[0]) if len(most) == 1 else None
    if hard is None and intent is not None and _INDEX[intent] in most:
        hard = _INDEX[intent]
    return Target((counts / counts.sum()).astype(np.float32), mask, hard)
