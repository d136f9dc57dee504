"""A task small enough to train in a moment, with everything that a resumed run could get wrong.

Run as a program it trains until a step at which it waits for ever, to be killed there:
`python -m tests.training.looping FOLDER STEP`.
"""

from __future__ import annotations

import sys
import threading
from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.utils.data import Dataset

from training.engine import LoopConfig, train

LOOP = LoopConfig(
    steps=40, learning_rate=0.01, warmup=5, save_every=7, log_every=1, precision="fp32", threads=1, workers=0
)


class Noisy(nn.Module):
    """A network with dropout and a running statistic."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.Sequential(nn.Linear(4, 16), nn.BatchNorm1d(16), nn.Dropout(0.3), nn.Linear(16, 1))

    def forward(self, x: Tensor) -> Tensor:
        """[B, 4] → [B, 1]."""
        y: Tensor = self.layers(x)
        return y


class Rows(Dataset[Tensor]):
    """Step → eight rows drawn from the step; waits for ever at `wait_at`."""

    def __init__(self, wait_at: int | None = None) -> None:
        self._wait_at = wait_at

    def __getitem__(self, step: int) -> Tensor:
        if step == self._wait_at:
            threading.Event().wait()
        return torch.randn(8, 4, generator=torch.Generator().manual_seed(step))


class LoopingTask:
    """Predict the sum of a row; `spoil_at`: the step whose loss is not a number."""

    def __init__(self, wait_at: int | None = None, spoil_at: int | None = None) -> None:
        torch.manual_seed(0)
        self.module: nn.Module = Noisy()
        self.batches = Rows(wait_at)
        self._spoil_at, self._steps = spoil_at, 0

    def loss(self, batch: Tensor) -> tuple[Tensor, Mapping[str, Tensor]]:
        """Mean squared error, with torch's own noise added."""
        wanted = batch.sum(dim=1, keepdim=True) + 0.1 * torch.randn(len(batch), 1)
        loss = (self.module(batch) - wanted).square().mean()
        if self._steps == self._spoil_at:
            loss = loss * float("nan")
        self._steps += 1
        return loss, {"square": loss.detach()}


if __name__ == "__main__":
    train(LoopingTask(wait_at=int(sys.argv[2])), LOOP, Path(sys.argv[1]), "looping")
