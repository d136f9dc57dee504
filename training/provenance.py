"""Where a bundle comes from: what its manifest and card say of corpora, stages, teachers and sizes."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import nn

from models.quantizer import perplexity
from training.corpora.labels import EVALUATION_ONLY
from training.corpora.manifest import Segment
from training.corpora.registry import describe
from training.data.tokens import TokenStore
from training.export import Parts

TEACHERS = {
    "whisper-base": {
        "name": "Whisper-base encoder (OpenAI)",
        "licence": "MIT",
        "used_for": "frame targets (layer 3), and trained further as a teacher; not needed afterwards",
    },
    "whisper-tiny": {
        "name": "Whisper-tiny encoder (OpenAI)",
        "licence": "MIT",
        "used_for": "trained further as a teacher; not needed afterwards",
    },
}

WHAT = {
    "prepare": "decode, cut to speech, listen with the teacher, keep the faces",
    "tokenizer": "audio VQ-VAE: rebuild clean sound, predict the teacher's frames",
    "video_tokenizer": "video VQ-VAE: rebuild face crops and what moves in them",
    "tokenise": "tokens of every clip in several telephone renderings, and of every face",
    "pretrain": "audiovisual masked autoencoder on tokens, without labels",
    "teach": "a large pretrained speech encoder learns the labels, and hears every training clip",
    "finetune": "the audiovisual model learns the labels",
    "distil": "the audio-only student and its tokenizer, from the teachers and labels",
    "retokenise": "tokens by the student's own tokenizer",
    "head": "head for every state of line and leg, and the kinds of sound",
    "calibrate": "temperature and thresholds, on dev",
    "export": "ONNX graphs, golden pairs, manifest",
    "evaluate": "figures and card",
}


def stage_rows(seconds: Mapping[str, float], steps: Mapping[str, int | None]) -> list[dict[str, Any]]:
    """One row for every stage that was timed, in order."""
    return [
        {"name": stage, "what": what, "steps": steps.get(stage), "seconds": seconds[stage]}
        for stage, what in WHAT.items()
        if stage in seconds
    ]


def corpus_rows(segments: Sequence[Segment]) -> list[dict[str, Any]]:
    """One row for every corpus, with what it served for."""
    return describe(segments, {name: _use(name, segments) for name in {s.corpus for s in segments}})


def parameter_counts(parts: Parts) -> dict[str, int]:
    """Numbers that the exported graphs hold, by part."""
    return {
        "tokenizer": served_parameters(parts.tokenizer),
        "encoder": served_parameters(parts.encoder),
        "head": sum(p.numel() for p in parts.head.parameters()),
    }


def served_parameters(module: nn.Module) -> int:
    """Numbers that the exported graph holds: no decoder, no frame head; codebooks count."""
    skipped = ("decoder.", "frame_head.")
    total = sum(p.numel() for name, p in module.named_parameters() if not name.startswith(skipped))
    return total + sum(b.numel() for name, b in module.named_buffers() if name.endswith("codebooks"))


def token_perplexity(store: TokenStore, numbers: Sequence[int], codebook_size: int) -> list[float]:
    """How many codes of each codebook are in use (exp of the entropy) over the plain rendering of these clips."""
    tokens = np.concatenate([store.tokens(0, number) for number in numbers], axis=1)
    return [round(float(v), 1) for v in perplexity(torch.from_numpy(tokens), codebook_size)]


def commit() -> str:
    """The code's version as git tells it; `unknown` outside a checkout."""
    git = shutil.which("git")
    if git is None:
        return "unknown"
    try:
        done = subprocess.run(  # noqa: S603 - a fixed command
            [git, "describe", "--always", "--dirty"], capture_output=True, text=True, check=True
        )
    except (OSError, subprocess.CalledProcessError):
        return "unknown"
    return done.stdout.strip()


def _use(corpus: str, segments: Sequence[Segment]) -> str:
    own = [s for s in segments if s.corpus == corpus]
    splits = ", ".join(sorted({s.split for s in own}))
    if corpus in EVALUATION_ONLY:
        return "evaluation only"
    if all(s.kind for s in own):
        return f"noise mixed in, and what is not speech ({splits})"
    if any(s.emotion or s.votes for s in own):
        return f"labels ({splits})"
    if any(s.arousal is not None for s in own):
        return "arousal, pretraining"
    return "tokenizer and pretraining, no labels"
