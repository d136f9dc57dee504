"""A task with everything that several processes could get wrong, and a program that is one of them.

`python -m tests.training.together FOLDER ACCUMULATE WAIT_AT SPOIL_AT`, in the environment that torchrun gives its
processes. At batch WAIT_AT (-1: none) a process waits for ever, to be killed there; the loss of batch SPOIL_AT is no
number.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.utils.data import Dataset

from models.config import TokenizerConfig
from models.quantizer import ResidualQuantizer
from training.distributed import joined
from training.engine import LoopConfig, train
from training.line_classifier import CorpusNorm

ROOT = Path(__file__).resolve().parents[2]
LOOP = LoopConfig(
    steps=20, learning_rate=0.01, warmup=5, save_every=7, log_every=1, precision="fp32", threads=1, workers=0
)
NONE = -1


class Everything(nn.Module):
    """Dropout, running statistics of three kinds, a half that only some batches use, one that none does.

    (No bias before the batch norm: its gradient would be nothing but rounding, which Adam makes as large as any.)
    """

    def __init__(self) -> None:
        super().__init__()
        self.before = nn.Sequential(nn.Linear(4, 8, bias=False), nn.BatchNorm1d(8), nn.Dropout(0.3))
        self.quantizer = ResidualQuantizer(TokenizerConfig(codebooks=2, codebook_size=4, code_dim=8))
        self.norm = CorpusNorm(2, 8)
        self.after = nn.Linear(8, 1)
        self.sometimes = nn.Linear(8, 1)
        self.never = nn.Linear(8, 1)
        self.register_buffer("thirds", torch.full((5,), 1 / 3))


class Rows(Dataset[dict[str, Tensor]]):
    """Number → rows drawn from it, more of them the larger its last digit; every third batch has the other half."""

    def __init__(self, wait_at: int, spoil_at: int) -> None:
        self._wait_at, self._spoil_at = wait_at, spoil_at

    def __getitem__(self, number: int) -> dict[str, Tensor]:
        if number == self._wait_at:
            threading.Event().wait()
        generator = torch.Generator().manual_seed(number)
        rows = torch.randn(8 + number % 10, 4, generator=generator)
        if number == self._spoil_at:
            rows = rows * float("nan")
        batch = {"rows": rows, "corpus": torch.arange(len(rows)) % 2}
        return batch | ({"other": rows.flip(1)} if number % 3 == 0 else {})


class EverythingTask:
    """Predict the sum of a row from its quantised code."""

    def __init__(self, wait_at: int = NONE, spoil_at: int = NONE) -> None:
        torch.manual_seed(0)
        self.module: nn.Module = Everything()
        self.batches = Rows(wait_at, spoil_at)

    def loss(self, batch: Mapping[str, Tensor]) -> tuple[Tensor, Mapping[str, Tensor]]:
        """Mean squared error + commitment, with torch's own noise added."""
        model = self.module
        assert isinstance(model, Everything)
        vectors = model.before(batch["rows"])
        keep = torch.ones(len(vectors), 1, dtype=torch.bool)
        quantized = model.quantizer(vectors[:, :, None], keep)
        codes = quantized.vectors[:, :, 0]
        model.norm.learn(codes.detach(), batch["corpus"])
        noise = 0.1 * torch.randn(len(vectors), 1)
        wanted = batch["rows"].sum(dim=1, keepdim=True) + noise
        square = (model.after(model.norm(codes, batch["corpus"])) - wanted).square().mean()
        loss, figures = square + 0.25 * quantized.commitment, {"square": square.detach()}
        if "other" in batch:
            other = (model.sometimes(codes) - batch["other"].sum(dim=1, keepdim=True)).square().mean()
            loss, figures = loss + other, figures | {"other": other.detach()}
        return loss, figures


class Group:
    """Processes that train together into a folder, with a meeting place on a free port, as torchrun starts them."""

    def __init__(
        self, folder: Path, size: int, accumulate: int = 1, wait_at: int = NONE, spoil_at: int = NONE
    ) -> None:
        self._store = dist.TCPStore("127.0.0.1", 0, is_master=True, wait_for_workers=False)
        given = [str(value) for value in (folder, accumulate, wait_at, spoil_at)]
        shared = {
            "OMP_NUM_THREADS": "1",
            "WORLD_SIZE": str(size),
            "MASTER_ADDR": "127.0.0.1",
            "MASTER_PORT": str(self._store.port),
            "TORCHELASTIC_USE_AGENT_STORE": "True",
        }
        self.processes = [
            subprocess.Popen(
                [sys.executable, "-m", "tests.training.together", *given],
                cwd=ROOT,
                env={**os.environ, **shared, "RANK": str(rank)},
                stderr=subprocess.PIPE,
                text=True,
            )
            for rank in range(size)
        ]

    def running(self) -> bool:
        """Whether none has ended; waits a moment for that."""
        with suppress(subprocess.TimeoutExpired):
            self.processes[0].wait(0.05)
        return all(process.poll() is None for process in self.processes)

    def kill(self) -> list[int]:
        """`kill -9` all; their exit codes."""
        for process in self.processes:
            process.send_signal(signal.SIGKILL)
        return [code for code, _ in self.finish()]

    def finish(self) -> list[tuple[int, str]]:
        """Exit code and standard error of each, once all have ended."""
        ended = [(process.communicate()[1], process.returncode) for process in self.processes]
        return [(code, errors) for errors, code in ended]


if __name__ == "__main__":
    torch.use_deterministic_algorithms(True)
    target, parts, wait, spoil = sys.argv[1:]
    with joined("cpu"):
        task = EverythingTask(int(wait), int(spoil))
        train(task, replace(LOOP, accumulate=int(parts)), Path(target), "together")
