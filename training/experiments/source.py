"""The run that an experiment starts from: its configuration, data and weights, read only."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeVar

from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from models.config import EncoderConfig, MaeConfig, TokenizerConfig
from training.config import build
from training.data.cache import AudioCache
from training.data.tokens import TokenStore
from training.experiments.ledger import ExperimentError

T = TypeVar("T")

WEIGHTS = "model.safetensors"


class Source:
    """A run's folder, as `training.run` writes it. Sizes come from its own `config.json`, whatever today's defaults."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._raw: dict[str, Any] = json.loads(self._demand("config.json").read_text(encoding="utf-8"))

    def config(self, kind: type[T], *keys: str) -> T:
        """A part of the run's configuration."""
        value: Any = self._raw
        for key in keys:
            value = value[key]
        return build(kind, value, f"{self.folder / 'config.json'}: {'.'.join(keys)}")

    def tokenizer(self) -> TokenizerConfig:
        """Sizes of the audio tokens."""
        return self.config(TokenizerConfig, "tokenizer", "model")

    def encoder(self, teacher_dim: int = 0) -> EncoderConfig:
        """Sizes of the audio encoder."""
        found = self.config(EncoderConfig, "pretrain", "model", "encoder")
        return replace(found, teacher_dim=teacher_dim)

    def autoencoder(self) -> MaeConfig:
        """Sizes of the masked autoencoder; its encoder predicts what the cache's teacher says."""
        return replace(
            self.config(MaeConfig, "pretrain", "model"), encoder=self.encoder(self.cache().teacher_dim)
        )

    def cache(self) -> AudioCache:
        """Every clip."""
        return AudioCache(self._demand("prepare/index.jsonl").parent)

    def store(self) -> TokenStore:
        """Every clip's tokens."""
        return TokenStore(self._demand("tokenise/facts.json").parent)

    def weights(self, stage: str) -> Path:
        """What a stage learned."""
        return self._demand(f"{stage}/{WEIGHTS}")

    def _demand(self, name: str) -> Path:
        path = self.folder / name
        if not path.exists():
            raise ExperimentError(
                f"{path} is missing: the experiment reads what an earlier stage writes there"
            )
        return path


def audio_half(path: Path) -> dict[str, Tensor]:
    """The audio encoder's weights out of a pretraining checkpoint, without the map to the teacher's frames.

    Raises:
        ExperimentError: a file that is none, or holds no `audio.` weights.
    """
    try:
        tensors = load_file(path)
    except (OSError, SafetensorError) as error:
        raise ExperimentError(f"{path} is not a checkpoint: {' '.join(str(error).split())}") from error
    found = without(tensors, "audio.")
    if not found:
        raise ExperimentError(f"{path} holds no audio encoder, expected the output of the stage pretrain")
    return {name: value for name, value in found.items() if not name.startswith("frame_head.")}


def without(tensors: Mapping[str, Tensor], prefix: str) -> dict[str, Tensor]:
    """The tensors under a prefix, by the rest of their names."""
    return {name.removeprefix(prefix): value for name, value in tensors.items() if name.startswith(prefix)}


def fingerprint(path: Path) -> str:
    """First digits of the SHA-256 of a file: says whether a finished arm began from these very weights."""
    return hashlib.sha256(path.read_bytes()).hexdigest()[:12]
