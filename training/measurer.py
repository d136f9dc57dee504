"""An exported bundle, run by the serving code over a set of clips: cold, with line profiles, and in simulated legs."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
from tqdm import tqdm

from app.bundle.loader import LoadedBundle, load_bundle
from app.bundle.manifest import DEFAULT_HEAD
from app.inference.encoder import Encoder
from app.inference.line_profile import shrink
from app.inference.tokenizer import Tokenizer
from app.ort import Runtime
from training.baselines.features import SYSTEMS
from training.corpora.labels import category_mask
from training.data.batches import plain
from training.data.cache import HOP_SAMPLES, AudioCache, Clip
from training.data.legs import EmbeddingTable, LegKind, LegSimulator
from training.data.telephony import Audio, TelephonyConfig
from training.evaluation_sets import (
    CLEAN_CONDITION,
    CONDITIONS,
    EvaluationSet,
    chosen_clips,
    middle,
    noise_of,
    spread,
)

Floats = npt.NDArray[np.float32]
READ = ("logits", "arousal", "valence", "speech")
"""The head's outputs that are measured here; it may have others."""


@dataclass(frozen=True, slots=True)
class EvaluateConfig:
    """What is measured.

    draws: random profiles per size, whose predictions are pooled. bootstrap: resamples of speakers.
    """

    profile_sizes: tuple[int, ...] = (20, 50, 200)
    draws: int = 5
    bootstrap: int = 1000
    leg_n: int = 8
    int8_loss: float = 0.02
    """UAR that int8 may lose against fp32: mean over the clean sets, cold. The shipped bundle is tested for it."""
    limit: int = 0
    """At most about this many clips per set (0: all); for the debug run."""
    grid_clips: int = 120
    """About this many clips per set in every condition but the clean one (0: all)."""
    tones: int = 4
    """Made network tones of each pattern of frequencies and rests."""
    threads: int = 2
    """Clips that are listened to side by side; the figures do not depend on it."""
    baselines: tuple[str, ...] = ("egemaps", "whisper-tiny", "whisper-base")
    """Systems measured beside the bundle (`training.baselines.features.SYSTEMS`)."""
    reports: str = ""
    """Where `<bundle's name>/` with the report goes; by default `report/` in the stage's folder."""
    seed: int = 11

    def __post_init__(self) -> None:
        unknown = sorted(set(self.baselines) - set(SYSTEMS))
        if unknown:
            raise ValueError(f"baselines: expected some of {', '.join(SYSTEMS)}, got {unknown[0]!r}")


@dataclass(frozen=True, slots=True)
class Embedded:
    """A set in one condition: embeddings [N, D], truth [N], speakers [N], categories that count [N, C].

    chosen: which of the set's clips these are, int [N]; conditions that not every clip can be put in have gaps.
    """

    vectors: Floats
    truth: npt.NDArray[np.int64]
    speakers: list[str]
    clips: list[Clip]
    allowed: npt.NDArray[np.bool_]
    chosen: npt.NDArray[np.int64]

    def part(self, rows: npt.NDArray[np.intp]) -> Embedded:
        """Some of its rows."""
        return Embedded(
            self.vectors[rows],
            self.truth[rows],
            [self.speakers[i] for i in rows],
            [self.clips[i] for i in rows],
            self.allowed[rows],
            self.chosen[rows],
        )


class Measurer:
    """Runs the bundle's graphs through the serving code."""

    def __init__(self, path: Path, variant: str, threads: int = 1) -> None:
        self.bundle: LoadedBundle = load_bundle(path, Runtime("cpu", threads), variant=variant)
        self.name = variant
        manifest = self.bundle.manifest
        self._tokenizer = Tokenizer(self.bundle.tokenizer, manifest.tokenizer)
        self._encoder = Encoder(self.bundle.encoder, manifest.encoder)
        self.head_spec = manifest.heads[DEFAULT_HEAD]
        self._population = (
            np.array(manifest.line_profile.population_mean),
            np.array(manifest.line_profile.population_var),
        )
        self._prior_n = manifest.line_profile.prior_n

    def tokens(self, audio: Audio) -> npt.NDArray[np.int64]:
        """Tokens of a clip, at least one."""
        return self._tokenizer.tokenize(np.pad(audio, (0, max(0, HOP_SAMPLES - len(audio)))))

    def embedding(self, tokens: npt.NDArray[np.int64]) -> Floats:
        """The pooled embedding."""
        return self._encoder.encode(tokens)[0]

    def line(self, rows: Floats) -> tuple[Floats, Floats]:
        """Shrunk statistics of a profile made of these embeddings ([0, D]: cold)."""
        mean = rows.mean(axis=0) if len(rows) else self._population[0]
        var = rows.var(axis=0) if len(rows) else self._population[1]
        return shrink(len(rows), mean, var, *self._population, self._prior_n)

    def head(
        self, vectors: Floats, line: tuple[Floats, Floats], n: int, legs: Floats, leg_n: Floats
    ) -> dict[str, Floats]:
        """Outputs for rows that share one line."""
        rows = len(vectors)
        feeds = {
            "embedding": vectors,
            "line_mean": np.tile(line[0], (rows, 1)),
            "line_std": np.tile(line[1], (rows, 1)),
            "line_n": np.full(rows, n, np.float32),
            "leg_mean": legs,
            "leg_n": leg_n,
        }
        outputs = self.bundle.heads[DEFAULT_HEAD].run(feeds, READ)
        return dict(zip(READ, outputs, strict=True))

    def alone(self, vectors: Floats, line: tuple[Floats, Floats], n: int) -> dict[str, Floats]:
        """`head` without any leg."""
        return self.head(vectors, line, n, np.zeros_like(vectors), np.zeros(len(vectors), np.float32))


