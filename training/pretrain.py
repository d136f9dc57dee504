"""Stage `pretrain`: a masked autoencoder learns from tokens without labels.

It guesses hidden tokens, predicts the teacher's frames, and where a batch has video, pulls a clip's two halves
together.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import torch
from torch import Tensor

from models.config import MaeConfig, TokenizerConfig
from models.mae import MaskedAutoencoder, TokenBatch
from models.masking import span_mask
from models.student import lengths_to_valid
from training.config import save_config
from training.data.cache import AudioCache
from training.data.token_batches import TokenBatchConfig, TokenBatches, unlabelled_data
from training.data.tokens import TokenStore
from training.engine import LoopConfig, train
from training.objectives import frame_loss, hidden_token_loss, info_nce
from training.train_tokenizer import LearnedTokenizer, corpus_weights


@dataclass(frozen=True, slots=True)
class PretrainConfig:
    """Everything that the stage needs to know."""

    model: MaeConfig = field(default_factory=MaeConfig)
    loop: LoopConfig = field(default_factory=lambda: LoopConfig(steps=1500))
    batches: TokenBatchConfig = field(default_factory=TokenBatchConfig)
    frame_weight: float = 2.0
    token_weight: float = 0.3
    contrastive_weight: float = 0.1


class PretrainTask:
    """Loss of the pretraining stage over `batches` of tokens; batches may also hold `video` and `video_length`."""

    def __init__(self, config: PretrainConfig, module: MaskedAutoencoder, batches: TokenBatches) -> None:
        self.config, self.module, self.batches = config, module, batches

    def loss(self, batch: Mapping[str, Tensor]) -> tuple[Tensor, Mapping[str, Tensor]]:
        """Hidden tokens + frames + (with video) hidden video tokens and the contrastive loss."""
        model, config = self.module, self.config
        audio = self._hidden(batch["tokens"], batch["length"])
        video = self._hidden(batch["video"], batch["video_length"]) if "video" in batch else None
        if video is not None and config.model.mask_coupled:
            video = TokenBatch(video.tokens, video.length, _stretched(_mask_of(audio), video.valid))
        output = model(audio, video)
        tokens = hidden_token_loss(output.audio_logits, audio.tokens, _mask_of(audio))
        loss = config.token_weight * tokens
        figures = {"tokens": tokens.detach()}
        if batch["target"].shape[2]:
            heard = audio.valid & batch["heard"][:, None]
            frames = frame_loss(model.audio.predict_frames(output.audio.frames), batch["target"], heard)
            loss = loss + config.frame_weight * frames
            figures["frames"] = frames.detach()
        if video is not None and output.video_logits is not None and output.video_embedding is not None:
            seen = hidden_token_loss(output.video_logits, video.tokens, _mask_of(video))
            pairs = info_nce(output.audio.embedding, output.video_embedding, model.log_temperature)
            loss = loss + config.token_weight * seen + config.contrastive_weight * pairs
            figures |= {"video_tokens": seen.detach(), "contrastive": pairs.detach()}
        return loss, figures

    def _hidden(self, tokens: Tensor, length: Tensor) -> TokenBatch:
        config = self.config.model
        generator = torch.Generator().manual_seed(int(torch.randint(2**31, ())))
        valid = lengths_to_valid(length, tokens.shape[2])
        return TokenBatch(tokens, length, span_mask(valid, config.mask_ratio, config.mask_span, generator))


def _mask_of(batch: TokenBatch) -> Tensor:
    if batch.hidden is None:
        raise ValueError("expected a batch with hidden positions")
    return batch.hidden


def _stretched(hidden: Tensor, valid: Tensor) -> Tensor:
    """The same moments hidden in a modality of another frame rate (both start and end together)."""
    places = torch.arange(valid.shape[1]) * hidden.shape[1] // valid.shape[1]
    return hidden[:, places] & valid


def pretrain(
    config: PretrainConfig,
    tokenizer: TokenizerConfig,
    start: LearnedTokenizer,
    prepared: Path,
    tokens: Path,
    folder: Path,
) -> None:
    """Run the stage: `model.safetensors` (the whole autoencoder), `config.json`, `log.jsonl` in `folder`."""
    save_config(config, folder / "config.json")
    cache, store = AudioCache(prepared), TokenStore(tokens)
    numbers = [n for n, c in enumerate(cache.clips) if c.split == "train" and store.length(0, n) >= 4]
    weights = corpus_weights([cache.clips[n] for n in numbers])
    torch.manual_seed(config.loop.seed)
    model = MaskedAutoencoder(config.model, tokenizer)
    handed = start.hand_over()
    model.audio.load_state_dict(handed.state_dict())
    batches = TokenBatches(unlabelled_data(cache, store, numbers, weights), config.batches, config.loop.seed)
    train(PretrainTask(config, model, batches), config.loop, folder, "pretrain")
