"""What the head learns its categories from: embeddings of the training clips, and what is known of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from models.config import HeadConfig
from models.student import AudioEncoder
from training.corpora.labels import CATEGORIES, CIRCUMPLEX, Target
from training.data.cache import AudioCache, Clip
from training.data.legs import EmbeddingTable, Population, population_of
from training.data.tokens import TokenStore
from training.embed import embed_tokens
from training.engine import LoopConfig
from training.finetune import balanced_weights, labelled_numbers

Floats = npt.NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class HeadStageConfig:
    """Everything that the stage needs to know.

    cold_chance, leg_chance: how often a row has no line profile, and has a leg. prior_n: see
    `app.inference.line_profile`. gate_rows: rows of `training.sounds` in a step, `voice_share` of them speech without
    a label. tones: network tones made. cuts: short stretches taken of every clip that is not speech.
    """

    model: HeadConfig = field(default_factory=HeadConfig)
    loop: LoopConfig = field(
        default_factory=lambda: LoopConfig(
            steps=2500, learning_rate=1e-3, weight_decay=0.05, precision="fp32", workers=0, ema_decay=0.995
        )
    )
    rows: int = 256
    gate_rows: int = 192
    variants: int = 4
    tones: int = 400
    cuts: int = 2
    voice_share: float = 0.35
    prior_n: float = 10.0
    cold_chance: float = 0.4
    leg_chance: float = 0.5
    profiles_per_corpus: int = 300
    label_smoothing: float = 0.05
    dimension_weight: float = 1.0
    speech_weight: float = 0.5
    corpus_power: float = 0.5
    embedding_noise: float = 0.1
    sound_noise: float = 0.3
    sound_smoothing: float = 0.02


def dimension_targets(target: Target | None, clip: Clip) -> tuple[Floats, npt.NDArray[np.bool_]]:
    """(arousal, valence) and which of the two is known: mapped from categories, or the corpus's own arousal."""
    if clip.arousal is not None:
        return np.array([clip.arousal, 0.0], np.float32), np.array([True, False])
    if target is None:
        return np.zeros(2, np.float32), np.zeros(2, np.bool_)
    places = np.array([CIRCUMPLEX[name] for name in CATEGORIES], np.float32)
    valence, arousal = target.probabilities @ places
    return np.array([arousal, valence], np.float32), np.ones(2, np.bool_)


@dataclass(frozen=True, slots=True)
class HeadData:
    """Everything the head learns from.

    table: embeddings of N clips in V renderings. labels, allowed: [N, C]. dimensions: (arousal, valence) [N, 2], known:
    which of them [N, 2]. weights: how often a clip is drawn, [N], sums to 1.
    """

    table: EmbeddingTable
    labels: Floats
    allowed: npt.NDArray[np.bool_]
    dimensions: Floats
    known: npt.NDArray[np.bool_]
    weights: npt.NDArray[np.float64]
    population: Population


def table_of(vectors: Floats, clips: Sequence[Clip], targets: Sequence[Target | None]) -> EmbeddingTable:
    """Embeddings with what is known of their clips."""
    category = [-1 if t is None or t.hard is None else t.hard for t in targets]
    return EmbeddingTable(
        vectors,
        np.array(category, dtype=np.int64),
        np.array([c.corpus for c in clips]),
        np.array([c.speaker for c in clips]),
    )


def embed_variants(
    encoder: AudioEncoder, store: TokenStore, numbers: Sequence[int], variants: int, label: str
) -> Floats:
    """Embeddings [V, N, D] of clips in the first `variants` renderings; what a rendering lacks is the plain one."""
    stacked = []
    for variant in range(min(variants, store.variants)):
        rows = [store.tokens(variant if store.length(variant, n) else 0, n) for n in numbers]
        stacked.append(embed_tokens(encoder, rows, f"{label} {variant}"))
    return np.stack(stacked)


def gather(
    config: HeadStageConfig,
    encoder: AudioEncoder,
    cache: AudioCache,
    store: TokenStore,
) -> HeadData:
    """Embed the training clips and lay out their targets."""
    clips = cache.clips
    targets = labelled_numbers(clips, "train")
    rated = [n for n, c in enumerate(clips) if c.split == "train" and c.arousal is not None]
    numbers = [n for n in (*targets, *rated) if store.length(0, n) >= 2]
    wanted = [targets.get(n) for n in numbers]
    chosen = [clips[n] for n in numbers]
    table = table_of(embed_variants(encoder, store, numbers, config.variants, "embed"), chosen, wanted)
    dimensions = [dimension_targets(t, c) for t, c in zip(wanted, chosen, strict=True)]
    blank = np.zeros(len(CATEGORIES))
    return HeadData(
        table=table,
        labels=np.array([blank if t is None else t.probabilities for t in wanted], np.float32),
        allowed=np.array([blank > 1 if t is None else t.mask for t in wanted]),
        dimensions=np.array([d for d, _ in dimensions]),
        known=np.array([k for _, k in dimensions]),
        weights=_draw_weights(chosen, wanted, config.corpus_power),
        population=population_of(table, config.prior_n),
    )


def _draw_weights(
    clips: Sequence[Clip], targets: Sequence[Target | None], power: float
) -> npt.NDArray[np.float64]:
    """Labelled clips as `balanced_weights` says; those without a category share a tenth as much."""
    labelled = [i for i, target in enumerate(targets) if target is not None]
    named = [target for target in targets if target is not None]
    weights = np.zeros(len(clips))
    weights[labelled] = balanced_weights([clips[i] for i in labelled], named, power)
    rest = weights == 0
    if rest.any():
        weights[rest] = 0.1 * weights.sum() / rest.sum()
    return np.asarray(weights / weights.sum())
