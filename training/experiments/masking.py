"""Masking: short pretrainings that differ in what is hidden and what is learned, judged by a linear probe.

They begin from an untrained encoder (its token embeddings from the codebooks), so that differences are pretraining's.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import Dataset

from models.config import VideoConfig
from models.mae import MaskedAutoencoder, TokenBatch
from models.masking import span_mask
from models.student import AudioEncoder, lengths_to_valid
from training.checkpoint import load_weights
from training.data.av_batches import AvBatchConfig, MixedBatches
from training.data.batches import pad_rows
from training.data.cache import AudioCache
from training.data.token_batches import TokenBatchConfig, TokenBatches, unlabelled_data
from training.data.tokens import TokenStore
from training.data.video_tokens import VideoTokens, has_video
from training.engine import LoopConfig, train
from training.experiments.ledger import Arm, Outcome
from training.experiments.probe import FloatArray, mean_and_std, probe, probed_numbers
from training.experiments.source import Source, fingerprint
from training.objectives import hidden_token_loss
from training.pretrain import PretrainConfig, PretrainTask
from training.train_tokenizer import LearnedTokenizer, TokenizerStageConfig, corpus_weights

REFERENCE = "half_in_runs"
COMMON_RATIO, COMMON_SPAN = 0.5, 5
"""The mask under which the guesses of all arms are compared."""


@dataclass(frozen=True, slots=True)
class MaskingSettings:
    """What all arms share. described: dev clips behind the loss of hidden tokens."""

    loop: LoopConfig = field(
        default_factory=lambda: LoopConfig(steps=300, warmup=40, ema_decay=0.99, device="cpu")
    )
    batches: TokenBatchConfig = field(
        default_factory=lambda: TokenBatchConfig(budget_frames=2400, max_frames=100)
    )
    described: int = 300


SOUND_ARMS: Mapping[str, Mapping[str, Any]] = {
    REFERENCE: {},
    "quarter": {"mask_ratio": 0.25},
    "three_quarters": {"mask_ratio": 0.75},
    "scattered": {"mask_span": 1},
    "long_runs": {"mask_span": 15},
    "tokens_only": {"frame_weight": 0.0},
    "frames_only": {"token_weight": 0.0},
    "from_tokenizer": {"start": "tokenizer"},
    "untrained": {"trained": False},
}
VIDEO_ARMS: Mapping[str, Mapping[str, Any]] = {
    "audiovisual": {"faces": 0.25, "contrastive_weight": 0.3, "joint_weight": 0.1},
    "audiovisual_coupled": {
        "faces": 0.25,
        "contrastive_weight": 0.3,
        "joint_weight": 0.1,
        "mask_coupled": True,
    },
    "audiovisual_without_contrast": {"faces": 0.25, "contrastive_weight": 0.0, "joint_weight": 0.0},
}
"""Only where the run has video tokens."""
COMMON: Mapping[str, Any] = {
    "mask_ratio": 0.5, "mask_span": 5, "mask_coupled": False, "token_weight": 0.3, "frame_weight": 2.0,
    "start": "untrained", "trained": True, "faces": 0.0, "contrastive_weight": 0.0, "joint_weight": 0.0,
}  # fmt: skip


class Masking:
    """The experiment."""

    name = "masking"
    question = "What should pretraining hide, and learn? UAR of a linear probe on the encoder's frames, dev speakers."

    def __init__(self, source: Source, settings: MaskingSettings) -> None:
        self.source, self.settings = source, settings

    def arms(self) -> Sequence[Arm]:
        """Each changes one thing of the first."""
        wanted = {**SOUND_ARMS, **(VIDEO_ARMS if has_video(self.source.folder / "tokenise") else {})}
        mark = {
            "steps": self.settings.loop.steps,
            "tokenizer": fingerprint(self.source.weights("tokenizer")),
        }
        return [
            Arm(name, {**COMMON, **changes, **mark}, None if name == REFERENCE else REFERENCE)
            for name, changes in wanted.items()
        ]

    def work(self, arm: Arm, seed: int, folder: Path) -> Outcome:
        """Pretrain, then probe; `model.safetensors` stays, for `few_labels --checkpoint`."""
        cache, store = self.source.cache(), self.source.store()
        loop = replace(self.settings.loop, seed=seed)
        config = self._config(arm.config, loop)
        torch.manual_seed(seed)
        model = MaskedAutoencoder(config.model, self.source.tokenizer())
        self._start(model.audio, arm.config["start"])
        if arm.config["trained"]:
            task = PretrainTask(config, model, self._batches(config, model, cache, store))
            train(task, loop, folder, folder.parent.name)
            load_weights(model, folder / "model.safetensors")
        taught, numbers = probed_numbers(cache)
        answers = probe(cache, taught, token_features(model.audio, store, numbers))
        shown = [n for n, c in enumerate(cache.clips) if c.split == "dev" and c.kind is None]
        shown = shown[:: max(1, len(shown) // self.settings.described)]
        guesses = arm.config["trained"] and arm.config["token_weight"]
        return Outcome(answers, {"hidden_token_nats": guessing_loss(model, store, shown)} if guesses else {})

    def _config(self, arm: Mapping[str, Any], loop: LoopConfig) -> PretrainConfig:
        mae = replace(
            self.source.autoencoder(),
            mask_ratio=arm["mask_ratio"],
            mask_span=arm["mask_span"],
            mask_coupled=arm["mask_coupled"],
        )
        if arm["faces"]:
            faces = self._video()
            mae = replace(mae, video=VideoConfig(faces.codebook_size, faces.grid, mae.video.layers))
        return PretrainConfig(
            model=mae,
            loop=loop,
            batches=self.settings.batches,
            faces=AvBatchConfig(share=arm["faces"]),
            frame_weight=arm["frame_weight"],
            token_weight=arm["token_weight"],
            contrastive_weight=arm["contrastive_weight"],
            joint_weight=arm["joint_weight"],
        )

    @torch.no_grad()
    def _start(self, audio: AudioEncoder, start: str) -> None:
        stage = self.source.config(TokenizerStageConfig, "tokenizer")
        learned = LearnedTokenizer(stage, self.source.cache().teacher_dim)
        load_weights(learned, self.source.weights("tokenizer"))
        if start == "tokenizer":
            audio.load_state_dict(learned.hand_over().state_dict())
        else:
            audio.embed.start_from(learned.tokenizer.quantizer.codebooks, learned.project.weight)

    def _batches(
        self, config: PretrainConfig, model: MaskedAutoencoder, cache: AudioCache, store: TokenStore
    ) -> Dataset[dict[str, Tensor]]:
        numbers = [n for n, c in enumerate(cache.clips) if c.split == "train" and store.length(0, n) >= 4]
        data = unlabelled_data(cache, store, numbers, corpus_weights([cache.clips[n] for n in numbers]))
        if not config.faces.share:
            return TokenBatches(data, config.batches, config.loop.seed)
        faces = self._video()
        model.start_video_from(torch.from_numpy(faces.codebook))
        return MixedBatches(replace(data, video=faces), config.batches, config.faces, config.loop.seed)

    def _video(self) -> VideoTokens:
        return VideoTokens(self.source.folder / "tokenise")


@torch.no_grad()
def token_features(
    encoder: AudioEncoder, store: TokenStore, numbers: Sequence[int], batch: int = 32
) -> dict[int, FloatArray]:
    """Mean and deviation over time of the encoder's frames of the plain rendering, by clip number."""
    encoder.eval()
    found: dict[int, FloatArray] = {}
    order = sorted(numbers, key=lambda n: store.length(0, n))
    for at in range(0, len(order), batch):
        chosen = order[at : at + batch]
        tokens, valid, _ = _plain(store, chosen)
        frames = encoder.encode(encoder.embed(tokens), valid).frames
        found |= dict(zip(chosen, mean_and_std(frames, valid), strict=True))
    return found


