"""Losses, each with its formula."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

HIDDEN_LOGIT = -1e4


def masked_cross_entropy(logits: Tensor, target: Tensor, allowed: Tensor) -> Tensor:
    """−Σ p log q per row, with q a softmax over the categories that the row's corpus holds.

    logits [B, C]; target [B, C], sums to 1 over the allowed; allowed bool [B, C]. Gives [B].
    """
    logs = F.log_softmax(logits.float().masked_fill(~allowed, HIDDEN_LOGIT), dim=1)
    return -(target * logs.masked_fill(~allowed, 0.0)).sum(dim=1)


def soft_divergence(student: Tensor, teacher: Tensor, allowed: Tensor, temperature: float) -> Tensor:
    """T² · KL(teacher ‖ student) per row over the allowed categories (Hinton et al. 2015). Gives [B]."""
    hidden = ~allowed
    wanted = F.softmax(teacher.float().masked_fill(hidden, HIDDEN_LOGIT) / temperature, dim=1)
    logs = F.log_softmax(student.float().masked_fill(hidden, HIDDEN_LOGIT) / temperature, dim=1)
    entropy = (wanted * wanted.clamp(min=1e-9).log()).sum(dim=1)
    return temperature**2 * (entropy - (wanted * logs).sum(dim=1))


def hidden_token_loss(logits: Tensor, tokens: Tensor, hidden: Tensor) -> Tensor:
    """Mean cross-entropy of hidden tokens; logits [B, T, K, N], tokens int64 [B, K, T], hidden bool [B, T]."""
    chosen = logits[hidden]
    return F.cross_entropy(chosen.flatten(0, 1).float(), tokens.transpose(1, 2)[hidden].flatten())


def frame_loss(predicted: Tensor, wanted: Tensor, heard: Tensor) -> Tensor:
    """Mean squared error per dimension over the frames that a teacher heard; [B, T, D], heard bool [B, T]."""
    if not bool(heard.any()):
        return predicted.sum() * 0.0
    return (predicted.float()[heard] - wanted[heard]).square().mean()


def info_nce(audio: Tensor, video: Tensor, log_temperature: Tensor) -> Tensor:
    """Symmetric contrastive loss between paired embeddings [B, E]; the batch's other pairs are negatives.

    van den Oord et al. 2018; the temperature is learned (Radford et al. 2021).
    """
    return contrast(
        F.normalize(audio.float(), dim=1) @ F.normalize(video.float(), dim=1).t(), log_temperature
    )


def contrast(similarity: Tensor, log_temperature: Tensor) -> Tensor:
    """The same from similarities [B, B] whose diagonal holds the pairs."""
    scaled = similarity / log_temperature.exp().clamp(min=0.01)
    pairs = torch.arange(len(similarity), device=similarity.device)
    return 0.5 * (F.cross_entropy(scaled, pairs) + F.cross_entropy(scaled.t(), pairs))
