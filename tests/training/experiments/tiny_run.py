"""A run folder small enough to experiment on in a moment: made clips and tokens, untrained weights."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path

import torch

from models.mae import MaskedAutoencoder
from tests.models import tiny
from tests.training import made
from training.checkpoint import save_weights
from training.data.telephony import CLEAN
from training.engine import LoopConfig
from training.train_tokenizer import LearnedTokenizer, TokenizerStageConfig

TEACHER_DIM = tiny.ENCODER.teacher_dim
STAGE = TokenizerStageConfig(model=tiny.TOKENIZER, encoder=tiny.ENCODER, telephony=CLEAN)


def loop(steps: int) -> LoopConfig:
    """A loop in this process, on one thread, that repeats anywhere."""
    return LoopConfig(
        steps=steps, learning_rate=0.01, warmup=2, precision="fp32", threads=1, workers=0, ema_decay=0.9,
        save_every=3, log_every=1, device="cpu",
    )  # fmt: skip


def write_run(folder: Path) -> Path:
    """What `training.run` would have written, as far as experiments read it."""
    torch.manual_seed(0)
    cache = made.write_cache(folder / "prepare", made.labelled_clips(), TEACHER_DIM)
    made.write_store(folder / "tokenise", cache, tiny.TOKENIZER.codebooks, tiny.TOKENIZER.codebook_size)
    save_weights(LearnedTokenizer(STAGE, TEACHER_DIM), folder / "tokenizer" / "model.safetensors")
    save_weights(MaskedAutoencoder(tiny.MAE, tiny.TOKENIZER), folder / "pretrain" / "model.safetensors")
    config = {"tokenizer": asdict(STAGE), "pretrain": {"model": asdict(tiny.MAE)}}
    (folder / "config.json").write_text(json.dumps(config))
    return folder
