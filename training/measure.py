"""Measurements for the stage `evaluate`: the exported bundle, run by the serving code, on speakers and corpora that it never saw.

Every condition starts from the telephone chain. Cold, and with a line profile of 20, 50 and 200 unlabelled utterances drawn
from the same set and not among those tested; legs of three kinds; both encoder variants.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from tqdm import tqdm

from app.bundle.loader import LoadedBundle, load_bundle
from app.bundle.manifest import DEFAULT_HEAD
from app.inference.calibration import posterior
from app.inference.encoder import Encoder
from app.inference.line_profile import shrink
from app.inference.tokenizer import Tokenizer
from app.ort import Runtime
from training import metrics
from training.corpora.labels import CATEGORIES, CORPUS_CATEGORIES, category_mask, held_categories, target
from training.data.batches import plain
from training.data.cache import AudioCache, Clip
from training.data.legs import EmbeddingTable, LegKind, LegSimulator
from training.data.telephony import CLEAN, Audio, TelephonyConfig

Floats = npt.NDArray[np.float32]
HEAD_OUTPUTS = ("logits", "arousal", "valence", "speech")


@dataclass(frozen=True, slots=True)
class EvaluateConfig:
    """What is measured. draws: random profiles per size, whose predictions are pooled. bootstrap: resamples of speakers."""

    profile_sizes: tuple[int, ...] = (20, 50, 200)
    draws: int = 5
    bootstrap: int = 1000
    leg_n: int = 8
    limit: int = 0
    """At most this many clips per set (0: all); for the debug run."""
    seed: int = 11


@dataclass(frozen=True, slots=True)
class TestSet:
    """Clips of one corpus, and which categories count. intent: judge by the actor's intent, not the listeners' votes."""

    name: str
    corpus: str
    split: str
    what: str
    categories: tuple[str, ...]
    intent: bool = False


def _shared(name: str, corpus: str, what: str, split: str = "test") -> TestSet:
    return TestSet(name, corpus, split, what, CORPUS_CATEGORIES[corpus])


SETS = (
    _shared("ravdess7", "ravdess", "English, acted, 6 unseen speakers"),
    _shared("nemo6", "nemo", "Polish, acted, 2 unseen speakers"),
    _shared("ased5", "ased", "Amharic, acted, 13 unseen speakers"),
    _shared("turev4", "turev", "Turkish single words, 1 unseen speaker"),
    _shared("emospeech4", "emospeech_in", "Indian English and Hindi keywords on real phones, 17 speakers"),
    TestSet(
        "crema2_intent", "crema_d", "test", "English, what the actor meant", ("happy", "sad"), intent=True
    ),
    _shared("crema6_votes", "crema_d", "English, what most listeners heard"),
    _shared("emodb4", "emodb", "German, a corpus and language never trained or selected on", split="cross"),
)


def test_sets(cache: AudioCache) -> list[TestSet]:
    """The shared sets, and one for every other corpus of the cache that has labelled test speakers."""
    others = sorted(
        {c.corpus for c in cache.clips if c.split == "test" and c.emotion} - set(CORPUS_CATEGORIES)
    )
    held = held_categories(c for c in cache.clips if c.kind is None)
    return [
        *SETS,
        *(TestSet(f"{n}{len(held[n])}", n, "test", f"test speakers of {n}", held[n]) for n in others),
    ]


CONDITIONS: Mapping[str, TelephonyConfig] = {
    "clean": CLEAN,
    "snr_10db": replace(CLEAN, noise_chance=1.0, snr_db=(10.0, 10.0)),
    "loss_5pct": replace(CLEAN, loss_chance=1.0, loss_share=(0.05, 0.05)),
    "snr_10db_loss_5pct": replace(
        CLEAN, noise_chance=1.0, snr_db=(10.0, 10.0), loss_chance=1.0, loss_share=(0.05, 0.05)
    ),
}


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

    def __init__(self, path: Path, variant: str) -> None:
        self.bundle: LoadedBundle = load_bundle(path, Runtime("cpu", 2), variant=variant)
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
        return self._tokenizer.tokenize(audio if len(audio) >= 320 else np.pad(audio, (0, 320 - len(audio))))

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


def chosen_clips(cache: AudioCache, test: TestSet, limit: int) -> tuple[list[Clip], list[int]]:
    """Clips of a test set and their true category."""
    clips, truth = [], []
    held = {test.corpus: CATEGORIES if test.intent else test.categories}
    for clip in cache.clips:
        if clip.corpus != test.corpus or clip.split != test.split:
            continue
        wanted = target(replace(clip, votes=None) if test.intent else clip, held)
        if wanted is not None and wanted.hard is not None:
            clips.append(clip)
            truth.append(wanted.hard)
    return (
        (clips[:: max(1, len(clips) // limit)], truth[:: max(1, len(clips) // limit)])
        if limit
        else (clips, truth)
    )


def noise_of(cache: AudioCache) -> list[Audio]:
    """Noise that training never mixed in."""
    return [
        cache.audio(c)
        for c in cache.clips
        if c.split == "test" and c.kind is not None and c.kind.startswith(("ambient", "background"))
    ]


def embed_set(
    measurer: Measurer, cache: AudioCache, test: TestSet, condition: str, config: EvaluateConfig
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


def judge(measurer: Measurer, data: Embedded, profile_n: int, config: EvaluateConfig) -> Judged | None:
    """Cold, or with profiles of n utterances that are not themselves tested; None where the set is too small."""
    everything = np.arange(len(data.truth))
    if profile_n == 0:
        return Judged(everything, measurer.alone(data.vectors, measurer.line(data.vectors[:0]), 0)["logits"])
    if profile_n > len(everything) * 0.75:
        return None
    rng = np.random.default_rng([config.seed, profile_n])
    rows, logits = [], []
    for _ in range(config.draws):
        order = rng.permutation(len(everything))
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
    simulator = LegSimulator(table)
    rng = np.random.default_rng(config.seed)
    drawn = [simulator.draw(i, kind, config.leg_n, rng) for i in range(len(data.truth))]
    blank = np.zeros(data.vectors.shape[1], np.float32)
    legs = np.stack([blank if leg is None else leg for leg in drawn])
    leg_n = np.array([0 if leg is None else config.leg_n for leg in drawn], np.float32)
    outputs = measurer.head(data.vectors, measurer.line(data.vectors[:0]), 0, legs, leg_n)
    return Judged(np.arange(len(data.truth)), outputs["logits"])


def scored_uar(
    data: Embedded, judged: Judged, config: EvaluateConfig
) -> tuple[float, float | None, float | None]:
    """UAR over the set's categories, and its 95 % interval by speaker (None with one speaker)."""
    prediction = np.where(data.allowed[judged.rows], judged.logits, -1e4).argmax(axis=1)
    truth = data.truth[judged.rows]

    def statistic(index: npt.NDArray[np.intp]) -> float:
        return metrics.unweighted_average_recall(truth[index], prediction[index], len(CATEGORIES))

    speakers = [data.speakers[i] for i in judged.rows]
    value = statistic(np.arange(len(truth)))
    if len(set(speakers)) < 2:
        return value, None, None
    low, high = metrics.bootstrap_by_speaker(statistic, speakers, n=config.bootstrap, seed=config.seed)
    return value, *(None if np.isnan(v) else float(v) for v in (low, high))


