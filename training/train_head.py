"""Stage `head`: what ships on top of the frozen student, trained to stand every state of line and leg.

Cold lines, lines heard for 5 to 400 utterances, balanced or not; legs of three kinds (`training.data.legs`).
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.numpy import load_file, save_file
from torch import Tensor, nn
from torch.utils.data import Dataset

from models.audio_tokenizer import AudioTokenizer
from models.heads import LineRelativeHead
from models.student import AudioEncoder
from training.config import save_config
from training.corpora.labels import CATEGORIES
from training.data.cache import AudioCache
from training.data.legs import LegKind, LegSimulator, LineSimulator, Population
from training.data.tokens import TokenStore
from training.engine import train
from training.head_data import Floats, HeadData, HeadStageConfig, gather
from training.line_classifier import smooth
from training.objectives import masked_cross_entropy
from training.sounds import SoundData, gather_sounds


class HeadBatches(Dataset[dict[str, Tensor]]):
    """Step number → rows in random states of line and leg, and sounds of every kind."""

    def __init__(self, data: HeadData, sounds: SoundData, config: HeadStageConfig) -> None:
        self._data, self._sounds, self._config = data, sounds, config
        self._legs = LegSimulator(data.table)
        rng = np.random.default_rng(config.loop.seed)
        lines = LineSimulator(data.table, data.population)
        self._cold = lines.cold()
        self._profiles = {
            str(name): [self._profile(lines, str(name), rng) for _ in range(config.profiles_per_corpus)]
            for name in np.unique(data.table.corpus)
        }

    @staticmethod
    def _profile(lines: LineSimulator, corpus: str, rng: np.random.Generator) -> tuple[int, Floats, Floats]:
        n = int(np.exp(rng.uniform(np.log(5), np.log(400))))
        return n, *lines.draw(corpus, n, rng, uneven=rng.random() < 0.5)

    def __getitem__(self, step: int) -> dict[str, Tensor]:
        data, config = self._data, self._config
        rng = np.random.default_rng([config.loop.seed, step])
        chosen = rng.choice(len(data.weights), size=config.rows, p=data.weights)
        renderings = rng.integers(len(data.table.vectors), size=config.rows)
        embedding = data.table.vectors[renderings, chosen]
        states = [self._state(int(clip), rng) for clip in chosen]
        spread = np.sqrt(data.population.var)
        noise = rng.standard_normal(embedding.shape).astype(np.float32) * spread * config.embedding_noise
        heard = self._sounds.draw(config.gate_rows, rng)
        return {
            "embedding": torch.from_numpy(embedding + noise),
            **{
                key: torch.from_numpy(np.stack([state[key] for state in states]).astype(np.float32))
                for key in ("line_mean", "line_std", "line_n", "leg_mean", "leg_n")
            },
            "label": torch.from_numpy(data.labels[chosen]),
            "allowed": torch.from_numpy(data.allowed[chosen]),
            "dimensions": torch.from_numpy(data.dimensions[chosen]),
            "known": torch.from_numpy(data.known[chosen]),
            "sound": torch.from_numpy(self._sounds.vectors[heard]),
            "kind": torch.from_numpy(self._sounds.kind[heard]),
        }

    def _state(self, clip: int, rng: np.random.Generator) -> dict[str, Any]:
        config = self._config
        n, (mean, std) = 0, self._cold
        if rng.random() >= config.cold_chance:
            pool = self._profiles[str(self._data.table.corpus[clip])]
            n, mean, std = pool[rng.integers(len(pool))]
        leg_n, leg = 0, None
        if rng.random() < config.leg_chance:
            leg_n = int(rng.integers(1, 25))
            kind = list(LegKind)[rng.integers(len(LegKind))]
            leg = self._legs.draw(clip, kind, leg_n, rng)
        if leg is None:
            leg_n, leg = 0, np.zeros_like(mean)
        return {"line_mean": mean, "line_std": std, "line_n": n, "leg_mean": leg, "leg_n": leg_n}


class HeadTask:
    """Loss of the head stage."""

    def __init__(self, config: HeadStageConfig, data: HeadData, sounds: SoundData) -> None:
        self.config = config
        torch.manual_seed(config.loop.seed)
        self.module: LineRelativeHead = LineRelativeHead(
            config.model, data.table.vectors.shape[2], len(CATEGORIES)
        )
        self.module.population_mean.copy_(torch.from_numpy(data.population.mean))
        self.module.population_std.copy_(torch.from_numpy(np.sqrt(data.population.var)))
        self.batches = HeadBatches(data, sounds, config)

    def loss(self, batch: Mapping[str, Tensor]) -> tuple[Tensor, Mapping[str, Tensor]]:
        """Categories + dimensions + kinds of sound."""
        config = self.config
        state = [batch[key] for key in ("line_mean", "line_std", "line_n", "leg_mean", "leg_n")]
        output = self.module.outputs(batch["embedding"], *state)
        rows = batch["allowed"].any(dim=1)
        wanted = smooth(batch["label"], batch["allowed"], config.label_smoothing)[rows]
        labels = masked_cross_entropy(output.logits[rows], wanted, batch["allowed"][rows]).mean()
        guess = torch.stack([output.arousal, output.valence], dim=1)
        dimensions = (guess - batch["dimensions"]).square()[batch["known"]].mean()
        sound = self._sound_loss(batch)
        loss = labels + config.dimension_weight * dimensions + config.speech_weight * sound
        return loss, {"labels": labels.detach(), "dimensions": dimensions.detach(), "sound": sound.detach()}

    def _sound_loss(self, batch: Mapping[str, Tensor]) -> Tensor:
        """Cross-entropy of the kinds of sound: the rows are speech, the drawn sounds what they are."""
        heard = torch.cat([batch["embedding"], batch["sound"]])
        blur = self.config.sound_noise * self.module.population_std * torch.randn_like(heard)
        truth = torch.cat([batch["kind"].new_zeros(len(batch["embedding"])), batch["kind"]])
        return nn.functional.cross_entropy(
            self.module.hear(heard + blur), truth, label_smoothing=self.config.sound_smoothing
        )


def train_head(
    config: HeadStageConfig,
    encoder: AudioEncoder,
    tokenizer: AudioTokenizer,
    prepared: Path,
    tokens: Path,
    folder: Path,
) -> None:
    """Run the stage: `model.safetensors`, `population.safetensors`, `config.json`, `log.jsonl` in `folder`."""
    save_config(config, folder / "config.json")
    cache, store = AudioCache(prepared), TokenStore(tokens)
    data = gather(config, encoder, cache, store)
    sounds = gather_sounds(config, encoder, tokenizer, cache, store)
    save_file({"mean": data.population.mean, "var": data.population.var}, folder / "population.safetensors")
    train(HeadTask(config, data, sounds), config.loop, folder, "head")


def load_population(folder: Path, prior_n: float) -> Population:
    """What `train_head` wrote."""
    parts = load_file(folder / "population.safetensors")
    return Population(parts["mean"], parts["var"], prior_n)
