"""Against many listeners: how far the posterior lies from what they heard, beside one of their own.

For a clip with n votes, shares v over the corpus's C categories, and a listener i among them who said c_i:

- the others' shares are v₋ᵢ = (n · v − e_cᵢ) / (n − 1);
- the model's divergence is the mean over i of JS(p, v₋ᵢ), p its posterior over the C categories;
- one listener's divergence is the mean over i of JS(q_cᵢ, v₋ᵢ), with q_c what a listener who says c is taken to say.

So both are held against the same shares. JS is the Jensen–Shannon divergence in bits, 0 … 1. A listener gives one word
where the model gives shares, so q_c = e_c (*as given*) would be unfair; three kinder readings are reported:

- *smoothed*: q_c = (1 − ε) e_c + ε m, m the mean shares of the clips kept for this (not the tested ones), ε the one of
  20 steps that serves listeners best there;
- *calibrated*: q_c = the mean of v₋ᵢ over those clips and listeners who said c: what is to be expected, given that a
  listener said c. Kinder than any listener could be;
- *constant*: q_c = m, who doesn't listen at all.

The target is held against the *smoothed* listener.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from app.inference.calibration import posterior
from training.corpora.labels import CATEGORIES, canonical
from training.data.cache import AudioCache, Clip
from training.measure_intervals import Drawn, SpeakerDraws
from training.measurer import Embedded, EvaluateConfig, Judged
from training.metrics import jensen_shannon

Reals = npt.NDArray[np.float64]
METRIC = "JS divergence from the votes"
LISTENERS = ("as given", "smoothed", "calibrated", "constant")
STEPS = 20


@dataclass(frozen=True, slots=True)
class Listener:
    """What a listener who says each category is taken to say, [C, C]; row: what was said."""

    says: Reals


def votes_of(clips: Sequence[Clip], held: npt.NDArray[np.intp]) -> Reals:
    """Votes [N, C] over the held categories."""
    table = np.zeros((len(clips), len(CATEGORIES)))
    for row, clip in zip(table, clips, strict=True):
        for word, count in (clip.votes or {}).items():
            name = canonical(word)
            if name is not None:
                row[CATEGORIES.index(name)] += count
    return table[:, held]


def divergence(votes: Reals, shares_for: Callable[[int], Reals]) -> Reals:
    """For each clip, the mean over its listeners of JS(shares_for(what they said), the others' shares), [N].

    Args:
        votes: counts [N, C], at least 2 a clip.
        shares_for: category said → shares [N, C] (or [1, C]) held against the others.
    """
    total = votes.sum(axis=1, keepdims=True)
    out = np.zeros(len(votes))
    for said in range(votes.shape[1]):
        heard = np.flatnonzero(votes[:, said] > 0)
        if len(heard):
            others = votes[heard].copy()
            others[:, said] -= 1
            others /= total[heard] - 1
            shares = np.broadcast_to(shares_for(said), votes.shape)[heard]
            out[heard] += votes[heard, said] * jensen_shannon(shares, others)
    return np.asarray(out / total[:, 0])


def listener_of(kind: str, kept: Reals) -> Listener:
    """A listener's reading, learned from clips that are not tested (votes [M, C])."""
    size = kept.shape[1]
    mean = (kept / kept.sum(axis=1, keepdims=True)).mean(axis=0)
    if kind == "constant":
        return Listener(np.tile(mean, (size, 1)))
    if kind == "calibrated":
        return Listener(np.stack([_expected(kept, said, mean) for said in range(size)]))
    if kind == "as given":
        return Listener(np.eye(size))
    mixtures = [Listener((1 - e) * np.eye(size) + e * mean) for e in np.linspace(0, 1, STEPS + 1)[:-1]]
    return min(mixtures, key=lambda one: float(divergence(kept, lambda said: one.says[said][None]).mean()))


def _expected(kept: Reals, said: int, mean: Reals) -> Reals:
    weight = kept[:, said]
    if not weight.sum():
        return mean
    others = kept.copy()
    others[:, said] -= 1
    others = np.maximum(others, 0) / (kept.sum(axis=1, keepdims=True) - 1)
    return np.asarray((weight[:, None] * others).sum(axis=0) / weight.sum())


def measure_votes(
    name: str,
    cache: AudioCache,
    data: Embedded,
    judged: Mapping[int, Judged],
    temperature: float,
    config: EvaluateConfig,
    *,
    set_name: str,
) -> list[dict[str, Any]]:
    """Divergence of the model (by size of the profile) and of a listener, and how much farther the listener is."""
    held = np.flatnonzero(data.allowed[0])
    corpus, split = data.clips[0].corpus, data.clips[0].split
    kept = votes_of(
        [
            c
            for c in cache.clips
            if c.corpus == corpus and c.split not in (split, "test", "cross") and c.votes
        ],
        held,
    )
    votes = votes_of(data.clips, held)
    enough = votes.sum(axis=1) >= 2
    kept = kept[kept.sum(axis=1) >= 2]
    if not enough.any() or not len(kept):
        return []
    draws = SpeakerDraws(data.speakers, config.bootstrap, config.seed)
    found = {}
    for size, one in judged.items():
        keep = enough[one.rows]
        rows = one.rows[keep]
        shares = posterior(one.logits[keep][:, held], temperature)
        found[size] = draws.mean(divergence(votes[rows], lambda said, p=shares: p), rows)  # type: ignore[misc]
    rows = np.flatnonzero(enough)
    listeners = {}
    for kind in LISTENERS:
        says = listener_of(kind, kept).says
        listeners[kind] = draws.mean(divergence(votes[rows], lambda said, q=says: q[said][None]), rows)  # type: ignore[misc]
    out = [_row(name, set_name, size, METRIC, drawn, data) for size, drawn in found.items()]
    out += [_row(f"listener, {kind}", set_name, 0, METRIC, d, data) for kind, d in listeners.items()]
    for size, drawn in found.items():
        less = listeners["smoothed"].minus(drawn)
        out.append(_row(name, set_name, size, "listener's divergence minus the model's", less, data))
    return out


def _row(name: str, set_name: str, size: int, metric: str, drawn: Drawn, data: Embedded) -> dict[str, Any]:
    figure = drawn.figure()
    return {
        "name": name, "set": set_name, "condition": "clean", "profile_n": size, "metric": metric,
        "value": figure.value, "low": figure.low, "high": figure.high, "n": len(data.truth),
        "speakers": len(set(data.speakers)),
    }  # fmt: skip
