"""Sounds of a telephone line by kind, as embeddings: speech without a label, what people utter, what is not speech.

Every clip in several renderings, as a whole and in short stretches: an endpointer cuts music anywhere.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch

from models.audio_tokenizer import AudioTokenizer
from models.config import SPEECH, HeadConfig
from models.student import AudioEncoder
from training.corpora.noise import sound
from training.data.cache import HOP_SAMPLES, MIXABLE, AudioCache, Clip, is_kind
from training.data.telephony import Audio, TelephonyConfig, simulate
from training.data.tokens import TokenStore
from training.data.tones import PROGRESS, Pattern, network_tone
from training.embed import embed_tokens
from training.head_data import HeadStageConfig

Floats = npt.NDArray[np.float32]
Tokens = npt.NDArray[np.int64]
TONE = "tone"
LEAST_TOKENS = 5
CUT_TOKENS = (15, 125)
"""Shortest and longest stretch taken of a clip: 0.6 to 5 s."""
LOUD_DB, MARGIN_TOKENS = 30.0, 5
"""What a person utters lies between its first and last moment within so much of its loudest, with a margin."""


@dataclass(frozen=True, slots=True)
class SoundData:
    """Sounds to draw from.

    vectors: float32 [M, D]. kind: int64 [M], their places in `HeadConfig.sounds`. weights: how often each is drawn,
    [M], sums to 1.
    """

    vectors: Floats
    kind: npt.NDArray[np.int64]
    weights: npt.NDArray[np.float64]

    def draw(self, rows: int, rng: np.random.Generator) -> npt.NDArray[np.int64]:
        """Numbers [rows] of sounds, drawn by weight; none where there are no sounds."""
        if not len(self.kind):
            return np.zeros(0, np.int64)
        return rng.choice(len(self.kind), size=rows, p=self.weights)


def sound_number(clip: Clip, config: HeadConfig) -> int | None:
    """The clip's kind as a place in `config.sounds`; None for a kind that the head is not asked to know."""
    name = SPEECH if clip.kind is None else sound(clip.kind)
    return config.sounds.index(name) if name in config.sounds else None


@torch.no_grad()
def tone_tokens(
    tokenizer: AudioTokenizer,
    count: int,
    seed: int,
    noises: Sequence[Audio] = (),
    patterns: Sequence[Pattern] = PROGRESS,
) -> list[Tokens]:
    """Tokens of made network tones, each through a random line, some with noise under them."""
    rng = np.random.default_rng(seed)
    rows = []
    for _ in range(count):
        audio = network_tone(rng, rng.uniform(0.8, 4.0), patterns)
        heard = simulate(audio, slice(None), TelephonyConfig(noise_chance=0.3), rng, noises)
        heard = heard[: len(heard) // tokenizer.config.hop_samples * tokenizer.config.hop_samples]
        tokens, _ = tokenizer(torch.from_numpy(heard)[None], tokenizer.initial_state(1))
        rows.append(tokens[0].numpy())
    return rows


def gather_sounds(
    config: HeadStageConfig,
    encoder: AudioEncoder,
    tokenizer: AudioTokenizer,
    cache: AudioCache,
    store: TokenStore,
) -> SoundData:
    """Embed the training clips of every kind of sound, but speech with a label, and made tones."""
    train = {n: c for n, c in enumerate(cache.clips) if c.split == "train" and store.length(0, n)}
    voices = {n: c for n, c in train.items() if c.kind is None and c.emotion is None}
    noise = {n: c for n, c in train.items() if sound_number(c, config.model) and c.kind is not None}
    rows, kinds, corpora = [], [], []
    for tokens, clip in _renderings(config, cache, store, noise):
        rows.append(tokens)
        kinds.append(config.model.sounds.index(sound(clip.kind or "")))
        corpora.append("")
    for n, clip in voices.items():
        for variant in range(min(2, store.variants)):
            rows.append(store.tokens(variant if store.length(variant, n) else 0, n))
            kinds.append(0)
            corpora.append(clip.corpus)
    if TONE in config.model.sounds:
        mixed = [cache.audio(c) for c in noise.values() if is_kind(c, MIXABLE)]
        made = tone_tokens(tokenizer, config.tones, config.loop.seed, mixed)
        rows += made
        kinds += [config.model.sounds.index(TONE)] * len(made)
        corpora += [""] * len(made)
    vectors = embed_tokens(encoder, rows, "embed sounds")
    kind = np.array(kinds, dtype=np.int64)
    return SoundData(vectors, kind, draw_weights(kind, np.array(corpora), config.voice_share))


def _renderings(
    config: HeadStageConfig, cache: AudioCache, store: TokenStore, clips: dict[int, Clip]
) -> Iterator[tuple[Tokens, Clip]]:
    """Every clip whole, in each rendering, and in short stretches of random renderings."""
    rng = np.random.default_rng([config.loop.seed, 1])
    for n, clip in clips.items():
        variants = [v for v in range(min(config.variants, store.variants)) if store.length(v, n)]
        for variant in variants:
            yield store.tokens(variant, n), clip
        for _ in range(config.cuts):
            variant = variants[rng.integers(len(variants))]
            piece = cut(cache, store, variant, n, rng)
            if piece.shape[1] >= LEAST_TOKENS:
                yield piece, clip


def cut(cache: AudioCache, store: TokenStore, variant: int, number: int, rng: np.random.Generator) -> Tokens:
    """A stretch [K, T] of a clip that is not speech: any, or where a person utters something the loud part."""
    tokens, clip = store.tokens(variant, number), cache.clips[number]
    if is_kind(clip, ("nonverbal",)):
        first, last = _loud(cache.audio(clip))
        frames = store.frames(variant, number)
        return tokens[:, (frames >= first - MARGIN_TOKENS) & (frames <= last + MARGIN_TOKENS)]
    length = tokens.shape[1]
    wanted = min(length, int(rng.integers(CUT_TOKENS[0], CUT_TOKENS[1] + 1)))
    start = int(rng.integers(length - wanted + 1))
    return tokens[:, start : start + wanted]


def _loud(audio: Audio) -> tuple[int, int]:
    """First and last hop whose power is within `LOUD_DB` of the loudest one's."""
    hops = audio[: len(audio) // HOP_SAMPLES * HOP_SAMPLES].reshape(-1, HOP_SAMPLES)
    power = np.square(hops, dtype=np.float64).mean(axis=1)
    loud = np.flatnonzero(power >= power.max() * 10 ** (-LOUD_DB / 10))
    return int(loud[0]), int(loud[-1])


def draw_weights(
    kind: npt.NDArray[np.int64], corpus: npt.NDArray[np.str_], voice_share: float
) -> npt.NDArray[np.float64]:
    """Speech (kind 0) gets `voice_share`, every corpus of it alike; other kinds share by the root of their number."""
    weights = np.zeros(len(kind))
    voices = kind == 0
    for name in np.unique(corpus[voices]):
        rows = voices & (corpus == name)
        weights[rows] = 1 / rows.sum()
    for number in np.unique(kind[~voices]):
        rows = kind == number
        weights[rows] = rows.sum() ** -0.5
    for rows, share in ((voices, voice_share), (~voices, 1 - voice_share)):
        if rows.any():
            weights[rows] *= share / weights[rows].sum()
    return weights / weights.sum() if len(weights) else weights
