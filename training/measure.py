"""Figures for the stage `evaluate`: the exported bundle on speakers and corpora that it never saw.

Every condition starts from the telephone chain. Clean: all clips, cold and with line profiles of unlabelled utterances
drawn from the same set and not among those tested. Noise, loss and length: about `grid_clips` of each set, beside the
same clips undamaged. Legs of three kinds; both encoder variants.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from training.baselines.protocols import left_out_row
from training.corpora.labels import CATEGORIES
from training.data.cache import AudioCache, Clip
from training.data.legs import LegKind
from training.evaluation_sets import CLEAN_CONDITION, CONDITIONS, EvaluationSet, evaluation_sets
from training.measure_intervals import Drawn, SpeakerDraws, macro_f1, mean_of, recall, uar
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
UAR, LOST, F1 = "UAR", "UAR lost", "macro-F1"
ALL_SETS = "mean of sets"
NO_GROUP = {"", "und"}
LEAST_GROUP = 20
"""A group of fewer clips is not reported, and a set with fewer in a condition is not in its mean."""

Confusions = tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]


def confusions_of(data: Embedded, judged: Judged, config: EvaluateConfig) -> Confusions:
    """Confusion of all predictions and of every draw of speakers; only categories that the set holds can be said."""
    prediction = np.where(data.allowed[judged.rows], judged.logits, -1e4).argmax(axis=1)
    draws = SpeakerDraws(data.speakers, config.bootstrap, config.seed)
    return draws.confusions(data.truth[judged.rows], prediction, len(CATEGORIES), judged.rows)


def row(
    name: str, test: str, condition: str, profile_n: int, metric: str, drawn: Drawn, data: Embedded
) -> dict[str, Any]:
    """One figure as the evaluation file has it."""
    figure = drawn.figure()
    return {
        "name": name, "set": test, "condition": condition, "profile_n": profile_n, "metric": metric,
        "value": figure.value, "low": figure.low, "high": figure.high, "n": len(data.truth),
        "speakers": len(set(data.speakers)),
    }  # fmt: skip


def embed_clean(measurer: Measurer, cache: AudioCache, config: EvaluateConfig) -> dict[str, Embedded]:
    """Every set that the cache holds clips of, clean, by its name."""
    found = {t.name: embed_set(measurer, cache, t, CLEAN_CONDITION, config) for t in evaluation_sets(cache)}
    return {name: data for name, data in found.items() if data is not None}


def judge_clean(
    measurer: Measurer, clean: Mapping[str, Embedded], config: EvaluateConfig
) -> dict[int, dict[str, Judged]]:
    """Predictions by size of the profile (0: cold) and set; a set that is too small for a size is left out of it."""
    out: dict[int, dict[str, Judged]] = {}
    for size in (0, *config.profile_sizes):
        judged = {name: judge(measurer, data, size, config) for name, data in clean.items()}
        out[size] = {name: one for name, one in judged.items() if one is not None}
    return out


def measure_clean(
    name: str,
    clean: Mapping[str, Embedded],
    judged: Mapping[int, Mapping[str, Judged]],
    config: EvaluateConfig,
) -> list[dict[str, Any]]:
    """UAR and macro-F1 of every set and size of profile."""
    rows = []
    for size, by_set in judged.items():
        for test, one in by_set.items():
            data = clean[test]
            counted = confusions_of(data, one, config)
            for metric, drawn in ((UAR, uar(counted)), (F1, macro_f1(counted))):
                rows.append(row(name, test, CLEAN_CONDITION, size, metric, drawn, data))
    return rows


def measure_grid(
    measurer: Measurer,
    cache: AudioCache,
    clean: Mapping[str, Embedded],
    config: EvaluateConfig,
    conditions: Sequence[str],
) -> list[dict[str, Any]]:
    """UAR in every condition but the clean one, and what it loses against the same clips clean; means over the sets.

    Cold, and with a profile of 50 that was heard in the same condition.
    """
    rows: list[dict[str, Any]] = []
    tests = sets_of(cache, clean)
    whole = [t.name for t in tests if not t.intent]
    for condition in (c for c in conditions if c != CLEAN_CONDITION):
        lost: dict[int, list[Drawn]] = {}
        sizes: dict[int, list[Embedded]] = {}
        for test in tests:
            data = embed_set(measurer, cache, test, condition, config)
            if data is None:
                continue
            same = clean[test.name].part(np.searchsorted(clean[test.name].chosen, data.chosen))
            for size in (0, DESCRIBED_PROFILE):
                hurt, well = judge(measurer, data, size, config), judge(measurer, same, size, config)
                if hurt is None or well is None:
                    continue
                value = uar(confusions_of(data, hurt, config))
                less = uar(confusions_of(same, well, config)).minus(value)
                rows.append(row(measurer.name, test.name, condition, size, UAR, value, data))
                rows.append(row(measurer.name, test.name, condition, size, LOST, less, data))
                if test.name in whole and len(data.truth) >= min(
                    LEAST_GROUP, config.grid_clips or LEAST_GROUP
                ):
                    lost.setdefault(size, []).append(less)
                    sizes.setdefault(size, []).append(data)
        rows += [_mean_row(measurer.name, condition, size, lost[size], sizes[size]) for size in lost]
    return rows


def _mean_row(
    name: str, condition: str, size: int, lost: Sequence[Drawn], data: Sequence[Embedded]
) -> dict[str, Any]:
    figure = mean_of(lost).figure()
    return {
        "name": name, "set": ALL_SETS, "condition": condition, "profile_n": size, "metric": LOST,
        "value": figure.value, "low": figure.low, "high": figure.high, "n": sum(len(d.truth) for d in data),
        "speakers": len({s for d in data for s in d.speakers}),
    }  # fmt: skip


def measure_legs(
    measurer: Measurer, cache: AudioCache, clean: Mapping[str, Embedded], config: EvaluateConfig
) -> list[dict[str, Any]]:
    """UAR of every clean set on a cold line in simulated legs of each kind, and what the leg loses against none."""
    rows = []
    lost: dict[LegKind, list[Drawn]] = {kind: [] for kind in LegKind}
    tests = sets_of(cache, clean)
    for test in tests:
        data = clean[test.name]
        alone = uar(confusions_of(data, judge_cold(measurer, data), config))
        for kind in LegKind:
            value = uar(confusions_of(data, judge_legs(measurer, data, kind, config), config))
            less = alone.minus(value)
            for metric, drawn in ((UAR, value), (LOST, less)):
                rows.append(row(measurer.name, test.name, f"calls_{kind.value}", 0, metric, drawn, data))
            if not test.intent:
                lost[kind].append(less)
    whole = [clean[t.name] for t in tests if not t.intent]
    return rows + [
        _mean_row(measurer.name, f"calls_{kind.value}", 0, lost[kind], whole)
        for kind in LegKind
        if lost[kind]
    ]


def leave_one_speaker_out(data: Embedded, config: EvaluateConfig) -> dict[str, Any]:
    """EmoDB's own categories learned from the embedding by logistic regression, speaker by speaker."""
    found = left_out_row("embedding + LR", data.vectors, data.truth, data.speakers, config)
    return {key: value for key, value in found.items() if key != "trained_on"}


