"""Which clips a step sees, and how they become padded arrays. A batch depends on (seed, step) alone."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from training.data.cache import HOP_SAMPLES, AudioCache, Clip
from training.data.telephony import Audio, TelephonyConfig, simulate

EVALUATION_LEAD_HOPS, EVALUATION_TRAIL_S = 5, 0.16


@dataclass(frozen=True, slots=True)
class Variant:
    """One telephone rendering of a clip.

    audio: float32 [T · 320]. frames: for each token, which of the clip's teacher frames it stands for, int [T].
    """

    audio: Audio
    frames: npt.NDArray[np.int64]
    clean: Audio


@dataclass(frozen=True, slots=True)
class VariantConfig:
    """How a clip is cut and bent before the line is simulated."""

    telephony: TelephonyConfig
    max_frames: int = 100
    speed_chance: float = 0.4
    speed: tuple[float, float] = (0.88, 1.14)


def active_slice(clip: Clip) -> slice:
    """Where the clip speaks; all of it where nothing was found."""
    return slice(clip.lead, clip.lead + clip.active) if clip.active else slice(0, clip.samples)


def vary(
    cache: AudioCache, clip: Clip, config: VariantConfig, rng: np.random.Generator, noises: Sequence[Audio]
) -> Variant:
    """A random rendering: margins, speed, crop, line."""
    drop = int(rng.integers(0, max(1, clip.lead // HOP_SAMPLES)))
    trail = clip.samples - clip.lead - clip.active
    end = clip.samples - int(rng.integers(0, max(1, trail // HOP_SAMPLES))) * HOP_SAMPLES
    audio = cache.audio(clip)
    start = drop * HOP_SAMPLES
    length = (end - start) // HOP_SAMPLES
    if length > config.max_frames:
        start += int(rng.integers(0, length - config.max_frames + 1)) * HOP_SAMPLES
        length = config.max_frames
    clean = audio[start : start + length * HOP_SAMPLES]
    frames = start // HOP_SAMPLES + np.arange(length)
    if rng.random() < config.speed_chance and length > 8:
        clean, index = change_speed(clean, rng.uniform(*config.speed))
        frames = frames[np.minimum(index, length - 1)]
    active = _inside(active_slice(clip), start, len(clean))
    return Variant(simulate(clean, active, config.telephony, rng, noises), frames, clean)


def plain(
    cache: AudioCache,
    clip: Clip,
    telephony: TelephonyConfig,
    rng: np.random.Generator,
    noises: Sequence[Audio],
) -> Variant:
    """The rendering that evaluation uses: the margins that the endpointer leaves, no speed change, no crop."""
    start = max(0, clip.lead // HOP_SAMPLES - EVALUATION_LEAD_HOPS) * HOP_SAMPLES
    end = (
        min(clip.samples, clip.lead + clip.active + int(EVALUATION_TRAIL_S * 8000))
        if clip.active
        else clip.samples
    )
    length = max(1, (end - start) // HOP_SAMPLES)
    clean = cache.audio(clip)[start : start + length * HOP_SAMPLES]
    clean = np.pad(clean, (0, length * HOP_SAMPLES - len(clean)))
    active = _inside(active_slice(clip), start, len(clean))
    return Variant(
        simulate(clean, active, telephony, rng, noises), start // HOP_SAMPLES + np.arange(length), clean
    )


def change_speed(audio: Audio, factor: float) -> tuple[Audio, npt.NDArray[np.int64]]:
    """Play faster (factor > 1) or slower, pitch and all; also the source token of each new token."""
    length = int(len(audio) / factor) // HOP_SAMPLES
    places = np.arange(length * HOP_SAMPLES, dtype=np.float64) * factor
    bent = np.interp(places, np.arange(len(audio)), audio).astype(np.float32)
    return bent, np.asarray((np.arange(length) + 0.5) * factor, dtype=np.int64)


def _inside(active: slice, start: int, length: int) -> slice:
    first = min(max(active.start - start, 0), length)
    last = min(max(active.stop - start, 0), length)
    return slice(first, last) if last - first >= 800 else slice(0, length)


class BucketSampler:
    """Draws clips of like length by weight, as many as fit a budget of frames, from (seed, step) alone."""

    def __init__(
        self, frames: Sequence[int], weights: npt.ArrayLike, budget_frames: int, seed: int, buckets: int = 10
    ) -> None:
        lengths = np.asarray(frames)
        shares = np.asarray(weights, dtype=np.float64)
        if len(lengths) == 0 or shares.sum() <= 0:
            raise ValueError("there is nothing to sample: no clip has a positive weight")
        order = [i for i in np.argsort(lengths, kind="stable") if shares[i] > 0]
        self._groups = [g for g in np.array_split(np.array(order), min(buckets, len(order))) if len(g)]
        self._sizes = [max(2, budget_frames // int(lengths[g].max())) for g in self._groups]
        self._inner = [shares[g] / shares[g].sum() for g in self._groups]
        # A bucket of short clips fills a step with more of them: draw it less often in proportion.
        outer = np.array([shares[g].sum() / size for g, size in zip(self._groups, self._sizes, strict=True)])
        self._outer = outer / outer.sum()
        self._seed = seed

    def draw(self, step: int) -> tuple[npt.NDArray[np.int64], np.random.Generator]:
        """Clip numbers of a step, and the generator for everything else about it."""
        rng = np.random.default_rng([self._seed, step])
        group = int(rng.choice(len(self._groups), p=self._outer))
        chosen = rng.choice(self._groups[group], size=self._sizes[group], p=self._inner[group])
        return np.asarray(chosen, dtype=np.int64), rng


def pad_rows(rows: Sequence[npt.NDArray[np.generic]], axis: int) -> npt.NDArray[np.generic]:
    """Stack arrays, padded with zeros at the end of one axis."""
    longest = max(row.shape[axis] for row in rows)
    shape = list(rows[0].shape)
    shape[axis] = longest
    out = np.zeros([len(rows), *shape], dtype=rows[0].dtype)
    for target, row in zip(out, rows, strict=True):
        target[tuple(slice(0, n) for n in row.shape)] = row
    return out
