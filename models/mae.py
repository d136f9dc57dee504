"""Masked autoencoder over discrete tokens with cross-modal attention, after VQ-MAE-AV (Sadok et al. 2023).

Hidden positions keep their place and get a learned mask vector. Either modality may be absent.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn

from models.audiovisual import AudiovisualEncoder, TokenBatch, Views, clip_mean, hide
from models.config import MaeConfig, TokenizerConfig
from models.student import Encoded
from models.transformer import Transformer

__all__ = ["MaeOutput", "MaskedAutoencoder", "TokenBatch", "TokenPredictor", "hide"]


@dataclass(frozen=True, slots=True)
class MaeOutput:
    """What was guessed: logits [B, T, K, N] of each modality, None where it is absent; and the views behind them."""

    views: Views
    audio_logits: Tensor | None
    video_logits: Tensor | None

    @property
    def audio(self) -> Encoded | None:
        """The voice alone."""
        return self.views.audio

    @property
    def video_embedding(self) -> Tensor | None:
        """The face alone, pooled [B, E]."""
        return self.views.video_embedding


class TokenPredictor(nn.Module):
    """Decoder of one modality: a few layers, then logits over each codebook."""

    def __init__(self, config: MaeConfig, codebooks: int, codebook_size: int) -> None:
        super().__init__()
        self.codebooks = codebooks
        self.layers = Transformer(replace(config.encoder.transformer, layers=config.decoder_layers))
        self.logits = nn.Linear(config.encoder.transformer.dim, codebooks * codebook_size)

    def forward(self, frames: Tensor, valid: Tensor) -> Tensor:
        """[B, T, D] → [B, T, K, N]."""
        y: Tensor = self.logits(self.layers(frames, valid))
        return y.reshape(*y.shape[:2], self.codebooks, -1)


class Synchrony(nn.Module):
    """How well the course of each voice fits that of each face of a batch, moment by moment."""

    def __init__(self, dim: int, width: int) -> None:
        super().__init__()
        self.audio = nn.Linear(dim, width, bias=False)
        self.video = nn.Linear(dim, width, bias=False)
        self.log_temperature = nn.Parameter(torch.tensor(0.07).log())

    def forward(self, voices: Tensor, faces: Tensor, valid: Tensor) -> Tensor:
        """Frames [B, T, D] of both on one clock, valid [B, T] → cosines [B, B], voice by face.

        Both are projected, and what stays the same through a clip is taken off: who speaks can't help.
        """
        courses = []
        for frames, project in ((voices, self.audio), (faces, self.video)):
            projected = project(frames).float()
            moving = (projected - clip_mean(projected, valid)) * valid[:, :, None]
            courses.append(nn.functional.normalize(moving.flatten(1), dim=1, eps=1e-6))
        return courses[0] @ courses[1].t()


class MaskedAutoencoder(AudiovisualEncoder):
    """Per-modality encoders → cross-attention → per-modality decoders of the hidden tokens."""

    def __init__(self, config: MaeConfig, tokenizer: TokenizerConfig) -> None:
        super().__init__(config, tokenizer)
        self.audio_decoder = TokenPredictor(config, tokenizer.codebooks, tokenizer.codebook_size)
        self.video_decoder = TokenPredictor(config, config.video.grid, config.video.codebook_size)
        self.synchrony = Synchrony(config.encoder.transformer.dim, config.sync_dim)
        self.log_temperature = nn.Parameter(torch.tensor(0.07).log())

    def forward(self, audio: TokenBatch | None, video: TokenBatch | None = None) -> MaeOutput:
        """Encode what is visible, guess what is hidden."""
        views = self.look(audio, video)
        audio_logits = video_logits = None
        if audio is not None and views.audio_joined is not None:
            audio_logits = self.audio_decoder(views.audio_joined, audio.valid)
        if video is not None and views.video_joined is not None:
            video_logits = self.video_decoder(views.video_joined, video.valid)
        return MaeOutput(views, audio_logits, video_logits)
