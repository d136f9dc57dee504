"""Targets hold what a clip says about the seven categories, and nothing about those its corpus lacks."""

from __future__ import annotations

import math

import numpy as np
import pytest

from tests.training.corpora.builders import segment
from training.corpora.errors import LabelError
from training.corpora.labels import (
    CATEGORIES,
    CIRCUMPLEX,
    CORPUS_CATEGORIES,
    agrees_with_listeners,
    canonical,
    category_index,
    category_mask,
    held_categories,
    target,
)


def test_the_order_of_categories_is_fixed() -> None:
    """Bundles are read by this order, so a change of it must fail a test."""
    assert CATEGORIES == ("angry", "disgust", "fear", "happy", "neutral", "sad", "surprise")
    assert [category_index(name) for name in CATEGORIES] == list(range(7))


@pytest.mark.parametrize(
    ("word", "category"),
    [("calm", "neutral"), (" Angry ", "angry"), ("fearful", "fear"), ("joy", "happy"), ("boredom", None)],
)
def test_words_are_mapped(word: str, category: str | None) -> None:
    """Calm counts as neutral, boredom as nothing."""
    assert canonical(word) == category


def test_an_unknown_word_is_refused() -> None:
    """A typing error is not taken for an unlabelled clip."""
    with pytest.raises(LabelError, match="unknown emotion 'hapy'"):
        canonical("hapy")


def test_masks_follow_the_corpora() -> None:
    """Each corpus has the number of categories it is documented with."""
    sizes = {name: int(category_mask(held).sum()) for name, held in CORPUS_CATEGORIES.items()}
    assert sizes == {
        "ravdess": 7,
        "crema_d": 6,
        "nemo": 6,
        "ased": 5,
        "turev": 4,
        "tess": 7,
        "emospeech_in": 4,
        "emodb": 4,
    }


def test_a_label_gives_a_one_hot_target() -> None:
    """One category has all the probability, the mask is the corpus's."""
    aim = target(segment(corpus="turev", emotion="calm"))
    assert aim is not None
    assert aim.hard == category_index("neutral")
    assert aim.probabilities.tolist() == [0, 0, 0, 0, 1, 0, 0]
    assert aim.probabilities.dtype == np.float32
    assert aim.mask.tolist() == [True, False, False, True, True, True, False]


@pytest.mark.parametrize(
    ("corpus", "emotion"), [("ravdess", None), ("emodb", "boredom"), ("emodb", "disgust")]
)
def test_some_clips_have_no_target(corpus: str, emotion: str | None) -> None:
    """No label, a word outside the space, or a category that the corpus holds only in part."""
    assert target(segment(corpus=corpus, emotion=emotion)) is None


def test_votes_go_before_the_intent() -> None:
    """Shares of the listeners are the probabilities, their plurality is the hard label."""
    aim = target(segment(corpus="crema_d", emotion="happy", votes={"neutral": 6, "happy": 3, "sad": 1}))
    assert aim is not None
    assert aim.hard == category_index("neutral")
    np.testing.assert_allclose(aim.probabilities, [0, 0, 0, 0.3, 0.6, 0.1, 0], atol=1e-7)


@pytest.mark.parametrize(
    ("votes", "hard", "agrees"),
    [
        ({"happy": 4, "neutral": 4}, "happy", True),
        ({"sad": 4, "neutral": 4}, None, False),
        ({"happy": 5, "neutral": 4}, "happy", True),
        ({"happy": 3, "neutral": 4}, "neutral", False),
    ],
)
def test_ties_go_to_the_intent_or_to_nobody(votes: dict[str, float], hard: str | None, agrees: bool) -> None:
    """A tie that includes what the actor meant counts as agreement."""
    clip = segment(corpus="crema_d", emotion="happy", votes=votes)
    aim = target(clip)
    assert aim is not None
    assert aim.hard == (None if hard is None else category_index(hard))
    assert agrees_with_listeners(clip) is agrees


def test_votes_outside_the_mask_do_not_count() -> None:
    """Where nobody chose a category that the corpus holds, there is no target."""
    assert target(segment(corpus="crema_d", votes={"surprise": 3, "boredom": 2})) is None


def test_a_clip_without_votes_agrees() -> None:
    """Nobody contradicts a label that nobody was asked about."""
    assert agrees_with_listeners(segment())


def test_the_categories_of_an_own_corpus_are_those_it_shows() -> None:
    """A shared corpus keeps its documented ones."""
    clips = [
        segment(corpus="site", emotion="calm"),
        segment(corpus="site", emotion="anger"),
        segment(corpus="site", emotion=None),
        segment(corpus="turev", emotion="sad"),
    ]
    held = held_categories(clips)
    assert held == {"site": ("angry", "neutral"), "turev": CORPUS_CATEGORIES["turev"]}
    aim = target(clips[1], held)
    assert aim is not None
    assert aim.mask.sum() == 2


def test_an_own_corpus_needs_its_categories() -> None:
    """Without them a loss over all seven would unlearn what the site never says."""
    with pytest.raises(LabelError, match="no categories known for corpus 'site'"):
        target(segment(corpus="site"))


def test_the_circumplex_is_a_circle() -> None:
    """Every category but neutral lies on the unit circle, in steps of 22.5°, within [-1, 1]."""
    assert set(CIRCUMPLEX) == set(CATEGORIES)
    for category, (valence, arousal) in CIRCUMPLEX.items():
        if category == "neutral":
            assert (valence, arousal) == (0, 0)
            continue
        assert math.hypot(valence, arousal) == pytest.approx(1, abs=1e-3)
        steps = math.degrees(math.atan2(arousal, valence)) / 22.5
        assert steps == pytest.approx(round(steps), abs=1e-2)
