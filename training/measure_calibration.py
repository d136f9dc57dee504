"""Whether a confidence means what it says, and what abstaining buys: per set and pooled over the corpora's test sets.

Two posteriors are at hand. Over *the categories that a set holds* (as UAR is taken): its ECE is the headline, `ece`.
Over *all seven, as served*: what users get and what the abstention rule sees; its ECE is `served`, and risk and
coverage are of it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from app.bundle.manifest import HeadSpec
from app.inference.calibration import posterior
from training import metrics
from training.evaluation_sets import EvaluationSet
from training.measure_intervals import Figure, SpeakerDraws
from training.measurer import Embedded, EvaluateConfig, Judged

POOLED = "in_corpus"
BINS = 15
ECE_RESAMPLES = 200
CURVE_POINTS = 41

Reals = npt.NDArray[np.float64]
Bools = npt.NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class Answers:
    """What was answered, one row a prediction.

    confidence, correct: over the set's own categories. plain: the same confidence without calibration. served,
    served_correct: over all categories. brier, nll: of each prediction. draw: see `Judged`. rows: which clip of the
    (pooled) set. speakers: by prediction.
    """

    confidence: Reals
    correct: Bools
    plain: Reals
    plain_correct: Bools
    served: Reals
    served_correct: Bools
    brier: Reals
    nll: Reals
    draw: npt.NDArray[np.int64]
    rows: npt.NDArray[np.int64]
    speakers: npt.NDArray[np.str_]


def answers(data: Embedded, judged: Judged, head: HeadSpec) -> Answers:
    """Posteriors of one set's predictions, reduced to what calibration and abstention are measured by."""
    held = np.flatnonzero(data.allowed[0])
    truth = data.truth[judged.rows]
    place = np.searchsorted(held, truth)
    temperature = head.calibration.temperature
    own = posterior(judged.logits[:, held], temperature)
    plain = posterior(judged.logits[:, held], 1.0)
    served = posterior(judged.logits, temperature)
    hit = np.eye(len(held))[place]
    likelihood = np.maximum(own[np.arange(len(own)), place], 1e-12)
    return Answers(
        confidence=own.max(axis=1),
        correct=own.argmax(axis=1) == place,
        plain=plain.max(axis=1),
        plain_correct=plain.argmax(axis=1) == place,
        served=served.max(axis=1),
        served_correct=served.argmax(axis=1) == truth,
        brier=np.square(own - hit).sum(axis=1),
        nll=-np.log(likelihood),
        draw=judged.draw,
        rows=judged.rows,
        speakers=np.array([data.speakers[i] for i in judged.rows]),
    )


def pooled(parts: Sequence[Answers]) -> Answers:
    """The predictions of several sets as one set's, a draw with a draw; sets with one draw only count in every draw."""
    most = max(int(part.draw.max()) + 1 for part in parts)
    offset, pieces = 0, []
    for part in parts:
        one = int(part.draw.max()) == 0 and most > 1
        for draw in range(most):
            chosen = np.flatnonzero(part.draw == (0 if one else draw))
            pieces.append((part, chosen, draw, offset))
        offset += int(part.rows.max()) + 1

    def join(name: str) -> npt.NDArray[Any]:
        return np.concatenate([getattr(part, name)[chosen] for part, chosen, _, _ in pieces])

    names = ("confidence", "correct", "plain", "plain_correct", "served", "served_correct", "brier", "nll")
    return Answers(
        **{name: join(name) for name in names},
        draw=np.concatenate([np.full(len(chosen), draw) for _, chosen, draw, _ in pieces]),
        rows=np.concatenate([part.rows[chosen] + start for part, chosen, _, start in pieces]),
        speakers=join("speakers"),
    )


def in_corpus(found: Mapping[str, Answers], sets: Sequence[EvaluationSet]) -> Answers | None:
    """Every test set of a corpus that training knows, pooled.

    A set judged by intent is left out, for its clips are in the set of votes too.
    """
    parts = [found[t.name] for t in sets if t.name in found and t.split != "cross" and not t.intent]
    return pooled(parts) if parts else None


def draw_mean_ece(given: Answers, confidence: Reals, correct: Bools) -> float:
    """ECE of each draw of the profile, averaged: a clip counts once in each."""
    return float(
        np.mean(
            [
                metrics.calibration_error(confidence[given.draw == d], correct[given.draw == d], BINS)
                for d in np.unique(given.draw)
            ]
        )
    )


