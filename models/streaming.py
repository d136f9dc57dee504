"""Causal convolution whose past is an explicit value, so that chunked equals whole."""

from __future__ import annotations

import torch
from torch import Tensor, nn


class CausalConv1d(nn.Module):
    """1-d convolution that sees the past only.

    `forward(x, past)` takes x [B, C, T] with T a multiple of the stride and the last `context` input frames of
    the previous chunk (zeros at the start), and returns y [B, C', T / stride] and the past for the next chunk.
    """

    def __init__(self, inputs: int, outputs: int, kernel: int, *, stride: int = 1, dilation: int = 1) -> None:
        super().__init__()
        self.inputs = inputs
        self.context = (kernel - 1) * dilation + 1 - stride
        self.conv = nn.Conv1d(inputs, outputs, kernel, stride=stride, dilation=dilation)

    @property
    def state_size(self) -> int:
        """Numbers of state per row."""
        return self.inputs * self.context

    def forward(self, x: Tensor, past: Tensor) -> tuple[Tensor, Tensor]:
        """Convolve one chunk; past [B, C, context]."""
        joined = torch.cat([past, x], dim=2)
        return self.conv(joined), joined[:, :, joined.shape[2] - self.context :]


class StateReader:
    """Cuts a flat state row [B, S] into the pieces that a network's parts ask for, in order, and joins the new ones."""

    def __init__(self, state: Tensor) -> None:
        self._state = state
        self._offset = 0
        self._new: list[Tensor] = []

    def take(self, *shape: int) -> Tensor:
        """The next piece, as [B, *shape]."""
        size = 1
        for dim in shape:
            size *= dim
        piece = self._state[:, self._offset : self._offset + size]
        self._offset += size
        return piece.reshape(-1, *shape)

    def give(self, piece: Tensor) -> None:
        """Put the piece's successor in its place."""
        self._new.append(piece.flatten(1))

    def joined(self) -> Tensor:
        """The new flat state [B, S]."""
        return torch.cat(self._new, dim=1)