def embed_set(
    measurer: Measurer, cache: AudioCache, test: EvaluationSet, condition: str, config: EvaluateConfig
) -> Embedded | None:
    """Render, tokenise and encode a set; None where the cache holds nothing of it that the condition can be put to.

    Clean: every clip (up to `config.limit`); otherwise about `config.grid_clips` of them, evenly spread. A clip's noise
    and losses depend on the seed and on its place in the set alone.
    """
    clips, truth = chosen_clips(cache, test, config.limit)
    it = CONDITIONS[condition]
    pieces = [clip if it.seconds is None else middle(clip, it.seconds) for clip in clips]
    rows = [row for row, piece in enumerate(pieces) if piece is not None]
    if condition != CLEAN_CONDITION:
        rows = [rows[i] for i in spread(len(rows), config.grid_clips)]
    if not rows:
        return None
    heard = [(row, piece) for row in rows if (piece := pieces[row]) is not None]
    vectors = embed_clips(measurer, cache, heard, it.line, config, f"{test.name} {condition}")
    mask = category_mask(test.categories)
    return Embedded(
        vectors,
        np.array(truth, np.int64)[rows],
        [clips[row].speaker for row in rows],
        [clips[row] for row in rows],
        np.tile(mask, (len(rows), 1)),
        np.array(rows, np.int64),
    )


def embed_clips(
    measurer: Measurer,
    cache: AudioCache,
    clips: Sequence[tuple[int, Clip]],
    line: TelephonyConfig,
    config: EvaluateConfig,
    label: str,
) -> Floats:
    """Embeddings [N, D] of numbered clips after this line, some side by side: graphs run outside Python's lock."""
    noises = noise_of(cache) if line.noise_chance else []

    def embed(numbered: tuple[int, Clip]) -> Floats:
        number, clip = numbered
        audio = plain(cache, clip, line, np.random.default_rng([config.seed, number]), noises).audio
        return measurer.embedding(measurer.tokens(audio))

    with ThreadPoolExecutor(config.threads) as pool:
        embedded = pool.map(embed, clips)
        return np.stack(list(tqdm(embedded, desc=label, total=len(clips), unit="clip", mininterval=2)))


@dataclass(frozen=True, slots=True)
class Judged:
    """Predictions of one set, one row a prediction, over draws of the profile.

    rows: index into the set [M]. logits: [M, C]. draw: which draw a row is of, int [M]. arousal: [M] where the head
    was asked.
    """

    rows: npt.NDArray[np.int64]
    logits: Floats
    draw: npt.NDArray[np.int64]
    arousal: Floats | None = None


def judge_cold(measurer: Measurer, data: Embedded) -> Judged:
    """On a line that nobody has heard yet."""
    outputs = measurer.alone(data.vectors, measurer.line(data.vectors[:0]), 0)
    return Judged(
        np.arange(len(data.truth)),
        outputs["logits"],
        np.zeros(len(data.truth), np.int64),
        np.clip(outputs["arousal"], -1, 1),
    )


Split = tuple[npt.NDArray[np.intp], npt.NDArray[np.intp]]


def profile_draws(count: int, profile_n: int, config: EvaluateConfig) -> list[Split]:
    """(heard, tested) for every draw: n rows for the profile, all others tested; none where too few would be left."""
    if profile_n > count * 0.75:
        return []
    rng = np.random.default_rng([config.seed, profile_n])
    orders = [rng.permutation(count) for _ in range(config.draws)]
    return [(order[:profile_n], order[profile_n:]) for order in orders]


def judge(measurer: Measurer, data: Embedded, profile_n: int, config: EvaluateConfig) -> Judged | None:
    """Cold, or with profiles of n utterances that are not themselves tested; None where the set is too small."""
    if profile_n == 0:
        return judge_cold(measurer, data)
    draws = profile_draws(len(data.truth), profile_n, config)
    if not draws:
        return None
    outputs = [
        measurer.alone(data.vectors[rest], measurer.line(data.vectors[heard]), profile_n)
        for heard, rest in draws
    ]
    return Judged(
        np.concatenate([rest for _, rest in draws]),
        np.concatenate([found["logits"] for found in outputs]),
        np.repeat(np.arange(len(draws)), [len(rest) for _, rest in draws]),
        np.clip(np.concatenate([found["arousal"] for found in outputs]), -1, 1),
    )


def judge_legs(measurer: Measurer, data: Embedded, kind: LegKind, config: EvaluateConfig) -> Judged:
    """Cold line, every row after `leg_n` utterances of its own speaker."""
    table = EmbeddingTable(
        data.vectors[None], data.truth, np.array([c.corpus for c in data.clips]), np.array(data.speakers)
    )
    legs, leg_n = LegSimulator(table).draw_all(kind, config.leg_n, np.random.default_rng(config.seed))
    outputs = measurer.head(data.vectors, measurer.line(data.vectors[:0]), 0, legs, leg_n)
    return Judged(np.arange(len(data.truth)), outputs["logits"], np.zeros(len(data.truth), np.int64))
