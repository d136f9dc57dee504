"""Audio VQ-VAE for the telephone band: waveform to discrete tokens, causally, with a state of fixed size."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from models.config import TokenizerConfig
from models.frontend import LogMel
from models.quantizer import Quantized, Quantizer, make_quantizer
from models.streaming import CausalConv1d, StateReader


class ChannelNorm(nn.Module):
    """Layer norm over the channels of [B, C, T], each moment by itself."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(channels)

    def forward(self, x: Tensor) -> Tensor:
        """Normalise."""
        y: Tensor = self.norm(x.transpose(1, 2)).transpose(1, 2)
        return y


class AudioTokenizer(nn.Module):
    """Front-end → causal convolutions (100 → 25 frames/s) → quantiser; and, for training, a decoder."""

    def __init__(self, config: TokenizerConfig) -> None:
        super().__init__()
        self.config = config
        stem, width = config.stem_channels, config.channels
        self.frontend = LogMel(config.frontend)
        self.stem = nn.ModuleList(
            [
                CausalConv1d(config.frontend.mels, stem, 5),
                CausalConv1d(stem, width, 4, stride=2),
                CausalConv1d(width, width, 4, stride=2),
            ]
        )
        self.stem_norms = nn.ModuleList([ChannelNorm(c) for c in (stem, width, width)])
        self.blocks = nn.ModuleList([CausalConv1d(width, width, 3, dilation=d) for d in config.dilations])
        self.block_norms = nn.ModuleList([ChannelNorm(width) for _ in config.dilations])
        self.to_code = nn.Conv1d(width, config.code_dim, 1)
        self.quantizer: Quantizer = make_quantizer(config)
        self.decoder = Decoder(config)

    @property
    def state_size(self) -> int:
        """Numbers of stream state per row."""
        convs = [*self.stem, *self.blocks]
        return self.frontend.state_size + sum(int(c.state_size) for c in convs if isinstance(c, CausalConv1d))

    def initial_state(self, batch: int) -> Tensor:
        """State of a stream that has heard nothing [B, S]."""
        return torch.zeros(batch, self.state_size)

    def encode(self, audio: Tensor, state: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Audio [B, N] → unquantised vectors [B, code_dim, N / hop], features [B, mels, N / 80], new state."""
        reader = StateReader(state)
        features = self.frontend(audio, reader)
        x = features
        for conv, norm in zip(self.stem, self.stem_norms, strict=True):
            x = norm(nn.functional.gelu(self._convolve(conv, x, reader)))
        for conv, norm in zip(self.blocks, self.block_norms, strict=True):
            x = x + nn.functional.gelu(self._convolve(conv, norm(x), reader))
        return self.to_code(x), features, reader.joined()

    def forward(self, audio: Tensor, state: Tensor) -> tuple[Tensor, Tensor]:
        """The serving graph: audio [B, N] and state [B, S] → tokens int64 [B, K, N / hop] and the new state."""
        vectors, _, new = self.encode(audio, state)
        return self.quantizer.tokens(vectors), new

    def quantize(self, audio: Tensor, keep: Tensor) -> Quantized:
        """The training path over whole clips; keep [B, T] marks tokens that are not padding."""
        vectors, _, _ = self.encode(audio, self.initial_state(len(audio)))
        return self.quantizer(vectors, keep)

    @staticmethod
    def _convolve(conv: nn.Module, x: Tensor, reader: StateReader) -> Tensor:
        if not isinstance(conv, CausalConv1d):
            raise TypeError(f"expected a CausalConv1d, got {type(conv).__name__}")
        y, past = conv(x, reader.take(conv.inputs, conv.context))
        reader.give(past)
        out: Tensor = y
        return out


class Decoder(nn.Module):
    """Code vectors [B, code_dim, T] back to log-mel features [B, mels, 4 T]: a training signal, never served."""

    def __init__(self, config: TokenizerConfig) -> None:
        super().__init__()
        width = config.channels
        self.mels, self.stride = config.frontend.mels, config.stride
        self.inlet = nn.Conv1d(config.code_dim, width, 1)
        self.blocks = nn.ModuleList(
            [nn.Conv1d(width, width, 5, padding=2) for _ in range(config.decoder_layers)]
        )
        self.norms = nn.ModuleList([ChannelNorm(width) for _ in range(config.decoder_layers)])
        self.outlet = nn.Conv1d(width, self.mels * self.stride, 1)

    def forward(self, vectors: Tensor) -> Tensor:
        """Reconstruct."""
        x = self.inlet(vectors)
        for block, norm in zip(self.blocks, self.norms, strict=True):
            x = x + nn.functional.gelu(block(norm(x)))
        y: Tensor = self.outlet(x)
        batch, _, time = y.shape
        return y.reshape(batch, self.mels, self.stride, time).transpose(2, 3).reshape(batch, self.mels, -1)
