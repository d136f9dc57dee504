"""Residual vector quantisation with codebooks learned by moving averages (van den Oord 2017; Zeghidour 2021)."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from models.config import TokenizerConfig


@dataclass(frozen=True, slots=True)
class Quantized:
    """What quantising gives.

    vectors: [B, D, T], straight-through. tokens: int64 [B, K, T]. commitment: scalar loss.
    """

    vectors: Tensor
    tokens: Tensor
    commitment: Tensor


def nearest_code(vectors: Tensor, codebook: Tensor) -> Tensor:
    """Index of the nearest code by Euclidean distance; vectors [..., D], codebook [N, D] → int64 [...]."""
    scores = torch.matmul(vectors, codebook.t()) - 0.5 * codebook.square().sum(dim=1)
    return scores.argmax(dim=-1)


class ResidualQuantizer(nn.Module):
    """K codebooks of N codes; each quantises what the ones before it left over."""

    def __init__(self, config: TokenizerConfig) -> None:
        super().__init__()
        self.config = config
        shape = (config.codebooks, config.codebook_size, config.code_dim)
        self.register_buffer("codebooks", torch.randn(shape) * 0.1)
        self.register_buffer("sums", torch.zeros(shape))
        self.register_buffer("counts", torch.zeros(shape[:2]))
        self.codebooks: Tensor
        self.sums: Tensor
        self.counts: Tensor

    def tokens(self, vectors: Tensor) -> Tensor:
        """Token ids int64 [B, K, T] of vectors [B, D, T]: all that the server needs."""
        residual = vectors.transpose(1, 2)
        tokens = []
        for codebook in self.codebooks:
            index = nearest_code(residual, codebook)
            residual = residual - codebook[index]
            tokens.append(index)
        return torch.stack(tokens, dim=1)

    def forward(self, vectors: Tensor, keep: Tensor) -> Quantized:
        """Quantise [B, D, T]; positions where keep [B, T] is False (padding) teach nothing."""
        with torch.autocast("cpu", enabled=False):
            return self._quantize(vectors.float(), keep)

    def _quantize(self, vectors: Tensor, keep: Tensor) -> Quantized:
        flat = vectors.transpose(1, 2)
        residual, total = flat, torch.zeros_like(flat)
        commitment = flat.new_zeros(())
        tokens = []
        for level, codebook in enumerate(self.codebooks):
            index = nearest_code(residual.detach(), codebook)
            chosen = codebook[index]
            commitment = commitment + (residual - chosen).square().mean(dim=2)[keep].mean()
            if self.training:
                self._learn(level, residual.detach()[keep], index[keep])
            total = total + chosen
            residual = residual - chosen
            tokens.append(index)
        straight = flat + (total - flat).detach()
        return Quantized(straight.transpose(1, 2), torch.stack(tokens, dim=1), commitment / len(tokens))

    @torch.no_grad()
    def _learn(self, level: int, vectors: Tensor, index: Tensor) -> None:
        decay = self.config.ema_decay
        counts, sums = self.counts[level], self.sums[level]
        counts.mul_(decay).add_(
            torch.bincount(index, minlength=len(counts)).to(counts.dtype), alpha=1 - decay
        )
        sums.mul_(decay).add_(torch.zeros_like(sums).index_add_(0, index, vectors), alpha=1 - decay)
        dead = (counts < self.config.dead_below * counts.mean()).nonzero()[:, 0]
        if len(dead) and len(vectors) >= len(dead):
            seeds = vectors[torch.randperm(len(vectors))[: len(dead)]]
            weight = counts.mean().clamp(min=1e-6)
            counts[dead] = weight
            sums[dead] = seeds * weight
        self.codebooks[level] = sums / counts.clamp(min=1e-6)[:, None]


def perplexity(tokens: Tensor, codebook_size: int) -> Tensor:
    """Effective number of codes in use, exp of the entropy of their frequencies, per codebook [K]; tokens [K, T]."""
    counts = torch.stack([torch.bincount(row, minlength=codebook_size) for row in tokens]).double()
    share = counts / counts.sum(dim=1, keepdim=True)
    return torch.exp(-(share * share.clamp(min=1e-12).log()).sum(dim=1))
