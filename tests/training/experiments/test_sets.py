"""Clips to learn from and to be judged on: right splits, shares of labels, categories of the corpus only."""

from __future__ import annotations

import numpy as np
import pytest

from training.corpora.labels import CATEGORIES
from training.experiments.sets import dev_sets, labelled, unseen_sets
from training.experiments.source import Source


def test_sets_keep_to_their_split(source: Source) -> None:
    """Dev sets hold dev speakers, unseen ones test speakers, both with the right answers."""
    cache = source.cache()
    for split, sets in (("dev", dev_sets(cache)), ("test", unseen_sets(cache))):
        assert [s.name for s in sets] == ["made7"]
        clips = [cache.clips[n] for n in sets[0].numbers]
        assert {clip.split for clip in clips} == {split}
        assert [CATEGORIES[t] for t in sets[0].truth] == [clip.emotion for clip in clips]
        assert sets[0].in_mean


def test_answers_are_among_the_categories_of_the_set(source: Source) -> None:
    """However likely, a category that the set does not hold is not answered."""
    judged = unseen_sets(source.cache())[0]
    judged.allowed[0] = False
    logits = np.zeros((len(judged.numbers), len(CATEGORIES)))
    logits[:, 0], logits[:, 3] = 9.0, 1.0
    assert set(judged.answers(logits).prediction.ravel().tolist()) == {3}


@pytest.mark.parametrize(("share", "expected"), [(1.0, 56), (0.5, 28), (0.01, 7)])
def test_a_share_of_labels_keeps_every_category(source: Source, share: float, expected: int) -> None:
    """Training clips only, no noise, each category at least once."""
    cache = source.cache()
    found = labelled(cache, "train", share)
    assert len(found.numbers) == len(found.targets) == expected
    assert {cache.clips[n].split for n in found.numbers} == {"train"}
    assert sorted(set(found.hard.tolist())) == list(range(7))
