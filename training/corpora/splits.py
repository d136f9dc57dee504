"""Splits that keep speakers apart, and shares of the labels. Everything here depends on names only."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import TypeVar

from training.corpora.errors import SplitError
from training.corpora.labels import CORPUS_CATEGORIES, EVALUATION_ONLY, Labelled, target
from training.corpora.manifest import Segment

L = TypeVar("L", bound=Labelled)

LABEL_SHARES = (0.01, 0.05, 0.10, 1.0)
"""Shares of the labels that few-label results are reported for."""

TRAIN_SHARE = 0.7
DEV_SHARE = 0.1
"""Of the speakers, where a corpus comes without splits; the rest is test."""


def hash_split(speaker: str) -> str:
    """The split of a speaker whose corpus states none: the same on every machine, whoever else is there.

    About 70 % of speakers go to train, 10 % to dev, 20 % to test; with a dozen speakers or fewer one of them
    may well be empty, so state splits yourself there.

    >>> hash_split("site:anna"), hash_split("site:ben")
    ('train', 'train')
    """
    at = _fraction(speaker)
    if at < TRAIN_SHARE:
        return "train"
    return "dev" if at < TRAIN_SHARE + DEV_SHARE else "test"


def check_speaker_disjoint(segments: Iterable[Segment]) -> None:
    """Demand that no speaker is in two splits, across all corpora given.

    Raises:
        SplitError: naming the speakers and their splits.
    """
    splits: dict[str, set[str]] = {}
    for segment in segments:
        splits.setdefault(segment.speaker, set()).add(segment.split)
    torn = [f"{who} ({', '.join(sorted(where))})" for who, where in sorted(splits.items()) if len(where) > 1]
    if torn:
        raise SplitError(f"speakers in more than one split: {'; '.join(torn)}")


def select(segments: Iterable[Segment], *splits: str) -> list[Segment]:
    """The clips of some splits, in order."""
    return [segment for segment in segments if segment.split in splits]


def check_trainable(segments: Iterable[Segment]) -> None:
    """Demand that every clip may be trained on: split train, and no corpus kept for evaluation.

    Raises:
        SplitError: naming the first clip that may not.
    """
    for segment in segments:
        if segment.split != "train" or segment.corpus in EVALUATION_ONLY:
            raise SplitError(f"clip {segment.id!r} of split {segment.split!r} must not be trained on")


def label_share(
    segments: Sequence[L],
    share: float,
    *,
    seed: int = 0,
    held: Mapping[str, tuple[str, ...]] = CORPUS_CATEGORIES,
) -> list[L]:
    """A share of the labelled clips, spread over categories and, within each, over speakers.

    Each category of each corpus gives ⌈share × its clips⌉, so none disappears, and takes them from its
    speakers in turn. A smaller share of the same seed is a subset of a larger one. Clips without a category
    are left out; order is kept.

    Raises:
        SplitError: a share outside (0, 1].
    """
    if not 0 < share <= 1:
        raise SplitError(f"a share of labels must be in (0, 1], got {share}")
    cells: dict[tuple[str, int], dict[str, list[L]]] = {}
    for segment in segments:
        aim = target(segment, held)
        if aim is not None and aim.hard is not None:
            by_speaker = cells.setdefault((segment.corpus, aim.hard), {})
            by_speaker.setdefault(segment.speaker, []).append(segment)
    chosen: set[str] = set()
    for by_speaker in cells.values():
        turns = _in_turns(by_speaker, seed)
        chosen.update(segment.id for segment in turns[: math.ceil(share * len(turns))])
    return [segment for segment in segments if segment.id in chosen]


def leave_one_speaker_out(segments: Sequence[Segment]) -> Iterator[tuple[str, list[Segment], list[Segment]]]:
    """One fold per speaker, by name: (speaker, the others' clips, the speaker's clips)."""
    for speaker in sorted({segment.speaker for segment in segments}):
        rest = [segment for segment in segments if segment.speaker != speaker]
        yield speaker, rest, [segment for segment in segments if segment.speaker == speaker]


def _in_turns(by_speaker: Mapping[str, Sequence[L]], seed: int) -> list[L]:
    order = sorted(by_speaker, key=lambda speaker: _fraction(f"{seed}/{speaker}"))
    queues = [sorted(by_speaker[who], key=lambda clip: _fraction(f"{seed}/{clip.id}")) for who in order]
    longest = max(len(queue) for queue in queues)
    return [queue[turn] for turn in range(longest) for queue in queues if turn < len(queue)]


def _fraction(text: str) -> float:
    digest = hashlib.sha256(text.encode()).digest()
    return int.from_bytes(digest[:8], "big") / 2**64
