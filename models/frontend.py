"""Causal log-mel front-end inside the tokenizer's graph: the server has no twin of it."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from models.config import FrontendConfig
from models.streaming import StateReader


def mel_filters(config: FrontendConfig) -> Tensor:
    """Triangular filters [mels, bins], each summing to 1, evenly spaced on the mel scale of O'Shaughnessy (1987).

    mel = 2595 log10(1 + f / 700).
    """
    bins = config.window_samples // 2 + 1
    frequencies = torch.linspace(0, config.sample_rate_hz / 2, bins, dtype=torch.float64)
    low, high = (2595 * math.log10(1 + f / 700) for f in (config.low_hz, config.high_hz))
    edges = 700 * (10 ** (torch.linspace(low, high, config.mels + 2, dtype=torch.float64) / 2595) - 1)
    width = config.sample_rate_hz / config.window_samples
    rising = (frequencies - edges[:-2, None]) / (edges[1:-1] - edges[:-2]).clamp(min=width)[:, None]
    falling = (edges[2:, None] - frequencies) / (edges[2:] - edges[1:-1]).clamp(min=width)[:, None]
    weights = torch.minimum(rising, falling).clamp(min=0)
    nearest = (edges[1:-1, None] - frequencies).abs().argmin(dim=1)
    # A filter narrower than a bin still hears its nearest one.
    weights[torch.arange(config.mels), nearest] += 1e-3
    return (weights / weights.sum(dim=1, keepdim=True)).float()


def fourier_kernels(config: FrontendConfig) -> Tensor:
    """Hann-windowed cosine and sine kernels [2 · bins, 1, window]; squared outputs summed over bins ≈ mean power."""
    n = torch.arange(config.window_samples, dtype=torch.float64)
    window = torch.hann_window(config.window_samples, periodic=True, dtype=torch.float64)
    angle = 2 * math.pi * torch.arange(config.window_samples // 2 + 1)[:, None] * n / config.window_samples
    scale = math.sqrt(2) / math.sqrt(config.window_samples * float(window.square().sum()))
    return (torch.cat([angle.cos(), angle.sin()]) * window * scale).float()[:, None]


class LogMel(nn.Module):
    """Audio [B, N] (8 kHz, N a multiple of the hop) to features [B, mels, N / hop].

    Feature = log10(mel power / running mean power of the utterance + floor), then a fixed affine map that brings it
    to about zero mean and unit variance. Dividing by the running mean takes the recording level out, causally.
    """

    def __init__(self, config: FrontendConfig) -> None:
        super().__init__()
        self.config = config
        self.context = config.window_samples - config.hop_samples
        self.register_buffer("kernels", fourier_kernels(config), persistent=False)
        self.register_buffer("filters", mel_filters(config), persistent=False)
        self.register_buffer("mean", torch.full((config.mels,), -1.5))
        self.register_buffer("scale", torch.ones(config.mels))
        self.kernels: Tensor
        self.filters: Tensor
        self.mean: Tensor
        self.scale: Tensor

    @property
    def state_size(self) -> int:
        """Waveform tail, sum of power and count of frames."""
        return self.context + 2

    def forward(self, audio: Tensor, state: StateReader) -> Tensor:
        """Analyse one chunk; always in full precision, whatever autocast says."""
        with torch.autocast(audio.device.type, enabled=False):
            relative = self.relative_power(audio.float(), state)
        return (torch.log10(relative + self.config.floor) - self.mean[:, None]) * self.scale[:, None]

    def relative_power(self, audio: Tensor, state: StateReader) -> Tensor:
        """Mel power over the running level [B, mels, T]."""
        joined = torch.cat([state.take(self.context), audio], dim=1)
        state.give(joined[:, joined.shape[1] - self.context :])
        spectrum = nn.functional.conv1d(joined[:, None], self.kernels, stride=self.config.hop_samples)
        bins = self.filters.shape[1]
        power = spectrum[:, :bins].square() + spectrum[:, bins:].square()
        total = state.take(1) + torch.cumsum(power.sum(dim=1), dim=1)
        count = state.take(1) + torch.cumsum(torch.ones_like(total), dim=1)
        state.give(total[:, -1:])
        state.give(count[:, -1:])
        prior = self.config.prior_frames
        level = (total + prior * self.config.prior_power) / (count + prior)
        mel = torch.matmul(self.filters, power) * bins
        return mel / level[:, None]