def row(
    name: str,
    test: TestSet,
    condition: str,
    profile_n: int,
    data: Embedded,
    judged: Judged,
    config: EvaluateConfig,
) -> dict[str, Any]:
    """One UAR figure as the evaluation file has it."""
    value, low, high = scored_uar(data, judged, config)
    return {
        "name": name, "set": test.name, "condition": condition, "profile_n": profile_n, "metric": "UAR",
        "value": value, "low": low, "high": high, "n": len(set(judged.rows.tolist())),
        "speakers": len(set(data.speakers)),
    }  # fmt: skip


def measure_variant(
    measurer: Measurer, variant: str, cache: AudioCache, config: EvaluateConfig, conditions: Sequence[str]
) -> tuple[list[dict[str, Any]], dict[str, Embedded]]:
    """UAR of every set in the given conditions; also the clean embeddings."""
    results, kept = [], {}
    for test in test_sets(cache):
        for condition in conditions:
            data = embed_set(measurer, cache, test, condition, config)
            if data is None:
                continue
            for size in (0, *(config.profile_sizes if condition == "clean" else (50,))):
                judged = judge(measurer, data, size, config)
                if judged is not None:
                    results.append(row(variant, test, condition, size, data, judged, config))
            if condition == "clean":
                kept[test.name] = data
                for kind in LegKind:
                    legs = judge_legs(measurer, data, kind, config)
                    results.append(row(variant, test, f"calls_{kind.value}", 0, data, legs, config))
    return results, kept


def leave_one_speaker_out(data: Embedded, config: EvaluateConfig) -> dict[str, Any]:
    """EmoDB's own categories learned from the embedding by logistic regression, speaker by speaker."""
    prediction = np.zeros_like(data.truth)
    speakers = np.array(data.speakers)
    for speaker in np.unique(speakers):
        held = speakers == speaker
        vectors = np.concatenate([data.vectors[~held], data.vectors[held]])
        model = make_pipeline(StandardScaler(), LogisticRegression(C=0.1, max_iter=2000))
        model.fit(vectors[: (~held).sum()], data.truth[~held])
        prediction[held] = model.predict(vectors[(~held).sum() :])

    def statistic(index: npt.NDArray[np.intp]) -> float:
        return metrics.unweighted_average_recall(data.truth[index], prediction[index], len(CATEGORIES))

    low, high = metrics.bootstrap_by_speaker(statistic, data.speakers, n=config.bootstrap, seed=config.seed)
    return {
        "name": "embedding + LR", "set": "emodb4_loso", "condition": "clean", "profile_n": 0, "metric": "UAR",
        "value": statistic(np.arange(len(data.truth))), "low": low, "high": high, "n": len(data.truth),
        "speakers": len(set(data.speakers)),
    }  # fmt: skip