def describe_set(data: Embedded, judged: Judged, config: EvaluateConfig) -> dict[str, Any]:
    """Recalls with intervals, and the confusion matrix of counts over all draws."""
    counted = confusions_of(data, judged, config)
    held = np.flatnonzero(data.allowed[0])
    figures = {CATEGORIES[i]: recall(counted, int(i)).figure() for i in held}
    return {
        "recalls": {
            name: None
            if np.isnan(figure.value)
            else {"value": figure.value, "low": figure.low, "high": figure.high}
            for name, figure in figures.items()
        },
        "confusion": {
            "labels": [CATEGORIES[i] for i in held],
            "matrix": counted[0][np.ix_(held, held)].astype(int).tolist(),
        },
    }


def measure_gaps(
    clean: Mapping[str, Embedded], judged: Mapping[str, Judged], config: EvaluateConfig
) -> dict[str, dict[str, dict[str, Any]]]:
    """UAR by sex and by language inside each set, and by language over sets."""
    gaps: dict[str, dict[str, dict[str, Any]]] = {"sex": {}, "language": {}}
    keys: Mapping[str, Callable[[Clip], str | None]] = {
        "sex": lambda c: c.sex,
        "language": lambda c: c.language,
    }
    spoken: dict[str, list[tuple[Drawn, Embedded]]] = {}
    for name, one in judged.items():
        data = clean[name]
        for kind, key in keys.items():
            groups = _groups(data, one, key, config)
            if kind == "sex" or len(groups) > 1:
                gaps[kind][name] = {group: _group(drawn, part) for group, (drawn, part) in groups.items()}
            if kind == "language":
                for group, found in groups.items():
                    spoken.setdefault(group, []).append(found)
    gaps["language"][ALL_SETS] = {
        language: _group(mean_of([d for d, _ in parts]), *(p for _, p in parts))
        for language, parts in sorted(spoken.items())
    }
    return {kind: {name: g for name, g in sets.items() if g} for kind, sets in gaps.items()}


