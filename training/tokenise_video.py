"""Stage `tokenise`, its video part: every face of the cache becomes a grid of tokens, in several renderings.

Output, beside the audio tokens: `video.u16` [variants, F, grid], `video_codebook.npy` and, last, `video.json`.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch

from models.video_tokenizer import VideoTokenizer
from training.data.cache import AudioCache
from training.data.face_batches import FaceAugmentConfig, Pictures, bend
from training.data.video_tokens import CODEBOOK, FACTS, TOKENS
from training.files import write_whole


@dataclass(frozen=True, slots=True)
class TokeniseVideoConfig:
    """How many renderings (the first is the plain one), how the others are bent, and pictures at once."""

    variants: int = 4
    augment: FaceAugmentConfig = field(default_factory=FaceAugmentConfig)
    batch: int = 256
    seed: int = 2


@torch.no_grad()
def tokenise_video(
    config: TokeniseVideoConfig, prepared: Path, tokenizer: VideoTokenizer, folder: Path
) -> None:
    """Write the tokens of all faces of `prepared` into `folder`, unless they are complete."""
    if (folder / FACTS).exists():
        return
    folder.mkdir(parents=True, exist_ok=True)
    tokenizer = tokenizer.eval()
    cache = AudioCache(prepared)
    grid = tokenizer.config.grid
    tokens = np.zeros((config.variants, cache.face_count, grid), np.uint16)
    for variant in range(config.variants):
        for offset, pictures in _rendered(cache, config, variant):
            for at in range(0, len(pictures), config.batch):
                part = torch.tensor(pictures[at : at + config.batch])
                found = tokenizer.tokens(part).numpy()
                tokens[variant, offset + at : offset + at + len(found)] = found
    tokens.tofile(folder / TOKENS)
    np.save(folder / CODEBOOK, tokenizer.quantizer.codebooks[0].numpy())
    facts = {
        "variants": config.variants,
        "faces": cache.face_count,
        "grid": grid,
        "codebook_size": tokenizer.config.codebook_size,
    }
    write_whole(folder / FACTS, json.dumps(facts))


def _rendered(cache: AudioCache, config: TokeniseVideoConfig, variant: int) -> Iterator[tuple[int, Pictures]]:
    """Where each clip's faces start, and how they look in a rendering; only training clips are ever bent."""
    for number, clip in enumerate(cache.clips):
        faces = cache.faces(clip)
        if faces is None:
            continue
        if variant and clip.split == "train":
            faces = bend(faces, config.augment, np.random.default_rng([config.seed, variant, number]))
        elif variant:
            continue  # as with sound: nothing but the plain rendering is ever asked for
        yield clip.face_offset, faces
