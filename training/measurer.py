"""An exported bundle, run by the serving code over a set of clips: cold, with line profiles, and in simulated legs."""

from __future__ import annotations

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
from training.corpora.labels import category_mask
from training.data.batches import plain
from training.data.cache import HOP_SAMPLES, AudioCache, Clip
from training.data.legs import EmbeddingTable, LegKind, LegSimulator
from training.data.telephony import Audio
from training.evaluation_sets import CONDITIONS, EvaluationSet, chosen_clips, noise_of
from training.export import HEAD_OUTPUTS

Floats = npt.NDArray[np.float32]


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
    """At most this many clips per set (0: all); for the debug run."""
    seed: int = 11


@dataclass(frozen=True, slots=True)
class Embedded:
    """A set in one condition: embeddings [N, D], truth [N], speakers [N]."""

    vectors: Floats
    truth: npt.NDArray[np.int64]
    speakers: list[str]
    clips: list[Clip]
    allowed: npt.NDArray[np.bool_]


class Measurer:
    """Runs the bundle's graphs through the serving code."""

    def __init__(self, path: Path, variant: str, threads: int = 2) -> None:
        self.bundle: LoadedBundle = load_bundle(path, Runtime("cpu", threads), variant=variant)
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
        outputs = self.bundle.heads[DEFAULT_HEAD].run(feeds, HEAD_OUTPUTS)
        return dict(zip(HEAD_OUTPUTS, outputs, strict=True))

    def alone(self, vectors: Floats, line: tuple[Floats, Floats], n: int) -> dict[str, Floats]:
        """`head` without any leg."""
        return self.head(vectors, line, n, np.zeros_like(vectors), np.zeros(len(vectors), np.float32))


def embed_set(
    measurer: Measurer, cache: AudioCache, test: EvaluationSet, condition: str, config: EvaluateConfig
) -> Embedded | None:
    """Render, tokenise and encode a set; None where the cache holds nothing of it."""
    clips, truth = chosen_clips(cache, test, config.limit)
    if not clips:
        return None
    noises = noise_of(cache)
    vectors = []
    for number, clip in enumerate(tqdm(clips, desc=f"{test.name} {condition}", unit="clip", mininterval=2)):
        rng = np.random.default_rng([config.seed, number])
        audio = plain(cache, clip, CONDITIONS[condition], rng, noises).audio
        vectors.append(measurer.embedding(measurer.tokens(audio)))
    mask = category_mask(test.categories)
    return Embedded(
        np.stack(vectors), np.array(truth), [c.speaker for c in clips], clips, np.tile(mask, (len(clips), 1))
    )


@dataclass(frozen=True, slots=True)
class Judged:
    """Predictions of one set: index into the set [M], logits [M, C] (over draws, one row a prediction)."""

    rows: npt.NDArray[np.int64]
    logits: Floats


def judge_cold(measurer: Measurer, data: Embedded) -> Judged:
    """On a line that nobody has heard yet."""
    logits = measurer.alone(data.vectors, measurer.line(data.vectors[:0]), 0)["logits"]
    return Judged(np.arange(len(data.truth)), logits)


def judge(measurer: Measurer, data: Embedded, profile_n: int, config: EvaluateConfig) -> Judged | None:
    """Cold, or with profiles of n utterances that are not themselves tested; None where the set is too small."""
    if profile_n == 0:
        return judge_cold(measurer, data)
    if profile_n > len(data.truth) * 0.75:
        return None
    rng = np.random.default_rng([config.seed, profile_n])
    rows, logits = [], []
    for _ in range(config.draws):
        order = rng.permutation(len(data.truth))
        heard, rest = order[:profile_n], order[profile_n:]
        rows.append(rest)
        logits.append(
            measurer.alone(data.vectors[rest], measurer.line(data.vectors[heard]), profile_n)["logits"]
        )
    return Judged(np.concatenate(rows), np.concatenate(logits))


def judge_legs(measurer: Measurer, data: Embedded, kind: LegKind, config: EvaluateConfig) -> Judged:
    """Cold line, every row after `leg_n` utterances of its own speaker."""
    table = EmbeddingTable(
        data.vectors[None], data.truth, np.array([c.corpus for c in data.clips]), np.array(data.speakers)
    )
    legs, leg_n = LegSimulator(table).draw_all(kind, config.leg_n, np.random.default_rng(config.seed))
    outputs = measurer.head(data.vectors, measurer.line(data.vectors[:0]), 0, legs, leg_n)
    return Judged(np.arange(len(data.truth)), outputs["logits"])
