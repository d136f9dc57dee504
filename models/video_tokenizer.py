"""VQ-VAE of face crops: a grey picture of 96x96 → a grid of 4 x 4 tokens → the picture (van den Oord et al. 2017)."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from models.config import TokenizerConfig, VideoTokenizerConfig
from models.quantizer import Quantized, ResidualQuantizer

FACE_SIZE = 96
"""Height and width of a face crop in pixels."""
SIDE = 4
"""Tokens along one side of the picture: 96 over the strides 4, 2 and 3."""
BRIGHTNESS, SPREAD = 115.0, 60.0
"""About the mean and the deviation of a face crop's pixels, in [0, 255]."""


def scaled(pictures: Tensor) -> Tensor:
    """Pixels in [0, 255], uint8 or float [B, H, W], → about zero mean and unit variance, float [B, 1, H, W]."""
    return ((pictures.float() - BRIGHTNESS) / SPREAD)[:, None]


class ResidualBlock(nn.Module):
    """x + two convolutions of x, of unchanged size."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.body = nn.Sequential(
            nn.GroupNorm(8, channels),
            nn.SiLU(),
            nn.Conv2d(channels, channels, 3, padding=1),
            nn.SiLU(),
            nn.Conv2d(channels, channels, 1),
        )

    def forward(self, x: Tensor) -> Tensor:
        """[B, C, H, W] → [B, C, H, W]."""
        y: Tensor = x + self.body(x)
        return y


class VideoTokenizer(nn.Module):
    """Every picture by itself: what moves is seen by the layers that read the tokens."""

    def __init__(self, config: VideoTokenizerConfig) -> None:
        super().__init__()
        self.config = config
        fine, middle, coarse = config.channels
        self.encoder = nn.Sequential(
            nn.Conv2d(1, fine, 8, stride=4, padding=2),
            ResidualBlock(fine),
            nn.Conv2d(fine, middle, 4, stride=2, padding=1),
            ResidualBlock(middle),
            nn.Conv2d(middle, coarse, 5, stride=3, padding=1),
            ResidualBlock(coarse),
            nn.Conv2d(coarse, config.code_dim, 1),
        )
        self.quantizer = ResidualQuantizer(
            TokenizerConfig(
                codebooks=1,
                codebook_size=config.codebook_size,
                code_dim=config.code_dim,
                ema_decay=config.ema_decay,
                dead_below=config.dead_below,
            )
        )
        self.decoder = nn.Sequential(
            nn.Conv2d(config.code_dim, coarse, 3, padding=1),
            ResidualBlock(coarse),
            nn.ConvTranspose2d(coarse, middle, 5, stride=3, padding=1),
            ResidualBlock(middle),
            nn.ConvTranspose2d(middle, fine, 4, stride=2, padding=1),
            ResidualBlock(fine),
            nn.ConvTranspose2d(fine, 1, 8, stride=4, padding=2),
        )

    def tokens(self, pictures: Tensor) -> Tensor:
        """Grey pictures in [0, 255], [B, 96, 96] → token ids int64 [B, 16], row by row from the top left."""
        return self.quantizer.tokens(self._fields(pictures))[:, 0]

    def quantize(self, pictures: Tensor) -> Quantized:
        """Pictures [B, 96, 96] → their quantised fields, vectors [B, C, 16]; in training the codebook learns."""
        fields = self._fields(pictures)
        keep = torch.ones(len(fields), fields.shape[2], dtype=torch.bool, device=fields.device)
        return self.quantizer(fields, keep)  # type: ignore[no-any-return]

    def rebuild(self, vectors: Tensor) -> Tensor:
        """Quantised fields [B, C, 16] → pictures as `scaled` gives them, [B, 1, 96, 96]."""
        y: Tensor = self.decoder(vectors.reshape(*vectors.shape[:2], SIDE, SIDE))
        return y

    def _fields(self, pictures: Tensor) -> Tensor:
        fields: Tensor = self.encoder(scaled(pictures).contiguous(memory_format=torch.channels_last))
        return fields.flatten(2).float()
