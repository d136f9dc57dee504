"""Masked autoencoder over discrete tokens with cross-modal attention, after VQ-MAE-AV (Sadok et al. 2023).

Hidden positions keep their place and get a learned mask vector. Any modality but audio may be absent.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn

from models.config import MaeConfig, TokenizerConfig
from models.fusion import CrossModalFusion
from models.pooling import AttentivePooling
from models.student import AudioEncoder, Encoded, TokenEmbedding, lengths_to_valid
from models.transformer import Transformer


@dataclass(frozen=True, slots=True)
class TokenBatch:
    """Tokens int64 [B, K, T] of one modality, lengths int64 [B] and which positions are hidden, bool [B, T]."""

    tokens: Tensor
    length: Tensor
    hidden: Tensor | None = None

    @property
    def valid(self) -> Tensor:
        """True where there is content, [B, T]."""
        return lengths_to_valid(self.length, self.tokens.shape[2])


@dataclass(frozen=True, slots=True)
class MaeOutput:
    """audio: the audio half's features; audio_logits: [B, T, K, N]; the video ones None when it is absent."""

    audio: Encoded
    audio_logits: Tensor
    video_logits: Tensor | None
    video_embedding: Tensor | None


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


class MaskedAutoencoder(nn.Module):
    """Per-modality encoders → cross-attention → per-modality decoders of the hidden tokens."""

    def __init__(self, config: MaeConfig, tokenizer: TokenizerConfig) -> None:
        super().__init__()
        self.config = config
        transformer, video = config.encoder.transformer, config.video
        self.audio = AudioEncoder(config.encoder, tokenizer)
        self.video_embed = TokenEmbedding(video.grid, video.codebook_size, transformer.dim)
        self.video_layers = Transformer(replace(transformer, layers=video.layers))
        self.video_pool = AttentivePooling(transformer.dim, config.encoder.embedding_dim)
        self.audio_mask = nn.Parameter(torch.zeros(transformer.dim))
        self.video_mask = nn.Parameter(torch.zeros(transformer.dim))
        self.to_video = CrossModalFusion(transformer, config.fusion_layers)
        self.to_audio = CrossModalFusion(transformer, config.fusion_layers)
        self.audio_decoder = TokenPredictor(config, tokenizer.codebooks, tokenizer.codebook_size)
        self.video_decoder = TokenPredictor(config, video.grid, video.codebook_size)
        self.log_temperature = nn.Parameter(torch.tensor(0.07).log())

    def forward(self, audio: TokenBatch, video: TokenBatch | None = None) -> MaeOutput:
        """Encode what is visible, guess what is hidden."""
        embedded = hide(self.audio.embed(audio.tokens), audio.hidden, self.audio_mask)
        encoded = self.audio.encode(embedded, audio.valid)
        if video is None:
            joined = self.to_video(encoded.frames, None, None)
            return MaeOutput(encoded, self.audio_decoder(joined, audio.valid), None, None)
        seen = self.video_layers(
            hide(self.video_embed(video.tokens), video.hidden, self.video_mask), video.valid
        )
        joined = self.to_video(encoded.frames, seen, video.valid)
        looked = self.to_audio(seen, encoded.frames, audio.valid)
        video_embedding, _ = self.video_pool(seen, video.valid)
        return MaeOutput(
            encoded,
            self.audio_decoder(joined, audio.valid),
            self.video_decoder(looked, video.valid),
            video_embedding,
        )


def hide(embedded: Tensor, hidden: Tensor | None, mask_vector: Tensor) -> Tensor:
    """Replace the hidden positions of [B, T, D] by the mask vector [D]."""
    if hidden is None:
        return embedded
    return torch.where(hidden[:, :, None], mask_vector.to(embedded.dtype), embedded)
