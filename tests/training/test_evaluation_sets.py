"""Evaluation sets are of speakers and corpora that training never saw, under conditions that can be made."""

from __future__ import annotations

from pathlib import Path

from tests.training import made
from training.corpora.labels import CORPUS_CATEGORIES, EVALUATION_ONLY
from training.data.cache import AudioCache
from training.evaluation_sets import (
    CONDITIONS,
    SETS,
    EvaluationSet,
    chosen_clips,
    evaluation_sets,
    middle,
    noise_of,
    possible_conditions,
    spread,
)


def cache_of(folder: Path, *clips: made.Clip) -> AudioCache:
    """A cache of these clips, without a teacher."""
    return made.write_cache(folder, clips, teacher_dim=0)


def test_no_shared_set_was_trained_on() -> None:
    """Test speakers, or a corpus kept for evaluation; over categories that the corpus holds."""
    for test in SETS:
        assert test.split == "test" or (test.split == "cross" and test.corpus in EVALUATION_ONLY)
        assert set(test.categories) <= set(CORPUS_CATEGORIES[test.corpus])


def test_ones_own_corpus_gets_a_set(tmp_path: Path) -> None:
    """Named after the corpus and how many categories its labels show; without test labels there is none."""
    cache = cache_of(
        tmp_path,
        made.clip(id="1", corpus="acme", split="test", emotion="angry"),
        made.clip(id="2", corpus="acme", split="train", emotion="calm"),
        made.clip(id="3", corpus="beta", split="train", emotion="sad"),
    )
    (own,) = evaluation_sets(cache)[len(SETS) :]
    assert own == EvaluationSet("acme2", "acme", "test", "test speakers of acme", ("angry", "neutral"))


def test_clips_of_a_set(tmp_path: Path) -> None:
    """Of its corpus and split, with a category that counts; a limit takes them evenly."""
    clips = [made.clip(id=f"{n}", corpus="turev", split="test", emotion="sad") for n in range(10)]
    others = [
        made.clip(id="a", corpus="turev", split="train", emotion="sad"),
        made.clip(id="b", corpus="turev", split="test", emotion="fear"),
        made.clip(id="c", corpus="ased", split="test", emotion="sad"),
    ]
    cache = cache_of(tmp_path, *clips, *others)
    turev = next(test for test in SETS if test.name == "turev4")
    chosen, truth = chosen_clips(cache, turev, 0)
    assert [clip.id for clip in chosen] == [str(n) for n in range(10)]
    assert truth == [5] * 10
    assert [clip.id for clip in chosen_clips(cache, turev, 5)[0]] == ["0", "2", "4", "6", "8"]


def test_intent_and_votes_are_two_sets(tmp_path: Path) -> None:
    """A clip that was meant happy and heard neutral is happy in the one set and neutral in the other."""
    votes = {"neutral": 8.0, "happy": 2.0}
    cache = cache_of(tmp_path, made.clip(corpus="crema_d", split="test", emotion="happy", votes=votes))
    found = {t.name: chosen_clips(cache, t, 0)[1] for t in SETS if t.corpus == "crema_d"}
    assert found == {"crema2_intent": [3], "crema6_votes": [4]}


def test_noise_is_of_the_test_split(tmp_path: Path) -> None:
    """Ambience and backgrounds that training never mixed in; music is no background."""
    noise = {"corpus": "noise", "emotion": None, "samples": 4_000, "lead": 0, "active": 4_000}
    cache = cache_of(
        tmp_path,
        made.clip(id="1", kind="background_office", split="train", **noise),
        made.clip(id="2", kind="background_street", split="test", **noise),
        made.clip(id="3", kind="music_jazz", split="test", **noise),
    )
    assert len(noise_of(cache)) == 1
    assert possible_conditions(cache) == tuple(CONDITIONS)


def test_without_noise_no_noisy_figure_is_given(tmp_path: Path) -> None:
    """A condition that can't be made is left out rather than measured clean under its name."""
    cache = cache_of(tmp_path, made.clip())
    assert possible_conditions(cache) == ("clean", "loss_5pct", "loss_10pct", "1s", "2s", "4s")


def test_the_middle_of_the_speech() -> None:
    """Cut to length around the middle of what is spoken; a clip that does not speak that long has none."""
    clip = made.clip(offset=1_000, samples=16_000, lead=4_000, active=9_600)
    cut = middle(clip, 1)
    assert cut is not None
    assert (cut.offset, cut.samples, cut.lead, cut.active) == (1_000 + 4_000 + 800, 8_000, 0, 8_000)
    assert middle(clip, 2) is None


def test_clips_are_spread_evenly() -> None:
    """All where there are few or no limit is given."""
    assert spread(10, 5) == [0, 2, 4, 6, 8]
    assert spread(3, 5) == spread(3, 0) == [0, 1, 2]
