"""Baselines learn from what the protocol allows and are tested like the bundle."""

from __future__ import annotations

import doctest
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from tests.training import made
from training.baselines import protocols
from training.baselines.features import BaselineMissingError, Floats
from training.baselines.protocols import (
    ALL_TRAIN,
    LEFT_OUT,
    RAVDESS_ONLY,
    Labelled,
    Probe,
    balanced,
    choose_penalty,
    labelled,
    left_out_row,
    measure_baselines,
)
from training.corpora.labels import CATEGORIES
from training.data.cache import AudioCache, Clip
from training.measurer import EvaluateConfig

CONFIG = EvaluateConfig(bootstrap=30, draws=2, profile_sizes=(6,), baselines=("egemaps",))
EMODB = ("angry", "happy", "neutral", "sad")


def voice(clip: Clip) -> Floats:
    """Features that tell the category, moved by a different amount for each corpus."""
    moved = {"ravdess": 0.0, "emodb": 3.0}.get(clip.corpus, 1.0)
    noise = np.random.default_rng(sum(map(ord, clip.id))).normal(0, 0.3, len(CATEGORIES))
    hit = np.zeros(len(CATEGORIES))
    if clip.emotion:
        hit[CATEGORIES.index(clip.emotion)] = 2.0
    return (noise + hit + moved * np.arange(len(CATEGORIES))).astype(np.float32)


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> AudioCache:
    """RAVDESS with all splits, EmoDB as the cross set."""
    clips = []
    for corpus, split, speakers, words in (
        ("ravdess", "train", 4, CATEGORIES), ("ravdess", "dev", 1, CATEGORIES), ("ravdess", "test", 2, CATEGORIES),
        ("emodb", "cross", 4, EMODB),
    ):  # fmt: skip
        clips += [
            made.clip(id=f"{corpus}/{split}{who}{word}", corpus=corpus, split=split, speaker=f"{split}{who}",
                      emotion=word, samples=640, lead=0, active=640)
            for who in range(speakers) for word in words
        ]  # fmt: skip
    return made.write_cache(tmp_path_factory.mktemp("cache"), clips, teacher_dim=0)


@pytest.fixture(autouse=True)
def made_features(monkeypatch: pytest.MonkeyPatch) -> None:
    """Features by clip instead of by sound."""

    def features(system: str, cache: AudioCache, clips: Sequence[Clip], folder: Path) -> Floats:
        if system == "whisper-base":
            raise BaselineMissingError("its package is not installed")
        return np.stack([voice(c) for c in clips])

    monkeypatch.setattr(protocols, "features_of", features)


def test_doctests() -> None:
    """The example holds."""
    assert doctest.testmod(protocols).failed == 0


def test_every_protocol_is_measured(cache: AudioCache, tmp_path: Path) -> None:
    """All train splits cold and with a profile, RAVDESS alone, one speaker left out; what is missing is said."""
    config = EvaluateConfig(
        bootstrap=30, draws=2, profile_sizes=(6, 50), baselines=("egemaps", "whisper-base")
    )
    rows, skipped = measure_baselines(cache, tmp_path, config)
    assert [(r["trained_on"], r["set"], r["profile_n"]) for r in rows] == [
        (ALL_TRAIN, "ravdess7", 0),
        (ALL_TRAIN, "ravdess7", 6),
        (ALL_TRAIN, "emodb4", 0),
        (ALL_TRAIN, "emodb4", 6),
        (RAVDESS_ONLY, "ravdess7", 0),
        (RAVDESS_ONLY, "emodb4", 0),
        (LEFT_OUT, "emodb4_loso", 0),
    ]
    assert skipped == ["Whisper-base + LR: not measured, its package is not installed"]
    found = {(r["trained_on"], r["set"], r["profile_n"]): r for r in rows}
    assert found[ALL_TRAIN, "ravdess7", 0]["value"] > 0.9
    assert found[LEFT_OUT, "emodb4_loso", 0]["value"] > 0.9
    assert found[ALL_TRAIN, "emodb4", 0]["speakers"] == 4


def test_a_profile_undoes_a_moved_source(cache: AudioCache, tmp_path: Path) -> None:
    """The cross set lies elsewhere: cold it is misheard, relative to itself it isn't."""
    rows, _ = measure_baselines(cache, tmp_path, CONFIG)
    found = {(r["trained_on"], r["set"], r["profile_n"]): r["value"] for r in rows}
    assert found[ALL_TRAIN, "emodb4", 0] < 0.6 < found[ALL_TRAIN, "emodb4", 6]


def test_nothing_is_learned_from_the_cross_set(cache: AudioCache, tmp_path: Path) -> None:
    """Neither as train nor as dev; a split without labels gives nothing."""
    train = labelled("egemaps", cache, "train", tmp_path)
    assert train is not None
    assert set(train.corpora.tolist()) == {"ravdess"}
    assert labelled("egemaps", cache, "cross", tmp_path) is None


def test_weights_are_even(cache: AudioCache, tmp_path: Path) -> None:
    """Every corpus weighs the same, and every category inside it."""
    corpora = np.array(["a"] * 6 + ["b"] * 2)
    truth = np.array([0, 0, 0, 0, 0, 1, 0, 0])
    weights = balanced(corpora, truth)
    assert weights.mean() == pytest.approx(1)
    assert weights[:6].sum() == pytest.approx(weights[6:].sum())
    assert weights[:5].sum() == pytest.approx(weights[5])


def test_unknown_categories_are_never_said() -> None:
    """What was not trained on has no probability."""
    clips = [made.clip(id=str(n)) for n in range(8)]
    features = np.random.default_rng(0).standard_normal((8, 3)).astype(np.float32)
    data = Labelled(features, np.arange(8) % 2 * 4, np.ones((8, 7), np.bool_), clips)
    logits = Probe(data, 0.1, per_corpus=True).logits(features)
    assert (logits[:, [1, 2, 3, 5, 6]] == -1e4).all()
    np.testing.assert_allclose(np.exp(logits[:, [0, 4]]).sum(axis=1), 1, rtol=1e-5)


def test_the_penalty_is_chosen_on_dev(cache: AudioCache, tmp_path: Path) -> None:
    """One of the list; the fixed one where there is no dev."""
    train, dev = (labelled("egemaps", cache, split, tmp_path) for split in ("train", "dev"))
    assert train is not None
    assert choose_penalty(train, dev) in protocols.PENALTIES
    assert choose_penalty(train, None) == protocols.FIXED_PENALTY


def test_a_left_out_speaker_is_not_learned_from() -> None:
    """Where a speaker's features tell only who speaks, nothing is learned about the category."""
    truth = np.arange(40) % 2
    who = np.repeat(np.arange(4), 10)
    features = np.eye(4, dtype=np.float32)[who] + 0.0
    row = left_out_row("x", features, truth, [str(w) for w in who], CONFIG)
    assert row["value"] == pytest.approx(0.5)
