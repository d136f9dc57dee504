"""Arousal against a corpus's own levels, by concordance: the only dimensional labels at hand."""

from __future__ import annotations

from typing import Any

import numpy as np

from training.data.cache import AudioCache
from training.data.telephony import CLEAN
from training.evaluation_sets import spread
from training.measurer import Embedded, EvaluateConfig, Measurer, embed_clips, judge
from training.metrics import bootstrap_by_speaker, concordance_cc

METRIC = "CCC of arousal"


def measure_arousal(
    measurer: Measurer, cache: AudioCache, sizes: tuple[int, ...], config: EvaluateConfig
) -> list[dict[str, Any]]:
    """Concordance of predicted arousal with `clip.arousal` on every corpus's test clips that have one.

    Levels are ordinal and few, and where they lie on the scale was decided by us (`corpora.manifest.AROUSAL_LEVELS`),
    so no prediction of a continuous arousal would reach 1.
    """
    rated = [c for c in cache.clips if c.split == "test" and c.arousal is not None]
    rows = []
    for corpus in sorted({c.corpus for c in rated}):
        mine = [c for c in rated if c.corpus == corpus]
        clips = [mine[i] for i in spread(len(mine), config.limit)]
        vectors = embed_clips(measurer, cache, list(enumerate(clips)), CLEAN, config, f"{corpus} arousal")
        truth = np.array([c.arousal for c in clips], np.float64)
        none = np.zeros(len(clips), np.int64)
        data = Embedded(
            vectors, none, [c.speaker for c in clips], clips, np.ones((len(clips), 1), np.bool_), none
        )
        for size in sizes:
            judged = judge(measurer, data, size, config)
            if judged is not None and judged.arousal is not None:
                answers = truth[judged.rows], judged.arousal.astype(np.float64)
                rows.append(_row(measurer.name, corpus, size, *answers, data, judged.rows.tolist(), config))
    return [row for row in rows if row is not None]


def _row(
    name: str,
    corpus: str,
    size: int,
    truth: np.ndarray[Any, np.dtype[np.float64]],
    said: np.ndarray[Any, np.dtype[np.float64]],
    data: Embedded,
    rows: list[int],
    config: EvaluateConfig,
) -> dict[str, Any] | None:
    def statistic(index: np.ndarray[Any, np.dtype[np.intp]]) -> float:
        return concordance_cc(truth[index], said[index])

    value = statistic(np.arange(len(truth)))
    if np.isnan(value):
        return None
    speakers = [data.speakers[i] for i in rows]
    low, high = bootstrap_by_speaker(statistic, speakers, n=config.bootstrap, seed=config.seed)
    return {
        "name": name, "set": f"{corpus}_arousal", "condition": "clean", "profile_n": size, "metric": METRIC,
        "value": value, "low": None if np.isnan(low) else low, "high": None if np.isnan(high) else high,
        "n": len(data.clips), "speakers": len(set(speakers)),
    }  # fmt: skip
