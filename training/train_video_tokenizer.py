"""Stage `video_tokenizer`: the VQ-VAE of face crops learns to rebuild pictures, and what changes between two of them.

Most of a face stays where it is; without the second term a code would be spent on who it is rather than on the mouth.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import torch
from torch import Tensor

from models.config import VideoTokenizerConfig
from models.quantizer import perplexity
from models.video_tokenizer import VideoTokenizer, scaled
from training.config import save_config
from training.data.cache import AudioCache
from training.data.face_batches import FaceAugmentConfig, FacePairs
from training.engine import LoopConfig, train


@dataclass(frozen=True, slots=True)
class VideoTokenizerStageConfig:
    """Everything that the stage needs to know.

    pairs: of pictures in a step, at most `apart` frames from each other. speaker_power: a speaker of n clips counts
    as n^power. motion_weight: of the error in what changes within a pair, as a share of the change itself.
    """

    model: VideoTokenizerConfig = field(default_factory=VideoTokenizerConfig)
    loop: LoopConfig = field(
        default_factory=lambda: LoopConfig(steps=1500, learning_rate=1e-3, ema_decay=0.995)
    )
    augment: FaceAugmentConfig = field(default_factory=FaceAugmentConfig)
    pairs: int = 48
    apart: int = 3
    speaker_power: float = 0.5
    motion_weight: float = 0.3
    commitment_weight: float = 0.25


class VideoTokenizerTask:
    """Loss of the video tokenizer stage."""

    def __init__(self, config: VideoTokenizerStageConfig, batches: FacePairs) -> None:
        self.config, self.batches = config, batches
        torch.manual_seed(config.loop.seed)
        self.module: VideoTokenizer = VideoTokenizer(config.model)

    def loss(self, batch: Tensor) -> tuple[Tensor, Mapping[str, Tensor]]:
        """L1 of the pictures + squared error of their differences + commitment; batch uint8 [P, 2, 96, 96]."""
        model, config = self.module, self.config
        pictures = batch.flatten(0, 1)
        quantized = model.quantize(pictures)
        rebuilt, wanted = model.rebuild(quantized.vectors).float(), scaled(pictures)
        rebuild = (rebuilt - wanted).abs().mean()
        moved = difference(wanted).square().mean().clamp(min=1e-6)
        motion = (difference(rebuilt) - difference(wanted)).square().mean() / moved
        loss = rebuild + config.motion_weight * motion + config.commitment_weight * quantized.commitment
        return loss, {
            "rebuild": rebuild.detach(),
            "motion": motion.detach(),
            "commitment": quantized.commitment.detach(),
            "codes": perplexity(quantized.tokens.reshape(1, -1), config.model.codebook_size)[0],
        }


def difference(pictures: Tensor) -> Tensor:
    """What changes within pairs: [2·P, 1, H, W], the two of a pair side by side → [P, 1, H, W]."""
    return pictures[1::2] - pictures[::2]


def train_video_tokenizer(config: VideoTokenizerStageConfig, prepared: Path, folder: Path) -> None:
    """Run the stage: `model.safetensors`, `config.json`, `log.jsonl` in `folder`.

    Raises:
        ValueError: the prepared clips hold no faces.
    """
    cache = AudioCache(prepared)
    batches = FacePairs(
        cache,
        [clip for clip in cache.clips if clip.split == "train"],
        pairs=config.pairs,
        apart=config.apart,
        power=config.speaker_power,
        augment=config.augment,
        seed=config.loop.seed,
    )
    save_config(config, folder / "config.json")
    train(VideoTokenizerTask(config, batches), config.loop, folder, "video tokenizer")
