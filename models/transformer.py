"""Pre-norm transformer layers with rotary positions (Su et al. 2021), self- and cross-attention."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from models.config import TransformerConfig


def rotary(x: Tensor) -> Tensor:
    """Rotate pairs of channels of [B, H, T, C] by angles that grow with time: products then see distances."""
    half = x.shape[-1] // 2
    rates = torch.exp(torch.arange(half, device=x.device, dtype=torch.float32) * (-6.0 / half))
    angle = torch.arange(x.shape[2], device=x.device, dtype=torch.float32)[:, None] * rates
    cos, sin = angle.cos().to(x.dtype), angle.sin().to(x.dtype)
    a, b = x[..., :half], x[..., half:]
    return torch.cat([a * cos - b * sin, a * sin + b * cos], dim=-1)


class Attention(nn.Module):
    """Multi-head attention of queries [B, T, D] over a memory [B, M, D], where valid [B, M] says there is content."""

    def __init__(self, config: TransformerConfig) -> None:
        super().__init__()
        self.heads = config.heads
        self.query = nn.Linear(config.dim, config.dim)
        self.key_value = nn.Linear(config.dim, 2 * config.dim)
        self.out = nn.Linear(config.dim, config.dim)

    def forward(self, x: Tensor, memory: Tensor, valid: Tensor, *, rotate: bool) -> Tensor:
        """Attend; rotate adds relative positions (both sequences on one clock)."""
        q, (k, v) = self._split(self.query(x)), self.key_value(memory).chunk(2, dim=-1)
        k, v = self._split(k), self._split(v)
        if rotate:
            q, k = rotary(q), rotary(k)
        y = nn.functional.scaled_dot_product_attention(q, k, v, attn_mask=valid[:, None, None, :])
        out: Tensor = self.out(y.transpose(1, 2).flatten(2))
        return out

    def _split(self, x: Tensor) -> Tensor:
        batch, time, dim = x.shape
        return x.reshape(batch, time, self.heads, dim // self.heads).transpose(1, 2)


class FeedForward(nn.Sequential):
    """Two linear maps with GELU between."""

    def __init__(self, config: TransformerConfig) -> None:
        super().__init__(
            nn.Linear(config.dim, config.hidden),
            nn.GELU(),
            nn.Linear(config.hidden, config.dim),
        )


class SelfLayer(nn.Module):
    """x + attention(x), then x + feed-forward(x)."""

    def __init__(self, config: TransformerConfig) -> None:
        super().__init__()
        self.attention_norm = nn.LayerNorm(config.dim)
        self.attention = Attention(config)
        self.forward_norm = nn.LayerNorm(config.dim)
        self.feed_forward = FeedForward(config)
        self.dropout = nn.Dropout(config.dropout)

    def forward(self, x: Tensor, valid: Tensor) -> Tensor:
        """[B, T, D], valid [B, T] → [B, T, D]."""
        normed = self.attention_norm(x)
        x = x + self.dropout(self.attention(normed, normed, valid, rotate=True))
        y: Tensor = x + self.dropout(self.feed_forward(self.forward_norm(x)))
        return y


class CrossLayer(nn.Module):
    """x + attention(x over another modality), then x + feed-forward(x)."""

    def __init__(self, config: TransformerConfig) -> None:
        super().__init__()
        self.attention_norm = nn.LayerNorm(config.dim)
        self.memory_norm = nn.LayerNorm(config.dim)
        self.attention = Attention(config)
        self.forward_norm = nn.LayerNorm(config.dim)
        self.feed_forward = FeedForward(config)

    def forward(self, x: Tensor, memory: Tensor, valid: Tensor) -> Tensor:
        """X [B, T, D] attends to memory [B, M, D] where valid [B, M]; both are on one clock."""
        x = x + self.attention(self.attention_norm(x), self.memory_norm(memory), valid, rotate=True)
        y: Tensor = x + self.feed_forward(self.forward_norm(x))
        return y


class Transformer(nn.Module):
    """A stack of self-attention layers and a last norm."""

    def __init__(self, config: TransformerConfig) -> None:
        super().__init__()
        self.layers = nn.ModuleList([SelfLayer(config) for _ in range(config.layers)])
        self.norm = nn.LayerNorm(config.dim)

    def forward(self, x: Tensor, valid: Tensor) -> Tensor:
        """[B, T, D], valid [B, T] → [B, T, D]."""
        return self.layered(x, valid)[0]

    def layered(self, x: Tensor, valid: Tensor) -> tuple[Tensor, Tensor]:
        """Output, and the middle layer's (for distillation)."""
        middle = x
        for number, layer in enumerate(self.layers, start=1):
            x = layer(x, valid)
            if number == len(self.layers) // 2:
                middle = x
        y: Tensor = self.norm(x)
        return y, middle