def describe_set(measurer: Measurer, data: Embedded, config: EvaluateConfig) -> dict[str, Any]:
    """Recalls, confusion, calibration, abstention and gaps of a set with a profile of 50 (cold where it is too small)."""
    judged = judge(measurer, data, 50, config) or judge(measurer, data, 0, config)
    assert judged is not None
    allowed = data.allowed[judged.rows]
    held = np.flatnonzero(data.allowed[0])
    logits = judged.logits[:, held]
    truth = np.searchsorted(held, data.truth[judged.rows])
    temperature = measurer.head_spec.calibration.temperature
    after = np.array([posterior(r, temperature) for r in logits])
    before = np.array([posterior(r, 1.0) for r in logits])
    correct = after.argmax(axis=1) == truth
    coverage, risk = metrics.risk_coverage_curve(after.max(axis=1), correct)
    points = np.linspace(0, len(coverage) - 1, 21).astype(int)
    prediction = np.where(allowed, judged.logits, -1e4).argmax(axis=1)
    recalls = metrics.recall_per_category(data.truth[judged.rows], prediction, len(CATEGORIES))
    matrix = metrics.confusion_matrix(truth, after.argmax(axis=1), len(held))
    return {
        "recalls": {CATEGORIES[i]: None if np.isnan(recalls[i]) else float(recalls[i]) for i in held},
        "confusion": {"labels": [CATEGORIES[i] for i in held], "matrix": matrix.tolist()},
        "ece": {
            "before": metrics.expected_calibration_error(before, truth),
            "after": metrics.expected_calibration_error(after, truth),
            "bins": 15,
        },
        "risk_coverage": {
            "area": metrics.area_under_risk_coverage(after.max(axis=1), correct),
            "points": [(float(coverage[i]), float(risk[i])) for i in points],
        },
        "sex": _groups(data, judged, prediction, lambda clip: clip.sex),
    }


def _groups(
    data: Embedded, judged: Judged, prediction: npt.NDArray[np.int64], key: Callable[[Clip], str | None]
) -> dict[str, Any]:
    names = [key(data.clips[i]) for i in judged.rows]
    out = {}
    for name in sorted({n for n in names if n}):
        rows = np.array([n == name for n in names])
        truth = data.truth[judged.rows][rows]
        speakers = {data.speakers[i] for i in judged.rows[rows]}
        value = metrics.unweighted_average_recall(truth, prediction[rows], len(CATEGORIES))
        out[name] = {"value": value, "n": len(set(judged.rows[rows].tolist())), "speakers": len(speakers)}
    return out


def measure_gate(
    measurer: Measurer, cache: AudioCache, speech: Mapping[str, Embedded]
) -> list[dict[str, Any]]:
    """Shares rejected by the speech gate: test noise by kind, and all test speech."""
    threshold = measurer.head_spec.speech_threshold
    cold = measurer.line(next(iter(speech.values())).vectors[:0])
    rows: list[dict[str, Any]] = []
    kinds = sorted({c.kind.split("_")[0] for c in cache.clips if c.kind and c.split == "test"})
    for kind in kinds:
        clips = [c for c in cache.clips if c.split == "test" and c.kind and c.kind.startswith(kind)]
        vectors = np.stack([measurer.embedding(measurer.tokens(cache.audio(c))) for c in clips])
        share = float((measurer.alone(vectors, cold, 0)["speech"] < threshold).mean())
        rows.append(_share_row(f"gate_{kind}", share, len(clips), len({c.speaker for c in clips})))
    vectors = np.concatenate([data.vectors for data in speech.values()])
    speakers = {s for data in speech.values() for s in data.speakers}
    share = float((measurer.alone(vectors, cold, 0)["speech"] < threshold).mean())
    return [*rows, _share_row("gate_speech", share, len(vectors), len(speakers))]


def _share_row(name: str, share: float, n: int, speakers: int) -> dict[str, Any]:
    return {
        "name": "speech gate", "set": name, "condition": "clean", "profile_n": 0, "metric": "share rejected",
        "value": share, "low": None, "high": None, "n": n, "speakers": speakers,
    }  # fmt: skip


def measure_cost(path: Path, variant: str) -> list[dict[str, Any]]:
    """Milliseconds for a 4 s utterance on one thread, median of 30 runs each."""
    measurer = Measurer(path, variant)
    audio = (np.random.default_rng(0).standard_normal(32_000) * 0.05).astype(np.float32)
    tokens = measurer.tokens(audio)
    vector = measurer.embedding(tokens)[None]
    cold = measurer.line(vector[:0])
    work = {
        "tokenizer, 4 s": lambda: measurer.tokens(audio),
        f"encoder {variant}, 4 s": lambda: measurer.embedding(tokens),
        "head": lambda: measurer.alone(vector, cold, 0),
    }
    rows = []
    for what, run in work.items():
        seconds = []
        for _ in range(30):
            start = time.perf_counter()
            run()
            seconds.append(time.perf_counter() - start)
        note = "median of 30, batch 1, on the training machine (2 shared cores)"
        rows.append({"what": what, "value": 1000 * float(np.median(seconds)), "unit": "ms", "note": note})
    return rows
