"""Which positions the masked autoencoder must guess."""

from __future__ import annotations

import torch
from torch import Tensor


def span_mask(valid: Tensor, ratio: float, span: int, generator: torch.Generator) -> Tensor:
    """True = hidden, [B, T]: runs of `span` positions until about `ratio` of each row's valid ones are hidden.

    A row with two or more valid positions always keeps at least one and hides at least one.
    """
    if not 0 < ratio < 1:
        raise ValueError(f"mask ratio must lie between 0 and 1, got {ratio}")
    device, valid = valid.device, valid.to(generator.device)  # the same draws on every device
    batch, time = valid.shape
    starts = torch.rand(batch, time, generator=generator, device=generator.device) < ratio_to_rate(
        ratio, span
    )
    hidden = starts.clone()
    for shift in range(1, span):
        hidden[:, shift:] |= starts[:, : max(time - shift, 0)]
    hidden &= valid
    for row in range(batch):
        places = valid[row].nonzero()[:, 0]
        if len(places) < 2:
            hidden[row] = False
            continue
        pick = places[torch.randint(len(places), (1,), generator=generator, device=generator.device)]
        if not hidden[row].any():
            hidden[row, pick] = True
        elif hidden[row][places].all():
            hidden[row, pick] = False
    return hidden.to(device)


def ratio_to_rate(ratio: float, span: int) -> float:
    """Chance that a run starts at a position so that `ratio` of all are covered: 1 − (1 − ratio)^(1/span)."""
    return float(1 - (1 - ratio) ** (1 / span))
