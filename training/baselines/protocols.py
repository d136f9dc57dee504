"""Logistic regression on a system's features, by the protocols that the bundle is measured by.

- *all train splits*: every labelled training clip, corpora and, inside each, categories of equal weight; features
  standardised over all of them (cold) or, per corpus, with the test clips standardised by n unlabelled utterances of
  their own set (profile n; the very draws that the bundle gets). The strength of the penalty is chosen on dev, cold.
- *RAVDESS 01–18*: train and dev speakers of RAVDESS alone, tested on its test speakers and on EmoDB.
- *one speaker left out*: EmoDB's own clips, learned from nine speakers and tested on the tenth, ten times.

A category that a test set does not hold can't be said on it, as for the bundle.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from training.baselines.features import SYSTEMS, BaselineMissingError, Floats
from training.baselines.store import features_of
from training.corpora.labels import CATEGORIES, EVALUATION_ONLY, category_mask, held_categories, target
from training.data.cache import AudioCache, Clip
from training.evaluation_sets import chosen_clips, evaluation_sets
from training.measure_intervals import SpeakerDraws, uar
from training.measurer import EvaluateConfig, profile_draws
from training.metrics import unweighted_average_recall

ALL_TRAIN = "all train splits"
RAVDESS_ONLY = "RAVDESS 01–18"
LEFT_OUT = "one speaker left out"
LEFT_OUT_SET = "emodb4"

PENALTIES = (0.001, 0.01, 0.1)
FIXED_PENALTY = 0.1
"""For the protocols that have no dev speakers; scikit-learn's C."""
ITERATIONS = 400
STD_FLOOR = 1e-3

Ints = npt.NDArray[np.int64]
Bools = npt.NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class Labelled:
    """Clips with features [N, D], a category each, and which categories their corpus holds [N, C]."""

    features: Floats
    truth: Ints
    allowed: Bools
    clips: list[Clip]

    def only(self, chosen: Bools) -> Labelled:
        """Some of its rows."""
        kept = np.flatnonzero(chosen)
        return Labelled(
            self.features[kept], self.truth[kept], self.allowed[kept], [self.clips[i] for i in kept]
        )

    @property
    def corpora(self) -> npt.NDArray[np.str_]:
        """The corpus of each clip."""
        return np.array([clip.corpus for clip in self.clips])


@dataclass(frozen=True, slots=True)
class Test:
    """One evaluation set with its features [N, D]."""

    name: str
    features: Floats
    truth: Ints
    speakers: list[str]
    mask: Bools


def measure_baselines(
    cache: AudioCache, folder: Path, config: EvaluateConfig
) -> tuple[list[dict[str, Any]], list[str]]:
    """Rows of `Evaluation.baselines` for every configured system, and a line for each that is not installed."""
    rows: list[dict[str, Any]] = []
    skipped = []
    for system in config.baselines:
        try:
            rows += measure_system(system, cache, folder, config)
        except BaselineMissingError as error:
            skipped.append(f"{SYSTEMS[system].title}: not measured, {error}")
    return rows, skipped


def measure_system(
    system: str, cache: AudioCache, folder: Path, config: EvaluateConfig
) -> list[dict[str, Any]]:
    """Every protocol for one system.

    Raises:
        BaselineMissingError: its package is not installed, and its features are not in `folder`.
    """
    train, dev = (labelled(system, cache, split, folder) for split in ("train", "dev"))
    tests = [
        Test(
            t.name,
            features_of(system, cache, clips, folder),
            np.array(truth, np.int64),
            [c.speaker for c in clips],
            category_mask(t.categories),
        )
        for t in evaluation_sets(cache)
        for clips, truth in (chosen_clips(cache, t, config.limit),)
        if clips
    ]
    title = SYSTEMS[system].title
    rows = _all_train(title, train, dev, tests, config) if train is not None else []
    rows += _ravdess_only(title, train, dev, tests, config)
    rows += [
        left_out_row(title, t.features, t.truth, t.speakers, config)
        for t in tests
        if t.name == LEFT_OUT_SET and not config.limit
    ]
    return rows


def labelled(system: str, cache: AudioCache, split: str, folder: Path) -> Labelled | None:
    """All clips of a split with a category; None where there is none."""
    clips = [
        c for c in cache.clips if c.split == split and c.kind is None and c.corpus not in EVALUATION_ONLY
    ]
    held = held_categories(clips)
    wanted = [(clip, target(clip, held)) for clip in clips]
    named = [(clip, t, t.hard) for clip, t in wanted if t is not None and t.hard is not None]
    if not named:
        return None
    chosen = [clip for clip, _, _ in named]
    return Labelled(
        features_of(system, cache, chosen, folder),
        np.array([hard for _, _, hard in named], np.int64),
        np.array([t.mask for _, t, _ in named]),
        chosen,
    )


def balanced(corpora: npt.NDArray[np.str_], truth: Ints) -> npt.NDArray[np.float64]:
    """Weights [N] with mean 1: corpora alike, and inside each corpus its categories alike.

    >>> balanced(np.array(["a", "a", "a", "b"]), np.array([0, 0, 1, 0])).round(3).tolist()
    [0.5, 0.5, 1.0, 2.0]
    """
    weights = np.zeros(len(truth))
    names = np.unique(corpora)
    for corpus in names:
        mine = corpora == corpus
        categories = np.unique(truth[mine])
        for category in categories:
            cell = mine & (truth == category)
            weights[cell] = 1 / (len(names) * len(categories) * cell.sum())
    return weights * len(truth)


