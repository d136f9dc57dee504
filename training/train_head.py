"""Stage `head`: what ships on top of the frozen student, trained to stand every state of line and leg.

Cold lines, lines heard for 5 to 400 utterances, balanced or not; legs of three kinds (`training.data.legs`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from safetensors.numpy import load_file, save_file
from torch import Tensor, nn
from torch.utils.data import Dataset

from models.audio_tokenizer import AudioTokenizer
from models.config import HeadConfig
from models.heads import LineRelativeHead
from models.student import AudioEncoder
from training.config import save_config
from training.corpora.labels import CATEGORIES, CIRCUMPLEX, Target
from training.data.cache import AudioCache, Clip
from training.data.legs import EmbeddingTable, LegKind, LegSimulator, LineSimulator, Population, population_of
from training.data.telephony import TelephonyConfig, simulate
from training.data.tokens import TokenStore
from training.data.tones import network_tone
from training.embed import embed_tokens
from training.engine import LoopConfig, train
from training.finetune import balanced_weights, labelled_numbers, smooth
from training.objectives import masked_cross_entropy

Floats = npt.NDArray[np.float32]
NOT_SPEECH = ("music", "ambient", "tone")
SPEECH_LIKE = ("nonverbal",)


@dataclass(frozen=True, slots=True)
class HeadStageConfig:
    """Everything that the stage needs to know.

    cold_chance, leg_chance: how often a row has no line profile, and has a leg. prior_n: see `app.inference.line_profile`.
    """

    model: HeadConfig = field(default_factory=HeadConfig)
    loop: LoopConfig = field(
        default_factory=lambda: LoopConfig(
            steps=2500, learning_rate=1e-3, weight_decay=0.05, precision="fp32", workers=0, ema_decay=0.995
        )
    )
    rows: int = 256
    gate_rows: int = 128
    variants: int = 4
    tones: int = 400
    prior_n: float = 10.0
    cold_chance: float = 0.4
    leg_chance: float = 0.5
    profiles_per_corpus: int = 300
    label_smoothing: float = 0.05
    dimension_weight: float = 1.0
    speech_weight: float = 0.5
    corpus_power: float = 0.5
    embedding_noise: float = 0.1


def dimension_targets(target: Target | None, clip: Clip) -> tuple[Floats, npt.NDArray[np.bool_]]:
    """(arousal, valence) and which of the two is known: mapped from categories, or the corpus's own arousal."""
    if clip.arousal is not None:
        return np.array([clip.arousal, 0.0], np.float32), np.array([True, False])
    if target is None:
        return np.zeros(2, np.float32), np.zeros(2, np.bool_)
    places = np.array([CIRCUMPLEX[name] for name in CATEGORIES], np.float32)
    valence, arousal = target.probabilities @ places
    return np.array([arousal, valence], np.float32), np.ones(2, np.bool_)


@dataclass(frozen=True, slots=True)
class HeadData:
    """Everything the head learns from. `gate`: embeddings of what is not speech [M, D]; `voices`: of what is, beyond the table."""

    table: EmbeddingTable
    labels: Floats
    allowed: npt.NDArray[np.bool_]
    dimensions: Floats
    known: npt.NDArray[np.bool_]
    weights: npt.NDArray[np.float64]
    gate: Floats
    voices: Floats
    population: Population


def table_of(vectors: Floats, clips: Sequence[Clip], targets: Sequence[Target | None]) -> EmbeddingTable:
    """Embeddings with what is known of their clips."""
    category = [-1 if t is None or t.hard is None else t.hard for t in targets]
    return EmbeddingTable(
        vectors,
        np.array(category, dtype=np.int64),
        np.array([c.corpus for c in clips]),
        np.array([c.speaker for c in clips]),
    )


def embed_variants(
    encoder: AudioEncoder, store: TokenStore, numbers: Sequence[int], variants: int, label: str
) -> Floats:
    """Embeddings [V, N, D] of clips in the first `variants` renderings; what a rendering lacks is the plain one."""
    stacked = []
    for variant in range(min(variants, store.variants)):
        rows = [store.tokens(variant if store.length(variant, n) else 0, n) for n in numbers]
        stacked.append(embed_tokens(encoder, rows, f"{label} {variant}"))
    return np.stack(stacked)


