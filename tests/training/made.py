"""Made clips, caches and token stores, written and read back by the real code."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from training.corpora.labels import CATEGORIES
from training.data.cache import HOP_SAMPLES, AudioCache, CacheWriter, Clip
from training.data.tokens import TokenStore, write_facts, write_part

TEACHER_DIM = 3


def clip(**changes: Any) -> Clip:
    """A clip of two seconds, half a second of silence before 1.2 s of speech, with changes."""
    plain = Clip(
        id="made/0",
        corpus="made",
        speaker="made:a",
        split="train",
        emotion="happy",
        sex=None,
        language=None,
        kind=None,
        arousal=None,
        votes=None,
        offset=0,
        samples=16_000,
        lead=4_000,
        active=9_600,
        frame_offset=-1,
    )
    return replace(plain, **changes)


def speechlike(samples: int, seed: int) -> npt.NDArray[np.int16]:
    """A gliding buzz in syllables with some noise, int16 at 8 kHz."""
    rng = np.random.default_rng(seed)
    t = np.arange(samples) / 8_000
    phase = 2 * np.pi * (110 + 10 * (seed % 9)) * t + 3 * np.sin(2 * np.pi * 1.5 * t)
    voice = sum(np.sin(h * phase) / h for h in range(1, 12)) * (0.55 + 0.45 * np.sin(2 * np.pi * 4 * t))
    return np.round(3000 * (voice + 0.02 * rng.standard_normal(samples))).astype(np.int16)


def write_cache(folder: Path, clips: Sequence[Clip], teacher_dim: int = TEACHER_DIM) -> AudioCache:
    """A cache of these clips with made audio; speech has made teacher frames: (clip, frame, clip …)."""
    writer = CacheWriter(folder, teacher_dim)
    for number, wanted in enumerate(clips):
        offset, frame_offset = writer.position
        heard = teacher_dim > 0 and wanted.kind is None
        placed = replace(wanted, offset=offset, frame_offset=frame_offset if heard else -1)
        frames = np.full((placed.frames, teacher_dim), number, np.float16)
        if teacher_dim > 1:
            frames[:, 1] = np.arange(placed.frames)
        writer.append(placed, speechlike(placed.samples, number), frames if heard else None)
    writer.close()
    return AudioCache(folder)


def labelled_clips(per_category: int = 2) -> list[Clip]:
    """Clips of seven categories by four training speakers, one of dev and one of test, and two of noise."""
    splits = {"a": "train", "b": "train", "c": "train", "d": "train", "e": "dev", "f": "test"}
    clips = [
        clip(
            id=f"made/{speaker}{category}{take}",
            speaker=f"made:{speaker}",
            emotion=category,
            split=split,
            samples=9_600 + HOP_SAMPLES * (index + 3 * take),
            lead=1_600,
            active=6_400,
        )
        for speaker, split in splits.items()
        for index, category in enumerate(CATEGORIES)
        for take in range(per_category)
    ]
    noise = clip(corpus="noise", emotion=None, samples=16_000, lead=0, active=16_000)
    return [
        *clips,
        replace(noise, id="noise/0", speaker="noise:0", kind="background_office"),
        replace(noise, id="noise/1", speaker="noise:1", kind="music_jazz"),
        replace(noise, id="noise/2", speaker="noise:2", kind="music_jazz", split="test"),
    ]


def write_store(folder: Path, cache: AudioCache, codebooks: int, size: int, variants: int = 2) -> TokenStore:
    """Made tokens: every category has codes of its own, so that there is something to learn."""
    folder.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(0)
    for variant in range(variants):
        tokens, frames = [], []
        for clip_ in cache.clips:
            rendered = variant == 0 or clip_.split == "train"
            length = clip_.frames if rendered else 0
            base = CATEGORIES.index(clip_.emotion) if clip_.emotion else len(CATEGORIES)
            drawn = (base * 2 + rng.integers(0, 2, size=(length, codebooks))) % size
            tokens.append(drawn.astype(np.uint16))
            frames.append(np.arange(length, dtype=np.int16))
        write_part(folder, variant, tokens, frames)
    write_facts(folder, variants, codebooks, len(cache.clips))
    return TokenStore(folder)
