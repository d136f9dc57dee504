"""Figures for the stage `evaluate`: the exported bundle on speakers and corpora that it never saw.

Every condition starts from the telephone chain. Cold, and with a line profile of 20, 50 and 200 unlabelled utterances
drawn from the same set and not among those tested; legs of three kinds; both encoder variants.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from app.inference.calibration import posterior
from training import metrics
from training.corpora.labels import CATEGORIES
from training.data.cache import AudioCache, Clip, is_kind
from training.data.legs import LegKind
from training.evaluation_sets import EvaluationSet, evaluation_sets
from training.measurer import (
    Embedded,
    EvaluateConfig,
    Judged,
    Measurer,
    embed_set,
    judge,
    judge_cold,
    judge_legs,
)

DESCRIBED_PROFILE = 50
"""Utterances in the line profile of the figures that are given for one size only."""
COST_RUNS = 30


def scored_uar(
    data: Embedded, judged: Judged, config: EvaluateConfig
) -> tuple[float, float | None, float | None]:
    """UAR over the set's categories, and its 95 % interval by speaker (None with one speaker)."""
    prediction = np.where(data.allowed[judged.rows], judged.logits, -1e4).argmax(axis=1)
    truth = data.truth[judged.rows]

    def statistic(index: npt.NDArray[np.intp]) -> float:
        return metrics.unweighted_average_recall(truth[index], prediction[index], len(CATEGORIES))

    speakers = [data.speakers[i] for i in judged.rows]
    value = statistic(np.arange(len(truth)))
    if len(set(speakers)) < 2:
        return value, None, None
    low, high = metrics.bootstrap_by_speaker(statistic, speakers, n=config.bootstrap, seed=config.seed)
    return value, _or_none(low), _or_none(high)


def _or_none(value: float) -> float | None:
    return None if np.isnan(value) else float(value)


def row(
    name: str,
    test: EvaluationSet,
    condition: str,
    profile_n: int,
    data: Embedded,
    judged: Judged,
    config: EvaluateConfig,
) -> dict[str, Any]:
    """One UAR figure as the evaluation file has it."""
    value, low, high = scored_uar(data, judged, config)
    return {
        "name": name, "set": test.name, "condition": condition, "profile_n": profile_n, "metric": "UAR",
        "value": value, "low": low, "high": high, "n": len(set(judged.rows.tolist())),
        "speakers": len(set(data.speakers)),
    }  # fmt: skip


def measure_variant(
    measurer: Measurer, variant: str, cache: AudioCache, config: EvaluateConfig, conditions: Sequence[str]
) -> tuple[list[dict[str, Any]], dict[str, Embedded]]:
    """UAR of every set in the given conditions; also the clean embeddings, by the set's name."""
    results, kept = [], {}
    for test in evaluation_sets(cache):
        for condition in conditions:
            data = embed_set(measurer, cache, test, condition, config)
            if data is None:
                continue
            sizes = config.profile_sizes if condition == "clean" else (DESCRIBED_PROFILE,)
            for size in (0, *sizes):
                judged = judge(measurer, data, size, config)
                if judged is not None:
                    results.append(row(variant, test, condition, size, data, judged, config))
            if condition == "clean":
                kept[test.name] = data
    return results, kept


def measure_legs(
    measurer: Measurer,
    variant: str,
    cache: AudioCache,
    clean: Mapping[str, Embedded],
    config: EvaluateConfig,
) -> list[dict[str, Any]]:
    """UAR of every clean set on a cold line, in simulated legs of each kind."""
    return [
        row(variant, test, f"calls_{kind.value}", 0, clean[test.name], judged, config)
        for test in evaluation_sets(cache)
        if test.name in clean
        for kind in LegKind
        for judged in (judge_legs(measurer, clean[test.name], kind, config),)
    ]


def leave_one_speaker_out(data: Embedded, config: EvaluateConfig) -> dict[str, Any]:
    """EmoDB's own categories learned from the embedding by logistic regression, speaker by speaker."""
    prediction = np.zeros_like(data.truth)
    speakers = np.array(data.speakers)
    for speaker in np.unique(speakers):
        held = speakers == speaker
        vectors = np.concatenate([data.vectors[~held], data.vectors[held]])
        model = make_pipeline(StandardScaler(), LogisticRegression(C=0.1, max_iter=2000))
        model.fit(vectors[: (~held).sum()], data.truth[~held])
        prediction[held] = model.predict(vectors[(~held).sum() :])

    def statistic(index: npt.NDArray[np.intp]) -> float:
        return metrics.unweighted_average_recall(data.truth[index], prediction[index], len(CATEGORIES))

    low, high = metrics.bootstrap_by_speaker(statistic, data.speakers, n=config.bootstrap, seed=config.seed)
    return {
        "name": "embedding + LR", "set": "emodb4_loso", "condition": "clean", "profile_n": 0, "metric": "UAR",
        "value": statistic(np.arange(len(data.truth))), "low": low, "high": high, "n": len(data.truth),
        "speakers": len(set(data.speakers)),
    }  # fmt: skip


