"""What is not speech is scored as the service would score it, and counted by kind and source."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from app.domain import AbstainReason
from tests.training import made
from training.data.tones import UNHEARD
from training.measure import embed_clean
from training.measure_gate import (
    PUBLISHED,
    REJECTED,
    Sound,
    made_tones,
    recorded,
    score_sounds,
    sound_rows,
    speech_rows,
)
from training.measurer import EvaluateConfig, Measurer

BUNDLE = Path(__file__).parents[2] / "models" / "bundles" / "kowairo-8k"
CONFIG = EvaluateConfig(bootstrap=30, baselines=())


def record(emotion: str | None, reason: AbstainReason | None = None) -> Any:
    """What matters of a record."""
    return SimpleNamespace(emotion=emotion, reason=reason)


def test_tones_are_of_every_kind_and_repeat() -> None:
    """Patterns that training knows, others, and keys; audible, in range, the same for the same seed."""
    one, other = made_tones(1, 7), made_tones(1, 7)
    assert {s.kind for s in one} == {"tone_known", "tone_unheard", "tone_dtmf"}
    assert len([s for s in one if s.kind == "tone_unheard"]) == len(UNHEARD)
    assert all(np.array_equal(a.audio, b.audio) for a, b in zip(one, other, strict=True))
    assert all(0.01 < np.abs(s.audio).max() < 0.5 and len(s.audio) >= 8_000 for s in one)
    busy = next(s.audio for s in one if s.source == "480+620 Hz, 0.5/0.5 s")
    spectrum = np.abs(np.fft.rfft(busy[:8000]))
    assert {480, 620} <= {int(k) for k in np.argsort(spectrum)[-12:]}


def test_only_test_noise_is_measured(tmp_path: Path) -> None:
    """Not what training heard, and no speech."""
    cache = made.write_cache(tmp_path, made.labelled_clips(), teacher_dim=0)
    assert [(s.kind, s.source) for s in recorded(cache)] == [("music_jazz", "noise:2")]


def test_shares_are_by_kind_family_and_source() -> None:
    """Rejected by the gate, published as an emotion, and what is neither."""
    silence = np.zeros(8000, np.float32)
    sounds = [
        Sound("nonverbal_laughing", "a", silence),
        Sound("nonverbal_sighing", "b", silence),
        Sound("ivr_prompt", "voice", silence),
        Sound("ivr_prompt", "voice", silence),
    ]
    records = [
        record(None, AbstainReason.NOT_SPEECH),
        record(None, AbstainReason.UNCERTAIN),
        record("angry"),
        record(None, AbstainReason.NOT_SPEECH),
    ]
    rows, sources = sound_rows("int8", sounds, records, CONFIG)
    found = {(r["set"], r["metric"]): r["value"] for r in rows}
    assert found["nonverbal", REJECTED] == 0.5
    assert found["nonverbal", PUBLISHED] == 0.0
    assert found["nonverbal_sighing", REJECTED] == 0.0
    assert found["ivr_prompt", PUBLISHED] == 0.5
    assert ("ivr", REJECTED) not in found
    prompt = next(s for s in sources if s["kind"] == "ivr_prompt")
    assert prompt == {"kind": "ivr_prompt", "source": "voice", "n": 2, "rejected": 0.5, "published": 0.5}


@pytest.fixture(scope="module")
def measurer() -> Measurer:
    """The bundle that ships."""
    return Measurer(BUNDLE, "int8", threads=1)


def test_sounds_are_scored_by_the_service(measurer: Measurer) -> None:
    """One record each, in order; what is too short for the encoder is not scored."""
    sounds = [*made_tones(1, 3)[:4], Sound("tone_known", "x", np.zeros(400, np.float32))]
    records = score_sounds(measurer, sounds, CONFIG)
    assert [r.utterance_id for r in records] == ["0", "1", "2", "3", "4"]
    assert records[4].reason is AbstainReason.TOO_SHORT


def test_speech_is_counted_once_by_corpus(measurer: Measurer, tmp_path: Path) -> None:
    """Labelled test clips from their embeddings, unlabelled ones listened to; one row each and one of all."""
    clips = made.labelled_clips(per_category=1)
    plain = made.clip(emotion=None, split="test", corpus="read", samples=9_600, lead=1_600, active=6_400)
    clips += [replace(plain, id=f"read/{n}", speaker=f"read:{n}") for n in range(3)]
    cache = made.write_cache(tmp_path, clips, teacher_dim=0)
    clean = embed_clean(measurer, cache, CONFIG)
    rows = speech_rows(measurer, cache, clean, CONFIG)
    assert [(r["set"], r["metric"], r["n"]) for r in rows] == [
        ("speech_made", REJECTED, 7),
        ("speech_made", PUBLISHED, 7),
        ("speech_read", REJECTED, 3),
        ("speech_read", PUBLISHED, 3),
        ("speech", REJECTED, 10),
        ("speech", PUBLISHED, 10),
    ]