class Probe:
    """Standardise, then multinomial logistic regression over all categories."""

    def __init__(self, train: Labelled, penalty: float, *, per_corpus: bool) -> None:
        features, corpora = train.features, train.corpora
        self._mean, self._std = _moments(features)
        if per_corpus:
            scaled = np.empty_like(features)
            for corpus in np.unique(corpora):
                mine = corpora == corpus
                scaled[mine] = _scale(features[mine], *_moments(features[mine]))
        else:
            scaled = _scale(features, self._mean, self._std)
        self._model = LogisticRegression(C=penalty, max_iter=ITERATIONS, tol=1e-3)
        self._model.fit(scaled, train.truth, sample_weight=balanced(corpora, train.truth))

    def logits(self, features: Floats, heard: Floats | None = None) -> Floats:
        """Log-probabilities [N, C] (-1e4 for categories that were not trained on); `heard`: a profile's utterances."""
        moments = (self._mean, self._std) if heard is None else _moments(heard)
        out = np.full((len(features), len(CATEGORIES)), -1e4, np.float32)
        shares = self._model.predict_proba(_scale(features, *moments))
        out[:, self._model.classes_] = np.log(np.maximum(shares, 1e-30))
        return out


def _moments(features: Floats) -> tuple[Floats, Floats]:
    return features.mean(axis=0), np.maximum(features.std(axis=0), STD_FLOOR)


def _scale(features: Floats, mean: Floats, std: Floats) -> Floats:
    return np.asarray((features - mean) / std, np.float32)


def choose_penalty(train: Labelled, dev: Labelled | None) -> float:
    """The penalty with the best UAR on dev, cold, averaged over corpora; the fixed one without dev clips."""
    if dev is None:
        return FIXED_PENALTY

    def score(penalty: float) -> float:
        logits = Probe(train, penalty, per_corpus=False).logits(dev.features)
        said = np.where(dev.allowed, logits, -1e9).argmax(axis=1)
        found = [
            unweighted_average_recall(dev.truth[mine], said[mine], len(CATEGORIES))
            for corpus in np.unique(dev.corpora)
            for mine in (dev.corpora == corpus,)
        ]
        return float(np.mean(found))

    return max(PENALTIES, key=score)


def _all_train(
    title: str, train: Labelled, dev: Labelled | None, tests: Sequence[Test], config: EvaluateConfig
) -> list[dict[str, Any]]:
    penalty = choose_penalty(train, dev)
    cold, warm = (Probe(train, penalty, per_corpus=flag) for flag in (False, True))
    rows = []
    for test in tests:
        rows.append(
            _row(title, ALL_TRAIN, test, 0, np.arange(len(test.truth)), cold.logits(test.features), config)
        )
        for size in config.profile_sizes:
            draws = profile_draws(len(test.truth), size, config)
            if draws:
                logits = [warm.logits(test.features[rest], test.features[heard]) for heard, rest in draws]
                tested = np.concatenate([rest for _, rest in draws])
                rows.append(_row(title, ALL_TRAIN, test, size, tested, np.concatenate(logits), config))
    return rows


def _ravdess_only(
    title: str, train: Labelled | None, dev: Labelled | None, tests: Sequence[Test], config: EvaluateConfig
) -> list[dict[str, Any]]:
    parts = [p for p in (train, dev) if p is not None and (p.corpora == "ravdess").any()]
    if not parts:
        return []
    mine = [p.only(p.corpora == "ravdess") for p in parts]
    joined = Labelled(
        np.concatenate([p.features for p in mine]),
        np.concatenate([p.truth for p in mine]),
        np.concatenate([p.allowed for p in mine]),
        [clip for p in mine for clip in p.clips],
    )
    probe = Probe(joined, FIXED_PENALTY, per_corpus=False)
    return [
        _row(title, RAVDESS_ONLY, t, 0, np.arange(len(t.truth)), probe.logits(t.features), config)
        for t in tests
        if t.name in ("ravdess7", LEFT_OUT_SET)
    ]


def left_out_row(
    title: str, features: Floats, truth: Ints, speakers: Sequence[str], config: EvaluateConfig
) -> dict[str, Any]:
    """UAR of logistic regression learned from all speakers but the tested one, speaker by speaker."""
    said = np.zeros_like(truth)
    names = np.array(speakers)
    for speaker in np.unique(names):
        held = names == speaker
        model = make_pipeline(StandardScaler(), LogisticRegression(C=FIXED_PENALTY, max_iter=2000))
        model.fit(features[~held], truth[~held])
        said[held] = model.predict(features[held])
    draws = SpeakerDraws(list(speakers), config.bootstrap, config.seed)
    figure = uar(draws.confusions(truth, said, len(CATEGORIES))).figure()
    return {
        "name": title, "trained_on": LEFT_OUT, "set": f"{LEFT_OUT_SET}_loso", "condition": "clean", "profile_n": 0,
        "metric": "UAR", "value": figure.value, "low": figure.low, "high": figure.high, "n": len(truth),
        "speakers": len(set(speakers)),
    }  # fmt: skip


def _row(
    title: str,
    trained_on: str,
    test: Test,
    size: int,
    tested: Ints,
    logits: Floats,
    config: EvaluateConfig,
) -> dict[str, Any]:
    said = np.where(test.mask, logits, -1e9).argmax(axis=1)
    draws = SpeakerDraws(test.speakers, config.bootstrap, config.seed)
    figure = uar(draws.confusions(test.truth[tested], said, len(CATEGORIES), tested)).figure()
    return {
        "name": title, "trained_on": trained_on, "set": test.name, "condition": "clean", "profile_n": size,
        "metric": "UAR", "value": figure.value, "low": figure.low, "high": figure.high,
        "n": len(np.unique(tested)), "speakers": len(set(test.speakers)),
    }  # fmt: skip