@torch.no_grad()
def tone_tokens(tokenizer: AudioTokenizer, count: int, seed: int) -> list[npt.NDArray[np.int64]]:
    """Tokens of made network tones, each through a random line."""
    rng = np.random.default_rng(seed)
    rows = []
    for _ in range(count):
        audio = network_tone(rng, rng.uniform(0.8, 4.0))
        heard = simulate(audio, slice(None), TelephonyConfig(), rng)
        heard = heard[: len(heard) // tokenizer.config.hop_samples * tokenizer.config.hop_samples]
        tokens, _ = tokenizer(torch.from_numpy(heard)[None], tokenizer.initial_state(1))
        rows.append(tokens[0].numpy())
    return rows


def is_kind(clip: Clip, kinds: Sequence[str]) -> bool:
    """Whether a noise clip's kind begins with one of these."""
    return clip.kind is not None and clip.kind.startswith(tuple(kinds))


def gather(
    config: HeadStageConfig,
    encoder: AudioEncoder,
    tokenizer: AudioTokenizer,
    cache: AudioCache,
    store: TokenStore,
) -> HeadData:
    """Embed the training clips and lay out their targets."""
    clips = cache.clips
    targets = labelled_numbers(clips, "train")
    rated = [n for n, c in enumerate(clips) if c.split == "train" and c.arousal is not None]
    numbers = [n for n in (*targets, *rated) if store.length(0, n) >= 2]
    known_targets = [targets.get(n) for n in numbers]
    chosen = [clips[n] for n in numbers]
    table = table_of(embed_variants(encoder, store, numbers, config.variants, "embed"), chosen, known_targets)
    labelled = [i for i, t in enumerate(known_targets) if t is not None]
    weights = np.zeros(len(numbers))
    named = [t for t in known_targets if t is not None]
    weights[labelled] = balanced_weights([chosen[i] for i in labelled], named, config.corpus_power)
    rest = weights == 0
    if rest.any():
        weights[rest] = 0.1 * weights.sum() / rest.sum()
    dimensions = [dimension_targets(t, c) for t, c in zip(known_targets, chosen, strict=True)]
    blank = np.zeros(len(CATEGORIES))
    gate = [n for n, c in enumerate(clips) if c.split == "train" and is_kind(c, NOT_SPEECH)]
    voices = [
        n
        for n, c in enumerate(clips)
        if c.split == "train" and is_kind(c, SPEECH_LIKE) and store.length(0, n) > 4
    ]
    voices += [n for n, c in enumerate(clips) if c.split == "train" and c.kind is None and c.emotion is None]
    width = encoder.config.embedding_dim
    tones = embed_tokens(encoder, tone_tokens(tokenizer, config.tones, config.loop.seed), "embed tones")
    recorded = (
        embed_variants(encoder, store, gate, config.variants, "embed noise").reshape(-1, width)
        if gate
        else tones[:0]
    )
    heard = (
        embed_variants(encoder, store, voices, 2, "embed voices").reshape(-1, width) if voices else tones[:0]
    )
    return HeadData(
        table=table,
        labels=np.array([blank if t is None else t.probabilities for t in known_targets], np.float32),
        allowed=np.array([blank > 1 if t is None else t.mask for t in known_targets]),
        dimensions=np.array([d for d, _ in dimensions]),
        known=np.array([k for _, k in dimensions]),
        weights=weights / weights.sum(),
        gate=np.concatenate([tones, recorded]),
        voices=heard,
        population=population_of(table, config.prior_n),
    )


class HeadBatches(Dataset[dict[str, Tensor]]):
    """Step number → rows in random states of line and leg."""

    def __init__(self, data: HeadData, config: HeadStageConfig) -> None:
        self._data, self._config = data, config
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
        music = data.gate[rng.integers(len(data.gate), size=config.gate_rows)]
        voices = (
            data.voices[rng.integers(len(data.voices), size=config.gate_rows // 2)]
            if len(data.voices)
            else music[:0]
        )
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
            "music": torch.from_numpy(music),
            "voices": torch.from_numpy(voices),
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

    def __init__(self, config: HeadStageConfig, data: HeadData) -> None:
        self.config = config
        torch.manual_seed(config.loop.seed)
        self.module: LineRelativeHead = LineRelativeHead(
            config.model, data.table.vectors.shape[2], len(CATEGORIES)
        )
        self.module.population_mean.copy_(torch.from_numpy(data.population.mean))
        self.module.population_std.copy_(torch.from_numpy(np.sqrt(data.population.var)))
        self.batches = HeadBatches(data, config)

    def loss(self, batch: Mapping[str, Tensor]) -> tuple[Tensor, Mapping[str, Tensor]]:
        """Categories + dimensions + the speech gate."""
        config = self.config
        state = [batch[key] for key in ("line_mean", "line_std", "line_n", "leg_mean", "leg_n")]
        output = self.module.outputs(batch["embedding"], *state)
        rows = batch["allowed"].any(dim=1)
        wanted = smooth(batch["label"], batch["allowed"], config.label_smoothing)[rows]
        labels = masked_cross_entropy(output.logits[rows], wanted, batch["allowed"][rows]).mean()
        guess = torch.stack([output.arousal, output.valence], dim=1)
        dimensions = (guess - batch["dimensions"]).square()[batch["known"]].mean()
        other = torch.cat([batch["music"], batch["voices"]])
        filler = [value[:1].expand(len(other), *value.shape[1:]) for value in state]
        gate = torch.cat([output.speech, self.module.outputs(other, *filler).speech])
        truth = torch.ones_like(gate)
        truth[len(output.speech) : len(output.speech) + len(batch["music"])] = 0.0
        speech = nn.functional.binary_cross_entropy_with_logits(gate, truth)
        loss = labels + config.dimension_weight * dimensions + config.speech_weight * speech
        return loss, {"labels": labels.detach(), "dimensions": dimensions.detach(), "speech": speech.detach()}


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
    data = gather(config, encoder, tokenizer, AudioCache(prepared), TokenStore(tokens))
    save_file({"mean": data.population.mean, "var": data.population.var}, folder / "population.safetensors")
    train(HeadTask(config, data), config.loop, folder, "head")


def load_population(folder: Path, prior_n: float) -> Population:
    """What `train_head` wrote."""
    parts = load_file(folder / "population.safetensors")
    return Population(parts["mean"], parts["var"], prior_n)