@torch.no_grad()
def guessing_loss(
    model: MaskedAutoencoder, store: TokenStore, numbers: Sequence[int], batch: int = 32
) -> float:
    """Mean cross-entropy of hidden tokens [nats], half of them in runs of five, from the sound alone."""
    model.eval()
    generator = torch.Generator().manual_seed(0)
    losses, weights = [], []
    for at in range(0, len(numbers), batch):
        tokens, valid, length = _plain(store, numbers[at : at + batch])
        hidden = span_mask(valid, COMMON_RATIO, COMMON_SPAN, generator)
        logits = model(TokenBatch(tokens, length, hidden)).audio_logits
        losses.append(float(hidden_token_loss(logits, tokens, hidden)))
        weights.append(int(hidden.sum()))
    return round(sum(x * w for x, w in zip(losses, weights, strict=True)) / sum(weights), 4)


def _plain(store: TokenStore, numbers: Sequence[int]) -> tuple[Tensor, Tensor, Tensor]:
    """Tokens [B, K, T], where they are valid [B, T], lengths [B]."""
    rows = [store.tokens(0, n) for n in numbers]
    tokens = torch.from_numpy(pad_rows(rows, 1))
    length = torch.tensor([row.shape[1] for row in rows])
    return tokens, lengths_to_valid(length, tokens.shape[2]), length
