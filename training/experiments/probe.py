"""A linear probe: what logistic regression reads from features of whole clips, on the dev speakers of every corpus."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import numpy.typing as npt
from sklearn.linear_model import LogisticRegression
from sklearn.preprocessing import StandardScaler
from torch import Tensor

from training.corpora.labels import CATEGORIES
from training.data.cache import AudioCache
from training.experiments.figures import Answers
from training.experiments.sets import HIDDEN_LOGIT, LabelledClips, dev_sets, labelled
from training.finetune import balanced_weights

FloatArray = npt.NDArray[np.float32]

PROBE_SHARE = 0.25
"""Part of the training labels that probes learn from: enough for a linear map, and quick."""


def mean_and_std(frames: Tensor, valid: Tensor) -> FloatArray:
    """Frames [B, T, D] where valid [B, T] → their mean and standard deviation over time [B, 2 D]."""
    kept = valid[:, :, None].to(frames.dtype)
    count = kept.sum(dim=1).clamp(min=1)
    mean = (frames * kept).sum(dim=1) / count
    deviation = (((frames - mean[:, None]) * kept).square().sum(dim=1) / count).sqrt()
    pooled: FloatArray = np.concatenate([mean.numpy(), deviation.numpy()], axis=1)
    return pooled


def probed_numbers(cache: AudioCache) -> tuple[LabelledClips, list[int]]:
    """What a probe learns from, and every clip that it needs features of."""
    taught = labelled(cache, "train", PROBE_SHARE)
    heard = {n for judged in dev_sets(cache) for n in judged.numbers}
    return taught, sorted({*taught.numbers, *heard})


def probe(cache: AudioCache, taught: LabelledClips, features: Mapping[int, FloatArray]) -> dict[str, Answers]:
    """Fit on the taught clips' features [F] by clip number, answer for the dev sets.

    Corpora are balanced as in fine-tuning; features are standardised over the taught clips.
    """
    table = np.stack([features[n] for n in taught.numbers])
    clips = [cache.clips[n] for n in taught.numbers]
    weights = balanced_weights(clips, taught.targets, 0.5)
    scale = StandardScaler().fit(table)
    model = LogisticRegression(C=0.05, max_iter=3000)
    model.fit(scale.transform(table), taught.hard, sample_weight=weights * len(weights))
    found = {}
    for judged in dev_sets(cache):
        given = scale.transform(np.stack([features[n] for n in judged.numbers]))
        logits = np.full((len(given), len(CATEGORIES)), HIDDEN_LOGIT)
        logits[:, model.classes_] = model.predict_log_proba(given)
        found[judged.name] = judged.answers(logits)
    return found
