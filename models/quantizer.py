"""Vectors to tokens: residual codebooks learned by moving averages, or finite scalar quantisation without any.

van den Oord et al. 2017 (codebooks), Zeghidour et al. 2021 (residual), Fifty et al. 2024 (rotation), Mentzer et al.
2023 (finite scalars).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor, nn

from models.config import TokenizerConfig


@dataclass(frozen=True, slots=True)
class Quantized:
    """What quantising gives.

    vectors: [B, D, T], whose gradient passes to the input. tokens: int64 [B, K, T]. commitment: scalar loss.
    """

    vectors: Tensor
    tokens: Tensor
    commitment: Tensor


class Quantizer(Protocol):
    """What the tokenizer asks of any of them: K tokens a moment, whose code vectors add up to what goes on."""

    @property
    def codebooks(self) -> Tensor:
        """Every code as a vector [K, N, D]."""
        ...

    def tokens(self, vectors: Tensor) -> Tensor:
        """Token ids int64 [B, K, T] of vectors [B, D, T]: all that the server needs."""
        ...

    def __call__(self, vectors: Tensor, keep: Tensor) -> Quantized:
        """Quantise [B, D, T]; positions where keep [B, T] is False (padding) teach nothing."""
        ...


def make_quantizer(config: TokenizerConfig) -> ResidualQuantizer | FiniteScalarQuantizer:
    """The one that the configuration names."""
    return FiniteScalarQuantizer(config) if config.quantizer == "fsq" else ResidualQuantizer(config)


def nearest_code(vectors: Tensor, codebook: Tensor) -> Tensor:
    """Index of the nearest code by Euclidean distance; vectors [..., D], codebook [N, D] → int64 [...]."""
    scores = torch.matmul(vectors, codebook.t()) - 0.5 * codebook.square().sum(dim=1)
    return scores.argmax(dim=-1)


def pass_straight(vectors: Tensor, quantized: Tensor) -> Tensor:
    """The quantised value, with the gradient of the identity (van den Oord et al. 2017)."""
    return vectors + (quantized - vectors).detach()


def pass_rotated(vectors: Tensor, quantized: Tensor) -> Tensor:
    """The quantised value, with the gradient of the rotation and scaling that take the input to it; [..., D].

    ‖q‖/‖e‖ · (e − 2 r rᵀe + 2 q̂ êᵀe), r = (ê + q̂)/‖ê + q̂‖, everything but e held constant (Fifty et al. 2024).
    """
    e, q = vectors.detach(), quantized.detach()
    e_norm = e.norm(dim=-1, keepdim=True).clamp(min=1e-6)
    q_norm = q.norm(dim=-1, keepdim=True)
    e_hat, q_hat = e / e_norm, q / q_norm.clamp(min=1e-6)
    r = nn.functional.normalize(e_hat + q_hat, dim=-1)

    along_r, along_e = ((vectors * to).sum(dim=-1, keepdim=True) for to in (r, e_hat))
    turned = (q_norm / e_norm) * (vectors - 2 * r * along_r + 2 * q_hat * along_e)
    passed: Tensor = (
        turned + (q - turned).detach()
    )  # the codes' own value, whatever rounding did to the rotation
    return passed


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
        with torch.autocast(vectors.device.type, enabled=False):
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
        passed = (pass_rotated if self.config.gradient == "rotation" else pass_straight)(flat, total)
        return Quantized(passed.transpose(1, 2), torch.stack(tokens, dim=1), commitment / len(tokens))

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
            seeds = vectors[torch.randperm(len(vectors), device=vectors.device)[: len(dead)]]
            weight = counts.mean().clamp(min=1e-6)
            counts[dead] = weight
            sums[dead] = seeds * weight
        self.codebooks[level] = sums / counts.clamp(min=1e-6)[:, None]


class FiniteScalarQuantizer(nn.Module):
    """K groups of L dimensions; each dimension is bounded by tanh and rounded to one of its few levels.

    A group's token is its levels read as the digits of one number, the first dimension counting least. Nothing is
    learned and no code can die; dimension d of a code is (level − ⌊L_d / 2⌋) / ⌊L_d / 2⌋, in [-1, 1].
    """

    def __init__(self, config: TokenizerConfig) -> None:
        super().__init__()
        self.config = config
        levels = torch.tensor(config.levels)[:, None].float()
        # A thousandth of room, so that tanh reaches the outermost levels (Mentzer et al. 2023).
        reach = (levels - 1) * 1.001 / 2
        offset = torch.where(levels % 2 == 0, 0.5, 0.0)
        bases = torch.cat([torch.ones(1, 1), levels[:-1]]).cumprod(dim=0)
        for name, value in {
            "reach": reach,
            "offset": offset,
            "shift": torch.atanh(offset / reach),
            "width": torch.floor(levels / 2),
            "bases": bases,
        }.items():
            self.register_buffer(name, value, persistent=False)
        self.reach: Tensor
        self.offset: Tensor
        self.shift: Tensor
        self.width: Tensor
        self.bases: Tensor

    @property
    def codebooks(self) -> Tensor:
        """Every code as a vector [K, N, D], zero outside its own group's dimensions, so that codes of groups add up."""
        groups, size = self.config.codebooks, self.config.codebook_size
        number = torch.arange(size, device=self.bases.device)[:, None]
        levels = torch.tensor(self.config.levels, device=self.bases.device)
        digits = number // self.bases[:, 0].long() % levels
        codes = (digits - self.width[:, 0]) / self.width[:, 0]
        placed = codes.new_zeros(groups, size, groups, len(levels))
        for group in range(groups):
            placed[group, :, group] = codes
        return placed.flatten(2)

    def tokens(self, vectors: Tensor) -> Tensor:
        """Token ids int64 [B, K, T] of vectors [B, D, T]: all that the server needs."""
        return self._tokens(self._bounded(vectors).round())

    def forward(self, vectors: Tensor, keep: Tensor) -> Quantized:
        """Quantise [B, D, T]. There is no codebook to commit to, so the loss is 0 and `keep` changes nothing."""
        with torch.autocast(vectors.device.type, enabled=False):
            bounded = self._bounded(vectors.float())
            rounded = bounded.round()
            passed = pass_straight(bounded, rounded) / self.width
            return Quantized(passed.flatten(1, 2), self._tokens(rounded), vectors.new_zeros(()).float())

    def _bounded(self, vectors: Tensor) -> Tensor:
        """[B, D, T] → [B, K, L, T], each dimension within half a step of its levels −⌊L_d / 2⌋ … ⌈L_d / 2⌉ − 1."""
        batch, _, time = vectors.shape
        grouped = vectors.reshape(batch, self.config.codebooks, len(self.config.levels), time)
        return torch.tanh(grouped + self.shift) * self.reach - self.offset

    def _tokens(self, rounded: Tensor) -> Tensor:
        return ((rounded + self.width) * self.bases).sum(dim=2).long()


def perplexity(tokens: Tensor, codebook_size: int) -> Tensor:
    """Effective number of codes in use, exp of the entropy of their frequencies, per codebook [K]; tokens [K, T]."""
    counts = torch.stack([torch.bincount(row, minlength=codebook_size) for row in tokens]).double()
    share = counts / counts.sum(dim=1, keepdim=True)
    return torch.exp(-(share * share.clamp(min=1e-12).log()).sum(dim=1))


def bits_per_second(codes: Sequence[float], moments_per_second: float = 25.0) -> float:
    """Σ log2 n_k × moments/s: what tokens cost with the sizes of the codebooks, or what they say with perplexities.

    >>> bits_per_second([256] * 4)
    800.0
    """
    return moments_per_second * sum(math.log2(n) for n in codes)
