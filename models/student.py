"""The audio encoder: tokens to one embedding. Alone it is the student; inside the autoencoder, the audio half."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from models.config import EncoderConfig, TokenizerConfig
from models.pooling import AttentivePooling
from models.transformer import Transformer


@dataclass(frozen=True, slots=True)
class Encoded:
    """frames, middle: [B, T, D]; embedding: [B, E]; salience: [B, T]."""

    frames: Tensor
    middle: Tensor
    embedding: Tensor
    salience: Tensor


class TokenEmbedding(nn.Module):
    """Tokens int64 [B, K, T] → the sum of their codebooks' learned embeddings [B, T, D]."""

    def __init__(self, codebooks: int, codebook_size: int, dim: int) -> None:
        super().__init__()
        self.tables = nn.Embedding(codebooks * codebook_size, dim)
        nn.init.normal_(self.tables.weight, std=0.05)
        self.register_buffer("offsets", torch.arange(codebooks)[:, None] * codebook_size, persistent=False)
        self.offsets: Tensor

    def forward(self, tokens: Tensor) -> Tensor:
        """Embed."""
        embedded: Tensor = self.tables(tokens + self.offsets)
        return embedded.sum(dim=1)

    @torch.no_grad()
    def start_from(self, codebooks: Tensor, projection: Tensor) -> None:
        """Take the codebooks [K, N, C], seen through a projection [D, C], as the first value of the embeddings."""
        self.tables.weight.copy_((codebooks @ projection.t()).flatten(0, 1))


def lengths_to_valid(length: Tensor, time: int) -> Tensor:
    """Lengths [B] → True where t < length, [B, T]."""
    return torch.arange(time, device=length.device)[None] < length[:, None]


class AudioEncoder(nn.Module):
    """Token embedding → transformer → attentive pooling."""

    def __init__(self, config: EncoderConfig, tokenizer: TokenizerConfig) -> None:
        super().__init__()
        self.config = config
        dim = config.transformer.dim
        self.embed = TokenEmbedding(tokenizer.codebooks, tokenizer.codebook_size, dim)
        self.transformer = Transformer(config.transformer)
        self.pool = AttentivePooling(dim, config.embedding_dim)
        self.frame_head = nn.Linear(dim, config.teacher_dim) if config.teacher_dim else None

    def forward(self, tokens: Tensor, length: Tensor) -> tuple[Tensor, Tensor]:
        """The serving graph: tokens int64 [B, K, T], length int64 [B] → embedding [B, E], salience [B, T]."""
        encoded = self.encode(self.embed(tokens), lengths_to_valid(length, tokens.shape[2]))
        return encoded.embedding, encoded.salience

    def encode(self, embedded: Tensor, valid: Tensor) -> Encoded:
        """Embedded tokens [B, T, D] → everything that training looks at."""
        frames, middle = self.transformer.layered(embedded, valid)
        embedding, salience = self.pool(frames, valid)
        return Encoded(frames, middle, embedding, salience)

    def predict_frames(self, frames: Tensor) -> Tensor:
        """Frame features → the teacher's frame targets [B, T, teacher_dim]."""
        if self.frame_head is None:
            raise ValueError("this encoder was built with teacher_dim = 0: it predicts no frame targets")
        predicted: Tensor = self.frame_head(frames)
        return predicted
