"""Figures of merit, each with its formula. Truth and prediction are category indices 0 … C-1.

Nothing here is called accuracy: categories are far from equally frequent, so every headline is a mean over
categories. Intervals resample speakers, not clips, for clips of one voice are not independent.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import numpy.typing as npt

IntArray = npt.NDArray[np.int64]
RealArray = npt.NDArray[np.float64]
BoolArray = npt.NDArray[np.bool_]


def confusion_matrix(truth: npt.ArrayLike, prediction: npt.ArrayLike, n_categories: int) -> IntArray:
    """Counts [C, C]; row: truth, column: prediction.

    >>> confusion_matrix([0, 0, 1], [0, 1, 1], 2).tolist()
    [[1, 1], [0, 1]]

    Raises:
        ValueError: different lengths, or an index outside 0 … C-1.
    """
    rows = _indices(truth, n_categories, "truth")
    columns = _indices(prediction, n_categories, "prediction")
    if len(rows) != len(columns):
        raise ValueError(f"expected as many predictions as truths, got {len(columns)} for {len(rows)}")
    flat = np.bincount(rows * n_categories + columns, minlength=n_categories**2)
    return flat.reshape(n_categories, n_categories).astype(np.int64)


def recall_per_category(truth: npt.ArrayLike, prediction: npt.ArrayLike, n_categories: int) -> RealArray:
    """Recall [C]: TP / (TP + FN); NaN for a category without clips.

    >>> recall_per_category([0, 0, 1], [0, 1, 1], 3).tolist()
    [0.5, 1.0, nan]
    """
    matrix = confusion_matrix(truth, prediction, n_categories)
    return _ratio(np.diagonal(matrix), matrix.sum(axis=1))


def unweighted_average_recall(
    truth: npt.ArrayLike, prediction: npt.ArrayLike, n_categories: int, mask: npt.ArrayLike | None = None
) -> float:
    """UAR: mean recall over the categories that have clips (and are in `mask`, bool [C]); NaN without any.

    >>> unweighted_average_recall([0, 0, 1], [0, 1, 1], 3)
    0.75
    """
    return _mean_present(recall_per_category(truth, prediction, n_categories), mask)


def macro_f1(
    truth: npt.ArrayLike, prediction: npt.ArrayLike, n_categories: int, mask: npt.ArrayLike | None = None
) -> float:
    """Mean over categories that have clips of F1 = 2 TP / (2 TP + FP + FN).

    A category that is only ever predicted has no F1 of its own here: its false positives are the false
    negatives of the others.

    >>> round(macro_f1([0, 0, 1], [0, 1, 1], 2), 4)
    0.6667
    """
    matrix = confusion_matrix(truth, prediction, n_categories)
    actual, predicted = matrix.sum(axis=1), matrix.sum(axis=0)
    f1 = _ratio(2 * np.diagonal(matrix), actual + predicted)
    return _mean_present(np.where(actual > 0, f1, np.nan), mask)


def expected_calibration_error(posterior: npt.ArrayLike, truth: npt.ArrayLike, bins: int = 15) -> float:
    """ECE over bins of equal mass: Σ_b n_b / n · |share correct in b − mean confidence in b|.

    Clips are sorted by confidence (the largest posterior) and cut into `bins` runs whose sizes differ by at
    most one; clips of equal confidence share their correctness, so that their order does not matter.

    Args:
        posterior: [N, C], rows sum to 1.
        truth: [N].
        bins: fewer where there are fewer clips.

    >>> round(expected_calibration_error([[0.8, 0.2], [0.6, 0.4]], [0, 1], bins=2), 4)
    0.4
    """
    table, answers = _posterior(posterior, truth)
    return calibration_error(table.max(axis=1), table.argmax(axis=1) == answers, bins)


def calibration_error(confidence: npt.ArrayLike, correct: npt.ArrayLike, bins: int = 15) -> float:
    """`expected_calibration_error` where confidence [N] and correctness [N] are at hand already."""
    runs = reliability(confidence, correct, bins)
    total = sum(count for _, _, count in runs)
    return sum(count * abs(right - sure) for sure, right, count in runs) / total


def reliability(
    confidence: npt.ArrayLike, correct: npt.ArrayLike, bins: int = 15
) -> list[tuple[float, float, int]]:
    """The bins behind the ECE, in rising order: (mean confidence, share correct, clips).

    >>> reliability([0.9, 0.5, 0.7, 0.5], [True, False, True, True], bins=2)
    [(0.5, 0.5, 2), (0.8, 1.0, 2)]
    """
    sure, right = _by_confidence(np.asarray(confidence, np.float64), np.asarray(correct, np.bool_))
    runs = zip(np.array_split(sure, bins), np.array_split(right, bins), strict=True)
    return [(float(s.mean()), float(r.mean()), len(s)) for s, r in runs if len(s)]


def perfect_calibration_error(
    confidence: npt.ArrayLike, bins: int = 15, draws: int = 200, seed: int = 0
) -> float:
    """ECE that confidences [N] would show on average if they were exactly right: what is noise alone.

    Correctness is drawn as Bernoulli(confidence), clip by clip, `draws` times. Clips of one voice err together, which
    this leaves out, so that it is a lower bound of the noise.

    >>> perfect_calibration_error([1.0, 1.0])
    0.0
    >>> round(perfect_calibration_error([0.5] * 1500), 2)
    0.04
    """
    sure = np.sort(np.asarray(confidence, np.float64))
    random = np.random.default_rng(seed)
    right = random.random((draws, len(sure))) < sure
    cuts = [run[0] for run in np.array_split(np.arange(len(sure)), bins) if len(run)]
    gaps = np.abs(np.add.reduceat(right - sure, cuts, axis=1)).sum(axis=1)
    return float(gaps.mean() / len(sure))


def log_loss(posterior: npt.ArrayLike, truth: npt.ArrayLike) -> float:
    """Negative log-likelihood in nats: mean over clips of −ln p[truth], p no smaller than 1e-12.

    >>> round(log_loss([[0.8, 0.2], [0.6, 0.4]], [0, 1]), 4)
    0.5697
    """
    table, answers = _posterior(posterior, truth)
    return float(-np.log(np.maximum(table[np.arange(len(table)), answers], 1e-12)).mean())


def jensen_shannon(one: npt.ArrayLike, other: npt.ArrayLike) -> RealArray:
    """Divergence in bits of rows [N, C] that sum to 1: ½ KL(p ‖ m) + ½ KL(q ‖ m), m = ½ (p + q); in [0, 1].

    >>> jensen_shannon([[1, 0], [0.5, 0.5]], [[0, 1], [0.5, 0.5]]).tolist()
    [1.0, 0.0]
    """
    p, q = np.asarray(one, np.float64), np.asarray(other, np.float64)
    middle = (p + q) / 2

    def bits(part: RealArray) -> RealArray:
        ratio = np.divide(part, middle, out=np.ones_like(part), where=part > 0)
        return np.asarray((part * np.log2(ratio)).sum(axis=1))

    return np.asarray(np.maximum((bits(p) + bits(q)) / 2, 0.0))


def brier_score(posterior: npt.ArrayLike, truth: npt.ArrayLike) -> float:
    """Multi-category Brier score: mean over clips of Σ_c (p_c − 1[c = truth])², in [0, 2].

    >>> round(brier_score([[0.8, 0.2], [0.6, 0.4]], [0, 1]), 4)
    0.4
    """
    table, answers = _posterior(posterior, truth)
    hit = np.eye(table.shape[1])[answers]
    return float(np.square(table - hit).sum(axis=1).mean())


def risk_coverage_curve(confidence: npt.ArrayLike, correct: npt.ArrayLike) -> tuple[RealArray, RealArray]:
    """What abstaining on the least confident buys: (coverage [N], risk [N]), full coverage last.

    Point k answers the k most confident clips: coverage k / N, risk = share of wrong ones among them. Clips
    of equal confidence share their correctness.

    >>> [x.round(3).tolist() for x in risk_coverage_curve([0.9, 0.5, 0.7], [True, False, False])]
    [[0.333, 0.667, 1.0], [0.0, 0.5, 0.667]]
    """
    ordered, right = _by_confidence(np.asarray(confidence, np.float64), np.asarray(correct, np.bool_))
    count = np.arange(1, len(ordered) + 1)
    return count / len(ordered), np.cumsum(1.0 - right[::-1]) / count


def area_under_risk_coverage(confidence: npt.ArrayLike, correct: npt.ArrayLike) -> float:
    """AURC: mean risk over the points of the curve (Geifman & El-Yaniv); 0 is best.

    >>> round(area_under_risk_coverage([0.9, 0.5, 0.7], [True, False, False]), 4)
    0.3889
    """
    return float(risk_coverage_curve(confidence, correct)[1].mean())


def concordance_cc(truth: npt.ArrayLike, prediction: npt.ArrayLike) -> float:
    """CCC (Lin 1989): 2 cov(t, p) / (var t + var p + (mean t − mean p)²), population moments.

    NaN where both are the same constant.

    >>> round(concordance_cc([0, 1, 2], [0, 1, 3]), 4)
    0.8571
    """
    t, p = np.asarray(truth, np.float64), np.asarray(prediction, np.float64)
    if t.shape != p.shape or t.ndim != 1 or not t.size:
        raise ValueError(f"expected two series of one length, got shapes {t.shape} and {p.shape}")
    covariance = float(np.mean((t - t.mean()) * (p - p.mean())))
    spread = float(t.var() + p.var() + (t.mean() - p.mean()) ** 2)
    return 2 * covariance / spread if spread > 0 else float("nan")


def bootstrap_by_speaker(
    statistic: Callable[[npt.NDArray[np.intp]], float],
    speakers: Sequence[str],
    n: int = 1000,
    seed: int = 0,
    level: float = 0.95,
) -> tuple[float, float]:
    """Percentile interval of a statistic under resampling of speakers with replacement.

    Args:
        statistic: from indices of clips (repeated as often as their speaker was drawn) to a number. NaN, as
            where a draw misses a category altogether, leaves that draw out.
        speakers: the speaker of each clip.
        n: draws.
        seed: of the draws; the result depends on it, on the order of clips and on nothing else.
        level: mass of the interval.

    Returns:
        (low, high), or (NaN, NaN) with fewer than two speakers: one voice says nothing about others.

    >>> correct = np.array([1.0, 1.0, 0.0, 0.0])
    >>> bootstrap_by_speaker(lambda i: float(correct[i].mean()), ["a", "a", "b", "b"])
    (0.0, 1.0)
    """
    names, of_clip = np.unique(np.asarray(speakers), return_inverse=True)
    if len(names) < 2:
        return float("nan"), float("nan")
    clips = [np.flatnonzero(of_clip == index) for index in range(len(names))]
    random = np.random.default_rng(seed)
    draws = random.integers(len(names), size=(n, len(names)))
    values = np.array([statistic(np.concatenate([clips[who] for who in draw])) for draw in draws])
    values = values[~np.isnan(values)]
    if not len(values):
        return float("nan"), float("nan")
    low, high = np.quantile(values, [(1 - level) / 2, (1 + level) / 2])
    return float(low), float(high)


def _indices(values: npt.ArrayLike, n_categories: int, name: str) -> IntArray:
    array = np.asarray(values)
    if array.size == 0:
        return np.zeros(0, np.int64)
    if array.ndim != 1 or not np.issubdtype(array.dtype, np.integer):
        raise ValueError(f"{name} must be a series of whole numbers, got {array.dtype} {array.shape}")
    if array.min() < 0 or array.max() >= n_categories:
        raise ValueError(f"{name} must lie in 0 … {n_categories - 1}, got {array.min()} … {array.max()}")
    return array.astype(np.int64)


def _ratio(part: npt.NDArray[np.integer], whole: npt.NDArray[np.integer]) -> RealArray:
    out = np.full(len(whole), np.nan)
    np.divide(part, whole, out=out, where=whole > 0)
    return out


def _mean_present(values: RealArray, mask: npt.ArrayLike | None) -> float:
    present = ~np.isnan(values)
    if mask is not None:
        present &= np.asarray(mask, np.bool_)
    return float(values[present].mean()) if present.any() else float("nan")


def _posterior(posterior: npt.ArrayLike, truth: npt.ArrayLike) -> tuple[RealArray, IntArray]:
    table = np.asarray(posterior, np.float64)
    if table.ndim != 2 or not table.size:
        raise ValueError(f"posterior must be [N, C] with N ≥ 1, got {table.shape}")
    answers = _indices(truth, table.shape[1], "truth")
    if len(answers) != len(table):
        raise ValueError(f"expected as many truths as posteriors, got {len(answers)} for {len(table)}")
    return table, answers


def _by_confidence(confidence: RealArray, correct: BoolArray) -> tuple[RealArray, RealArray]:
    """Both in rising order of confidence; correctness averaged over clips of equal confidence."""
    if confidence.shape != correct.shape or confidence.ndim != 1 or not confidence.size:
        raise ValueError(f"expected two series of one length, got {confidence.shape} and {correct.shape}")
    _, group, sizes = np.unique(confidence, return_inverse=True, return_counts=True)
    share = np.bincount(group, weights=correct) / sizes
    order = np.argsort(confidence, kind="stable")
    return confidence[order], share[group][order]
