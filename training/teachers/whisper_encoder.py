"""OpenAI's Whisper encoder (Radford et al. 2022, MIT) as a network that can be trained further, for telephone audio.

Whisper hears 16 kHz. A 25 ms window of 8 kHz audio has the same 40 Hz bins up to 4 kHz, so its lower mel bands are
computed directly and the upper ones lie at the floor, as they would after resampling.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from training.teachers.whisper import MELS, slaney_filters

RATE_HZ, WINDOW_SAMPLES, HOP_SAMPLES = 8_000, 200, 80
FRAME_SAMPLES = 2 * HOP_SAMPLES
"""Samples at 8 kHz per encoder frame (50 a second)."""


class NarrowbandMel(nn.Module):
    """Audio [B, N] at 8 kHz, N a multiple of 80 → Whisper's input features [B, 80, N / 80]."""

    def __init__(self) -> None:
        super().__init__()
        bins = WINDOW_SAMPLES // 2 + 1
        filters = torch.from_numpy(slaney_filters())[:, :bins].contiguous()
        self.register_buffer("filters", filters, persistent=False)
        self.register_buffer("window", torch.hann_window(WINDOW_SAMPLES), persistent=False)
        self.filters: Tensor
        self.window: Tensor

    @torch.no_grad()
    def forward(self, audio: Tensor) -> Tensor:
        """Analyse, in full precision."""
        with torch.autocast(audio.device.type, enabled=False):
            spectrum = torch.stft(
                audio.float(), WINDOW_SAMPLES, HOP_SAMPLES, window=self.window, return_complex=True
            )[:, :, :-1]
            # Half the samples under the window: amplitudes are half, powers a quarter of those at 16 kHz.
            power = 4 * (spectrum.real.square() + spectrum.imag.square())
            logs = torch.log10((self.filters @ power).clamp(min=1e-10))
        return (torch.maximum(logs, logs.amax(dim=(1, 2), keepdim=True) - 8) + 4) / 4


class Layer(nn.Module):
    """One pre-norm encoder layer."""

    def __init__(self, dim: int, heads: int, dropout: float) -> None:
        super().__init__()
        self.heads = heads
        self.attention_norm = nn.LayerNorm(dim)
        self.qkv = nn.Linear(dim, 3 * dim)
        self.out = nn.Linear(dim, dim)
        self.forward_norm = nn.LayerNorm(dim)
        self.inner = nn.Linear(dim, 4 * dim)
        self.outer = nn.Linear(4 * dim, dim)
        self.dropout = nn.Dropout(dropout)

    def forward(self, x: Tensor, valid: Tensor) -> Tensor:
        """[B, T, D], valid [B, T] → [B, T, D]."""
        batch, time, dim = x.shape
        qkv = self.qkv(self.attention_norm(x)).reshape(batch, time, 3, self.heads, dim // self.heads)
        q, k, v = qkv.permute(2, 0, 3, 1, 4)
        y = nn.functional.scaled_dot_product_attention(q, k, v, attn_mask=valid[:, None, None, :])
        x = x + self.dropout(self.out(y.transpose(1, 2).reshape(batch, time, dim)))
        hidden = nn.functional.gelu(self.inner(self.forward_norm(x)))
        out: Tensor = x + self.dropout(self.outer(hidden))
        return out


class WhisperEncoder(nn.Module):
    """Mel features → the residual stream after each of the first layers; context is not padded to 30 s."""

    def __init__(self, dim: int, layers: int, dropout: float = 0.0) -> None:
        super().__init__()
        self.dim = dim
        self.conv1 = nn.Conv1d(MELS, dim, 3, padding=1)
        self.conv2 = nn.Conv1d(dim, dim, 3, stride=2, padding=1)
        self.register_buffer("positions", torch.zeros(1500, dim))
        self.positions: Tensor
        self.layers = nn.ModuleList([Layer(dim, dim // 64, dropout) for _ in range(layers)])

    def forward(self, mel: Tensor, valid: Tensor) -> list[Tensor]:
        """Mel [B, 80, 2 T], valid [B, T] → per layer [B, T, D], T at most 1,500 (30 s)."""
        x = nn.functional.gelu(self.conv1(mel))
        x = nn.functional.gelu(self.conv2(x)).transpose(1, 2)
        x = x + self.positions[: x.shape[1]]
        outputs = []
        for layer in self.layers:
            x = layer(x, valid)
            outputs.append(x)
        return outputs


def encoder_from(weights: Mapping[str, Tensor], layers: int, dropout: float = 0.0) -> WhisperEncoder:
    """An encoder that starts from a CTranslate2 file's variables (names `encoder/…`)."""
    dim = weights["encoder/conv1/weight"].shape[0]
    encoder = WhisperEncoder(dim, layers, dropout)
    state = {"positions": weights["encoder/position_encodings/encodings"]}
    for conv in ("conv1", "conv2"):
        state |= {f"{conv}.{part}": weights[f"encoder/{conv}/{part}"] for part in ("weight", "bias")}
    names = {
        "attention_norm": "self_attention/layer_norm",
        "qkv": "self_attention/linear_0",
        "out": "self_attention/linear_1",
        "forward_norm": "ffn/layer_norm",
        "inner": "ffn/linear_0",
        "outer": "ffn/linear_1",
    }
    for number in range(layers):
        for ours, theirs in names.items():
            parts = ("gamma", "beta") if ours.endswith("norm") else ("weight", "bias")
            for mine, part in zip(("weight", "bias"), parts, strict=True):
                state[f"layers.{number}.{ours}.{mine}"] = weights[f"encoder/layer_{number}/{theirs}/{part}"]
    encoder.load_state_dict(state)
    return encoder