def ece_interval(given: Answers, config: EvaluateConfig) -> Figure:
    """ECE over the set's categories with its interval by speaker.

    Resampling repeats clips and so adds noise to every bin, which an absolute gap only ever counts upwards: the draws
    are moved so that their mean is the value itself.
    """
    value = draw_mean_ece(given, given.confidence, given.correct)
    names, of_row = np.unique(given.speakers, return_inverse=True)
    if len(names) < 2:
        return Figure(value)
    by_speaker = [np.flatnonzero(of_row == i) for i in range(len(names))]
    rng = np.random.default_rng(config.seed)
    found = []
    for _ in range(min(config.bootstrap, ECE_RESAMPLES)):
        rows = np.concatenate([by_speaker[i] for i in rng.integers(len(names), size=len(names))])
        chosen = rows[given.draw[rows] == rng.integers(int(given.draw.max()) + 1)]
        if len(chosen):
            found.append(metrics.calibration_error(given.confidence[chosen], given.correct[chosen], BINS))
    draws = np.array(found) + value - np.mean(found)
    low, high = np.maximum(np.quantile(draws, (0.025, 0.975)), 0.0)
    return Figure(value, float(low), float(high))


def calibration_row(name: str, profile_n: int, given: Answers, config: EvaluateConfig) -> dict[str, Any]:
    """One row of `Evaluation.calibration`."""
    first = given.draw == given.draw.min()
    ece = ece_interval(given, config)
    return {
        "set": name,
        "profile_n": profile_n,
        "ece": ece.value,
        "low": ece.low,
        "high": ece.high,
        "perfect": metrics.perfect_calibration_error(given.confidence[first], BINS, seed=config.seed),
        "uncalibrated": draw_mean_ece(given, given.plain, given.plain_correct),
        "served": draw_mean_ece(given, given.served, given.served_correct),
        "brier": float(given.brier.mean()),
        "nll": float(given.nll.mean()),
        "reliability": metrics.reliability(given.confidence, given.correct, BINS),
        "bins": BINS,
        "n": len(np.unique(given.rows)),
        "speakers": len(np.unique(given.speakers)),
    }


def risk_coverage(given: Answers, threshold: float, config: EvaluateConfig) -> dict[str, Any]:
    """The curve of what is served, and where the shipped threshold lies on it; one value of `risk_coverage`."""
    coverage, risk = metrics.risk_coverage_curve(given.served, given.served_correct)
    points = np.unique(np.linspace(0, len(coverage) - 1, CURVE_POINTS).astype(int))
    answered = given.served >= threshold
    draws = SpeakerDraws(given.speakers.tolist(), config.bootstrap, config.seed)
    share = draws.mean(answered).figure()
    wrong = draws.mean(~given.served_correct[answered], np.flatnonzero(answered)) if answered.any() else None
    at = None if wrong is None else wrong.figure()
    return {
        "area": metrics.area_under_risk_coverage(given.served, given.served_correct),
        "points": [(float(coverage[i]), float(risk[i])) for i in points],
        "threshold": threshold,
        "coverage": share.value,
        "coverage_interval": _pair(share),
        "risk": None if at is None else at.value,
        "risk_interval": None if at is None else _pair(at),
        "n": len(np.unique(given.rows)),
    }


def _pair(figure: Figure) -> tuple[float, float] | None:
    return None if figure.low is None or figure.high is None else (figure.low, figure.high)


def measure_calibration(
    found: Mapping[int, Mapping[str, Answers]],
    sets: Sequence[EvaluationSet],
    threshold: float,
    config: EvaluateConfig,
) -> tuple[list[dict[str, Any]], dict[str, dict[str, Any]]]:
    """Rows for every set and pooled, by size of the profile; curves with the largest profile that a set allows."""
    rows: list[dict[str, Any]] = []
    curves: dict[str, dict[str, Any]] = {}
    for size, by_set in sorted(found.items()):
        whole = in_corpus(by_set, sets)
        named = {**by_set, POOLED: whole} if whole is not None else dict(by_set)
        for name, given in named.items():
            rows.append(calibration_row(name, size, given, config))
            curves[name] = risk_coverage(given, threshold, config)
    return rows, curves