def _groups(
    data: Embedded, judged: Judged, key: Callable[[Clip], str | None], config: EvaluateConfig
) -> dict[str, tuple[Drawn, Embedded]]:
    names = np.array([key(clip) or "" for clip in data.clips])
    out = {}
    for name in sorted(set(names.tolist()) - NO_GROUP):
        mine = np.flatnonzero(names == name)
        if len(mine) < LEAST_GROUP:
            continue
        part = data.part(mine)
        kept = np.isin(judged.rows, mine)
        rows = np.searchsorted(mine, judged.rows[kept])
        counted = confusions_of(part, Judged(rows, judged.logits[kept], judged.draw[kept]), config)
        out[str(name)] = (uar(counted), part)
    return out


def _group(drawn: Drawn, *parts: Embedded) -> dict[str, Any]:
    figure = drawn.figure()
    return {
        "value": figure.value, "low": figure.low, "high": figure.high, "n": sum(len(p.truth) for p in parts),
        "speakers": len({s for p in parts for s in p.speakers}), "sets": len(parts),
    }  # fmt: skip


def measure_cost(path: Path, variant: str) -> list[dict[str, Any]]:
    """Milliseconds for a 4 s utterance on one thread, median of 30 runs each, and of all parts together."""
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
    note = f"CPU time, median of {COST_RUNS}, batch 1, one thread of the machine that measured it"
    times = {what: _milliseconds(run) for what, run in work.items()}
    times[f"all parts, {variant}, 4 s"] = sum(times.values())
    return [{"what": what, "value": value, "unit": "ms", "note": note} for what, value in times.items()]


def _milliseconds(run: Callable[[], object]) -> float:
    # The thread's own time: graphs of one thread run in it, and other processes of the machine don't count.
    seconds = []
    for _ in range(COST_RUNS):
        start = time.thread_time()
        run()
        seconds.append(time.thread_time() - start)
    return 1000 * float(np.median(seconds))


def described(
    judged: Mapping[int, Mapping[str, Judged]],
) -> dict[str, tuple[int, Judged]]:
    """For every set the predictions that are described in full: with a profile of 50, cold where it is too small."""
    warm = judged.get(DESCRIBED_PROFILE, {})
    return {
        name: (DESCRIBED_PROFILE, warm[name]) if name in warm else (0, one) for name, one in judged[0].items()
    }


def sets_of(cache: AudioCache, clean: Mapping[str, Embedded]) -> list[EvaluationSet]:
    """The sets that were measured."""
    return [t for t in evaluation_sets(cache) if t.name in clean]


def condition_words() -> dict[str, str]:
    """What each condition is, for people."""
    words = {}
    for name, it in CONDITIONS.items():
        parts = []
        if it.line.noise_chance:
            parts.append(f"noise at {it.line.snr_db[0]:g} dB SNR")
        if it.line.loss_chance:
            parts.append(f"{100 * it.line.loss_share[0]:g} % of packets lost")
        if it.seconds:
            parts.append(f"the middle {it.seconds:g} s of speech")
        words[name] = " and ".join(parts) or "level and µ-law only"
    return words