def describe_set(measurer: Measurer, data: Embedded, config: EvaluateConfig) -> dict[str, Any]:
    """Recalls, confusion, calibration, abstention and gaps with a profile of 50 (cold where the set is too small)."""
    judged = judge(measurer, data, DESCRIBED_PROFILE, config) or judge_cold(measurer, data)
    allowed = data.allowed[judged.rows]
    held = np.flatnonzero(data.allowed[0])
    logits = judged.logits[:, held]
    truth = np.searchsorted(held, data.truth[judged.rows])
    temperature = measurer.head_spec.calibration.temperature
    after = np.array([posterior(r, temperature) for r in logits])
    before = np.array([posterior(r, 1.0) for r in logits])
    correct = after.argmax(axis=1) == truth
    coverage, risk = metrics.risk_coverage_curve(after.max(axis=1), correct)
    points = np.linspace(0, len(coverage) - 1, 21).astype(int)
    prediction = np.where(allowed, judged.logits, -1e4).argmax(axis=1)
    recalls = metrics.recall_per_category(data.truth[judged.rows], prediction, len(CATEGORIES))
    matrix = metrics.confusion_matrix(truth, after.argmax(axis=1), len(held))
    return {
        "recalls": {CATEGORIES[i]: None if np.isnan(recalls[i]) else float(recalls[i]) for i in held},
        "confusion": {"labels": [CATEGORIES[i] for i in held], "matrix": matrix.tolist()},
        "ece": {
            "before": metrics.expected_calibration_error(before, truth),
            "after": metrics.expected_calibration_error(after, truth),
            "bins": 15,
        },
        "risk_coverage": {
            "area": metrics.area_under_risk_coverage(after.max(axis=1), correct),
            "points": [(float(coverage[i]), float(risk[i])) for i in points],
        },
        "sex": _groups(data, judged, prediction, lambda clip: clip.sex),
    }


def _groups(
    data: Embedded, judged: Judged, prediction: npt.NDArray[np.int64], key: Callable[[Clip], str | None]
) -> dict[str, Any]:
    names = [key(data.clips[i]) for i in judged.rows]
    out = {}
    for name in sorted({n for n in names if n}):
        rows = np.array([n == name for n in names])
        truth = data.truth[judged.rows][rows]
        speakers = {data.speakers[i] for i in judged.rows[rows]}
        value = metrics.unweighted_average_recall(truth, prediction[rows], len(CATEGORIES))
        out[name] = {"value": value, "n": len(set(judged.rows[rows].tolist())), "speakers": len(speakers)}
    return out


def measure_gate(
    measurer: Measurer, cache: AudioCache, speech: Mapping[str, Embedded]
) -> list[dict[str, Any]]:
    """Shares rejected by the speech gate: test noise by kind, and all test speech."""
    threshold = measurer.head_spec.speech_threshold
    cold = measurer.line(next(iter(speech.values())).vectors[:0])
    rows: list[dict[str, Any]] = []
    kinds = sorted({c.kind.split("_")[0] for c in cache.clips if c.kind and c.split == "test"})
    for kind in kinds:
        clips = [c for c in cache.clips if c.split == "test" and is_kind(c, (kind,))]
        vectors = np.stack([measurer.embedding(measurer.tokens(cache.audio(c))) for c in clips])
        share = float((measurer.alone(vectors, cold, 0)["speech"] < threshold).mean())
        rows.append(_share_row(f"gate_{kind}", share, len(clips), len({c.speaker for c in clips})))
    vectors = np.concatenate([data.vectors for data in speech.values()])
    speakers = {s for data in speech.values() for s in data.speakers}
    share = float((measurer.alone(vectors, cold, 0)["speech"] < threshold).mean())
    return [*rows, _share_row("gate_speech", share, len(vectors), len(speakers))]


def _share_row(name: str, share: float, n: int, speakers: int) -> dict[str, Any]:
    return {
        "name": "speech gate", "set": name, "condition": "clean", "profile_n": 0, "metric": "share rejected",
        "value": share, "low": None, "high": None, "n": n, "speakers": speakers,
    }  # fmt: skip


def measure_cost(path: Path, variant: str) -> list[dict[str, Any]]:
    """Milliseconds for a 4 s utterance on one thread, median of 30 runs each."""
    measurer = Measurer(path, variant, threads=1)
    audio = (np.random.default_rng(0).standard_normal(32_000) * 0.05).astype(np.float32)
    tokens = measurer.tokens(audio)
    vector = measurer.embedding(tokens)[None]
    cold = measurer.line(vector[:0])
    work = {
        "tokenizer, 4 s": lambda: measurer.tokens(audio),
        f"encoder {variant}, 4 s": lambda: measurer.embedding(tokens),
        "head": lambda: measurer.alone(vector, cold, 0),
    }
    note = f"median of {COST_RUNS}, batch 1, one thread of the machine that trained it"
    return [
        {"what": what, "value": _milliseconds(run), "unit": "ms", "note": note} for what, run in work.items()
    ]


def _milliseconds(run: Callable[[], object]) -> float:
    seconds = []
    for _ in range(COST_RUNS):
        start = time.perf_counter()
        run()
        seconds.append(time.perf_counter() - start)
    return 1000 * float(np.median(seconds))
