"""Made clips with made faces, and made tokens of them."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import numpy.typing as npt

from tests.training import made
from training.corpora.synthetic_av import draw_face
from training.data.cache import AudioCache, CacheWriter, Clip
from training.data.video_tokens import CODEBOOK, FACTS, TOKENS, VideoTokens
from training.files import write_whole

SPEAKERS = {"a": (4, "train"), "b": (2, "train"), "c": (1, "train"), "d": (3, "dev"), "e": (3, "test")}


def faces(count: int, tone: float) -> npt.NDArray[np.uint8]:
    """A face [count, 96, 96] that opens its mouth a little more in every picture."""
    return np.stack([draw_face("smile", (number % 8) / 8, tone, 1.0, (0.0, 0.0)) for number in range(count)])


def clips(samples: int = 6_400) -> list[Clip]:
    """One clip without a face, then 13 with: 4, 2 and 1 of training speakers, 3 of dev and of test."""
    faced = [
        made.clip(
            id=f"faced/{speaker}{take}",
            corpus="faced",
            speaker=f"faced:{speaker}",
            split=split,
            samples=samples + 320 * take,
            lead=640,
            active=4_800,
            face_offset=0,
        )
        for speaker, (count, split) in SPEAKERS.items()
        for take in range(count)
    ]
    return [made.clip(samples=samples, lead=640, active=4_800), *faced]


def write_cache(folder: Path, wanted: list[Clip] | None = None) -> AudioCache:
    """A cache of these clips; those with a `face_offset` of 0 or more get made faces, lighter from clip to clip."""
    writer = CacheWriter(folder, made.TEACHER_DIM)
    for number, clip in enumerate(clips() if wanted is None else wanted):
        offset, frame_offset = writer.position
        placed = replace(clip, offset=offset, frame_offset=frame_offset)
        seen = None
        if clip.face_offset >= 0:
            placed = replace(placed, face_offset=writer.face_position)
            seen = faces(clip.frames, 100 + 8 * number)
        heard = np.full((clip.frames, made.TEACHER_DIM), number, np.float16)
        heard[:, 1] = np.arange(clip.frames)
        writer.append(placed, made.speechlike(clip.samples, number), heard, seen)
    writer.close()
    return AudioCache(folder)


def write_tokens(
    folder: Path, cache: AudioCache, grid: int = 3, size: int = 8, variants: int = 2
) -> VideoTokens:
    """Made tokens: in each variant the number of the frame within its clip, plus the variant, modulo the size."""
    folder.mkdir(parents=True, exist_ok=True)
    tokens = np.zeros((variants, cache.face_count, grid), np.uint16)
    for clip in cache.clips:
        if clip.face_offset >= 0:
            for variant in range(variants):
                numbers = (np.arange(clip.frames) + variant) % size
                tokens[variant, clip.face_offset : clip.face_offset + clip.frames] = numbers[:, None]
    tokens.tofile(folder / TOKENS)
    np.save(folder / CODEBOOK, np.random.default_rng(0).standard_normal((size, 4)).astype(np.float32))
    facts = {"variants": variants, "faces": cache.face_count, "grid": grid, "codebook_size": size}
    write_whole(folder / FACTS, json.dumps(facts))
    return VideoTokens(folder)
