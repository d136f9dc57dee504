"""What is not speech: how much of it the bundle rejects, and how much would be published as an emotion all the same.

Every clip goes through the clean telephone line as a whole (level, µ-law) and is scored by the service's own `Scorer`
on a cold line without a leg. *Rejected*: the record says `not_speech`. *Published*: it names an emotion. *Named*: it
names an event, such as laughter, where the bundle does. What lies between (too short, uncertain, or whatever else a
bundle withholds) is neither. The endpointer, which never passes most tones and noises on, is left out: these are shares
of what would reach the model.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from tqdm import tqdm

from app.domain import AbstainReason, AudioQuality, Leg, Utterance, UtteranceRecord
from app.inference.calibration import posterior
from app.inference.line_profile import LegContext, LineProfile
from app.inference.scorer import Scorer
from training.data.cache import AudioCache, Clip
from training.data.telephony import CLEAN, RATE_HZ, Audio, simulate
from training.data.tones import DTMF_HIGH, DTMF_LOW, PROGRESS, UNHEARD
from training.measure_intervals import Drawn, SpeakerDraws
from training.measurer import Embedded, EvaluateConfig, Measurer, embed_clips

REJECTED, PUBLISHED, NAMED = "share rejected", "share published", "share named"
SILENT_KINDS = ("music", "ivr_prompt", "tone_known", "tone_unheard")
"""Whose voices, tracks and patterns the card gives one by one."""
MOST_SOURCES = 24
"""Kinds of at most this many voices, tracks or places are also given one by one."""
TONE_S = (1.0, 4.0)
KEYS_PER_COUNT = 6


@dataclass(frozen=True, slots=True)
class Sound:
    """One clip that is not emotional speech: its kind (`music`, `tone_dtmf` …), the voice or place it is of."""

    kind: str
    source: str
    audio: Audio


def recorded(cache: AudioCache) -> list[Sound]:
    """Test noise, music, prompts and sounds that people make; kinds with their second word where they have one."""
    return [
        Sound(clip.kind, clip.speaker, cache.audio(clip))
        for clip in cache.clips
        if clip.kind is not None and clip.split == "test"
    ]


def made_tones(count: int, seed: int) -> list[Sound]:
    """Network tones: `count` of each pattern that training knows and of each that it never heard, and runs of DTMF."""
    rng = np.random.default_rng(seed)
    sounds = []
    for kind, patterns in (("tone_known", PROGRESS), ("tone_unheard", UNHEARD)):
        for frequencies, cadence in patterns:
            name = f"{'+'.join(map(str, frequencies))} Hz, {'/'.join(f'{part:g}' for part in cadence)} s"
            for _ in range(count):
                sounds.append(
                    Sound(kind, name, _hissing(_progress(frequencies, cadence, _length(rng), rng), rng))
                )
    for turn in range(KEYS_PER_COUNT * count):
        sounds.append(Sound("tone_dtmf", f"keys {turn}", _hissing(_keys(_length(rng), rng), rng)))
    return sounds


def _length(rng: np.random.Generator) -> int:
    return int(rng.uniform(*TONE_S) * RATE_HZ)


def _progress(
    frequencies: Sequence[int], cadence: Sequence[float], length: int, rng: np.random.Generator
) -> npt.NDArray[np.float64]:
    """A chord that sounds and rests in turn; it begins within its first sounding, for pure silence is no test."""
    t = np.arange(length) / RATE_HZ
    part = np.searchsorted(np.cumsum(cadence), (t + rng.uniform(0, cadence[0])) % sum(cadence), side="right")
    return np.where(part % 2 == 0, _chord(frequencies, t), 0.0)


def _keys(length: int, rng: np.random.Generator) -> npt.NDArray[np.float64]:
    t = np.arange(length) / RATE_HZ
    audio = np.zeros(length)
    on, off = (int(rng.uniform(low, high) * RATE_HZ) for low, high in ((0.07, 0.2), (0.05, 0.3)))
    for start in range(0, length, on + off):
        pair = int(rng.choice(DTMF_LOW)), int(rng.choice(DTMF_HIGH))
        audio[start : start + on] = _chord(pair, t[start : start + on])
    return audio


def _chord(frequencies: Sequence[int], t: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    return np.asarray(np.mean([np.sin(2 * np.pi * f * t) for f in frequencies], axis=0))


def _hissing(audio: npt.NDArray[np.float64], rng: np.random.Generator) -> Audio:
    hiss = rng.standard_normal(len(audio)) * 10 ** (rng.uniform(-70, -40) / 20)
    return (0.14 * audio + hiss).astype(np.float32)


def score_sounds(
    measurer: Measurer, sounds: Sequence[Sound], config: EvaluateConfig
) -> list[UtteranceRecord]:
    """The record that each sound would get on a cold line."""
    scorer = Scorer(measurer.bundle)
    line = LineProfile.empty(scorer.embedding_dim)
    leg = LegContext.empty(scorer.embedding_dim)

    def score(numbered: tuple[int, Sound]) -> UtteranceRecord:
        number, sound = numbered
        rng = np.random.default_rng([config.seed, number])
        heard = simulate(sound.audio, slice(None), CLEAN, rng)
        seconds = len(heard) / RATE_HZ
        utterance = Utterance(
            call_id="evaluation", leg=Leg.CUSTOMER, utterance_id=str(number), start_s=0.0, end_s=seconds,
            speech_s=seconds, tokens=measurer.tokens(heard), quality=AudioQuality(None, 0.0, 0.0),
        )  # fmt: skip
        return scorer.score(utterance, line, leg)[0]

    with ThreadPoolExecutor(config.threads) as pool:
        scored = pool.map(score, enumerate(sounds))
        return list(tqdm(scored, desc="not speech", total=len(sounds), unit="clip", mininterval=2))


def sound_rows(
    name: str, sounds: Sequence[Sound], records: Sequence[UtteranceRecord], config: EvaluateConfig
) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """Rows of results by kind, and by source where a kind has few; `nonverbal_laughing` counts for `nonverbal` too."""
    rows, sources = [], []
    names_events = any(getattr(record, "event", None) is not None for record in records)
    kinds = sorted({s.kind for s in sounds} | {_family(s.kind) for s in sounds})
    for kind in kinds:
        chosen = [i for i, s in enumerate(sounds) if kind in (s.kind, _family(s.kind))]
        rejected = np.array([records[i].reason is AbstainReason.NOT_SPEECH for i in chosen])
        published = np.array([records[i].emotion is not None for i in chosen])
        named = np.array([getattr(records[i], "event", None) is not None for i in chosen])
        voices = [sounds[i].source for i in chosen]
        draws = SpeakerDraws(voices, config.bootstrap, config.seed)
        for metric, values in ((REJECTED, rejected), (PUBLISHED, published), (NAMED, named)):
            if metric != NAMED or names_events:
                rows.append(_row(name, kind, metric, draws.mean(values), voices))
        if len(set(voices)) <= MOST_SOURCES:
            for voice in sorted(set(voices)):
                mine = np.array(voices) == voice
                sources.append(
                    {
                        "kind": kind, "source": voice, "n": int(mine.sum()),
                        "rejected": float(rejected[mine].mean()), "published": float(published[mine].mean()),
                    }
                )  # fmt: skip
    return rows, sources


def _family(kind: str) -> str:
    """Music and prompts are kinds of their own; of the rest the first word is."""
    return kind if kind in ("music", "ivr_prompt") else kind.split("_")[0]


def speech_rows(
    measurer: Measurer, cache: AudioCache, clean: Mapping[str, Embedded], config: EvaluateConfig
) -> list[dict[str, Any]]:
    """The same shares of test speech, labelled or not: by corpus, and of all (`speech`)."""
    by_corpus = _speech(measurer, cache, clean, config)
    head, abstain = measurer.head_spec, measurer.bundle.manifest.abstain
    rows, everything = [], []
    for corpus, (vectors, speakers) in sorted(by_corpus.items()):
        outputs = measurer.alone(vectors, measurer.line(vectors[:0]), 0)
        rejected = outputs["speech"] < head.speech_threshold
        sure = (
            posterior(outputs["logits"], head.calibration.temperature).max(axis=1) >= abstain.min_confidence
        )
        everything.append((rejected, ~rejected & sure, speakers))
        rows += _speech_pair(f"speech_{corpus}", measurer.name, everything[-1:], config)
    return [*rows, *_speech_pair("speech", measurer.name, everything, config)] if everything else []


def _speech_pair(
    kind: str,
    name: str,
    parts: Sequence[tuple[npt.NDArray[np.bool_], npt.NDArray[np.bool_], list[str]]],
    config: EvaluateConfig,
) -> list[dict[str, Any]]:
    speakers = [s for _, _, those in parts for s in those]
    draws = SpeakerDraws(speakers, config.bootstrap, config.seed)
    shares = ((REJECTED, 0), (PUBLISHED, 1))
    return [
        _row(name, kind, metric, draws.mean(np.concatenate([part[at] for part in parts])), speakers)
        for metric, at in shares
    ]


def _speech(
    measurer: Measurer, cache: AudioCache, clean: Mapping[str, Embedded], config: EvaluateConfig
) -> dict[str, tuple[npt.NDArray[np.float32], list[str]]]:
    """Embeddings and speakers of all test and cross speech by corpus; labelled clips are at hand already."""
    found: dict[str, dict[str, tuple[npt.NDArray[np.float32], str]]] = {}
    for data in clean.values():
        for clip, vector in zip(data.clips, data.vectors, strict=True):
            found.setdefault(clip.corpus, {})[clip.id] = vector, clip.speaker
    for corpus, clips in _unlabelled(cache, config.limit).items():
        vectors = embed_clips(measurer, cache, list(enumerate(clips)), CLEAN, config, f"{corpus} speech")
        for clip, vector in zip(clips, vectors, strict=True):
            found.setdefault(corpus, {})[clip.id] = vector, clip.speaker
    return {
        corpus: (np.stack([v for v, _ in rows.values()]), [s for _, s in rows.values()])
        for corpus, rows in found.items()
    }


def _unlabelled(cache: AudioCache, limit: int) -> dict[str, list[Clip]]:
    by_corpus: dict[str, list[Clip]] = {}
    for clip in cache.clips:
        if clip.kind is None and clip.split == "test" and clip.emotion is None and clip.votes is None:
            by_corpus.setdefault(clip.corpus, []).append(clip)
    return {corpus: clips[:limit] if limit else clips for corpus, clips in by_corpus.items()}


def _row(name: str, kind: str, metric: str, drawn: Drawn, speakers: Sequence[str]) -> dict[str, Any]:
    figure = drawn.figure()
    return {
        "name": name, "set": kind, "condition": "clean", "profile_n": 0, "metric": metric, "value": figure.value,
        "low": figure.low, "high": figure.high, "n": len(speakers), "speakers": len(set(speakers)),
    }  # fmt: skip
