"""What the head learns from: embeddings of the training clips, what is known of them, and what is not speech."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt
import torch

from models.audio_tokenizer import AudioTokenizer
from models.config import HeadConfig
from models.student import AudioEncoder
from training.corpora.labels import CATEGORIES, CIRCUMPLEX, Target
from training.data.cache import AudioCache, Clip, is_kind
from training.data.legs import EmbeddingTable, Population, population_of
from training.data.telephony import TelephonyConfig, simulate
from training.data.tokens import TokenStore
from training.data.tones import network_tone
from training.embed import embed_tokens
from training.engine import LoopConfig
from training.finetune import balanced_weights, labelled_numbers

Floats = npt.NDArray[np.float32]
NOT_SPEECH = ("music", "ambient")
"""Recorded; made tones come on top."""
SPEECH_LIKE = ("nonverbal",)


@dataclass(frozen=True, slots=True)
class HeadStageConfig:
    """Everything that the stage needs to know.

    cold_chance, leg_chance: how often a row has no line profile, and has a leg. prior_n: see
    `app.inference.line_profile`.
    """

    model: HeadConfig = field(default_factory=HeadConfig)
    loop: LoopConfig = field(
        default_factory=lambda: LoopConfig(
            steps=2500, learning_rate=1e-3, weight_decay=0.05, precision="fp32", workers=0, ema_decay=0.995
        )
    )
    rows: int = 256
    gate_rows: int = 128
    variants: int = 4
    tones: int = 400
    prior_n: float = 10.0
    cold_chance: float = 0.4
    leg_chance: float = 0.5
    profiles_per_corpus: int = 300
    label_smoothing: float = 0.05
    dimension_weight: float = 1.0
    speech_weight: float = 0.5
    corpus_power: float = 0.5
    embedding_noise: float = 0.1


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
    which of them [N, 2]. weights: how often a clip is drawn, [N], sums to 1. gate: embeddings of what is not
    speech, [M, D]. voices: of what is, beyond the table.
    """

    table: EmbeddingTable
    labels: Floats
    allowed: npt.NDArray[np.bool_]
    dimensions: Floats
    known: npt.NDArray[np.bool_]
    weights: npt.NDArray[np.float64]
    gate: Floats
    voices: Floats
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


@torch.no_grad()
def tone_tokens(tokenizer: AudioTokenizer, count: int, seed: int) -> list[npt.NDArray[np.int64]]:
    """Tokens of made network tones, each through a random line."""
    rng = np.random.default_rng(seed)
    rows = []
    for _ in range(count):
        audio = network_tone(rng, rng.uniform(0.8, 4.0))
        heard = simulate(audio, slice(None), TelephonyConfig(), rng)
        heard = heard[: len(heard) // tokenizer.config.hop_samples * tokenizer.config.hop_samples]
        tokens, _ = tokenizer(torch.from_numpy(heard)[None], tokenizer.initial_state(1))
        rows.append(tokens[0].numpy())
    return rows


def gather(
    config: HeadStageConfig,
    encoder: AudioEncoder,
    tokenizer: AudioTokenizer,
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
    gate, voices = _beyond_the_table(config, encoder, tokenizer, cache, store)
    return HeadData(
        table=table,
        labels=np.array([blank if t is None else t.probabilities for t in wanted], np.float32),
        allowed=np.array([blank > 1 if t is None else t.mask for t in wanted]),
        dimensions=np.array([d for d, _ in dimensions]),
        known=np.array([k for _, k in dimensions]),
        weights=_draw_weights(chosen, wanted, config.corpus_power),
        gate=gate,
        voices=voices,
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


def _beyond_the_table(
    config: HeadStageConfig,
    encoder: AudioEncoder,
    tokenizer: AudioTokenizer,
    cache: AudioCache,
    store: TokenStore,
) -> tuple[Floats, Floats]:
    """Embeddings of what is not speech, and of speech without labels (laughter and the like are taken for it)."""
    train = {n: clip for n, clip in enumerate(cache.clips) if clip.split == "train"}
    gate = [n for n, c in train.items() if is_kind(c, NOT_SPEECH)]
    voices = [n for n, c in train.items() if is_kind(c, SPEECH_LIKE) and store.length(0, n) > 4]
    voices += [n for n, c in train.items() if c.kind is None and c.emotion is None]
    width = encoder.config.embedding_dim
    tones = embed_tokens(encoder, tone_tokens(tokenizer, config.tones, config.loop.seed), "embed tones")
    recorded = heard = tones[:0]
    if gate:
        recorded = embed_variants(encoder, store, gate, config.variants, "embed noise").reshape(-1, width)
    if voices:
        heard = embed_variants(encoder, store, voices, 2, "embed voices").reshape(-1, width)
    return np.concatenate([tones, recorded]), heard
