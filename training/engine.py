"""The one training loop: seeded by step, resumable to the same curve, stops at the first non-finite loss."""

from __future__ import annotations

import copy
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset
from tqdm import tqdm

from training.checkpoint import load_state, save_state, save_weights
from training.schedule import warmup_cosine

PRECISIONS = ("auto", "bf16", "fp32")


@dataclass(frozen=True, slots=True)
class LoopConfig:
    """Length, optimiser and bookkeeping of one stage.

    precision: `bf16` (autocast), `fp32`, or `auto` (bf16 where the device multiplies it natively).
    workers: processes that make batches; 0 makes them in the loop.
    """

    steps: int = 1000
    learning_rate: float = 5e-4
    warmup: int = 100
    weight_decay: float = 0.02
    clip_norm: float = 1.0
    ema_decay: float = 0.998
    save_every: int = 200
    log_every: int = 20
    precision: str = "auto"
    threads: int = 2
    workers: int = 1
    seed: int = 0

    def __post_init__(self) -> None:
        if self.precision not in PRECISIONS:
            raise ValueError(f"precision must be one of {', '.join(PRECISIONS)}, got {self.precision!r}")
        if min(self.steps, self.save_every, self.log_every, self.threads) < 1 or self.workers < 0:
            raise ValueError(
                "steps, save_every, log_every and threads must be at least 1, workers at least 0"
            )


class NonFiniteLossError(RuntimeError):
    """The loss is no longer a number."""


class Task(Protocol):
    """What a stage trains: its modules, batches by step, and a loss of a batch."""

    @property
    def module(self) -> nn.Module:
        """Whose parameters are trained."""
        ...

    @property
    def batches(self) -> Dataset[Any]:
        """Step number → batch."""
        ...

    def loss(self, batch: Any) -> tuple[Tensor, Mapping[str, Tensor]]:
        """Scalar loss and figures to log."""
        ...


def train(task: Task, loop: LoopConfig, folder: Path, label: str) -> nn.Module:
    """Train to `loop.steps`, going on from the last checkpoint in `folder`; give the averaged weights.

    Writes `state/` (to resume), `log.jsonl`, and at the end `model.safetensors` (the averaged weights).
    """
    torch.set_num_threads(loop.threads)
    shadow = copy.deepcopy(task.module).eval()
    for parameter in shadow.parameters():
        parameter.requires_grad_(False)
    optimizer = torch.optim.AdamW(_groups(task.module, loop), lr=loop.learning_rate, betas=(0.9, 0.98))
    first = load_state(folder / "state", task.module, shadow, optimizer)
    log = _Log(folder / "log.jsonl", first)
    task.module.train()
    batches = _loader(task.batches, range(first, loop.steps), loop.workers)
    bar = tqdm(batches, initial=first, total=loop.steps, desc=label, unit="step", mininterval=2)
    for step, batch in enumerate(bar, start=first):
        figures = _step(task, batch, step, loop, optimizer)
        _average(shadow, task.module, min(loop.ema_decay, (1 + step) / (10 + step)))
        done = step + 1 == loop.steps
        if done or (step + 1) % loop.log_every == 0:
            log.write({"step": step + 1, **figures})
            bar.set_postfix({k: f"{v:.3f}" for k, v in figures.items()}, refresh=False)
        if done or (step + 1) % loop.save_every == 0:
            save_state(folder / "state", step + 1, task.module, shadow, optimizer)
    save_weights(shadow, folder / "model.safetensors")
    return shadow


def _step(
    task: Task, batch: Any, step: int, loop: LoopConfig, optimizer: torch.optim.Optimizer
) -> dict[str, float]:
    torch.manual_seed(loop.seed * 1_000_003 + step)
    for group in optimizer.param_groups:
        group["lr"] = loop.learning_rate * warmup_cosine(step, loop.steps, loop.warmup)
    with torch.autocast("cpu", dtype=torch.bfloat16, enabled=use_bf16(loop.precision)):
        loss, figures = task.loss(batch)
    if not bool(torch.isfinite(loss)):
        raise NonFiniteLossError(f"loss is {float(loss.detach())} at step {step}")
    optimizer.zero_grad(set_to_none=True)
    loss.backward()  # type: ignore[no-untyped-call]
    nn.utils.clip_grad_norm_(task.module.parameters(), loop.clip_norm)
    optimizer.step()
    return {"loss": float(loss.detach()), **{k: float(v) for k, v in figures.items()}}


def use_bf16(precision: str) -> bool:
    """Whether to autocast to bfloat16."""
    return precision == "bf16" or (precision == "auto" and torch.cpu._is_avx512_bf16_supported())


def _groups(module: nn.Module, loop: LoopConfig) -> list[dict[str, Any]]:
    trained = [p for p in module.parameters() if p.requires_grad]
    return [
        {"params": [p for p in trained if p.ndim >= 2], "weight_decay": loop.weight_decay},
        {"params": [p for p in trained if p.ndim < 2], "weight_decay": 0.0},
    ]


def _loader(batches: Dataset[Any], steps: Iterable[int], workers: int) -> Iterable[Any]:
    return DataLoader(
        batches,
        batch_size=None,
        sampler=list(steps),
        num_workers=workers,
        prefetch_factor=4 if workers else None,
        multiprocessing_context="fork" if workers else None,
    )


@torch.no_grad()
def _average(shadow: nn.Module, module: nn.Module, decay: float) -> None:
    for kept, new in zip(shadow.parameters(), module.parameters(), strict=True):
        kept.lerp_(new, 1 - decay)
    for kept_buffer, new_buffer in zip(shadow.buffers(), module.buffers(), strict=True):
        kept_buffer.copy_(new_buffer)


class _Log:
    """JSON lines; what a killed run wrote past its last checkpoint is cut off on resuming."""

    def __init__(self, path: Path, first: int) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        kept = path.read_text().splitlines() if first and path.exists() else []
        lines = [line for line in kept if line.endswith("}") and json.loads(line)["step"] <= first]
        path.write_text("".join(f"{line}\n" for line in lines))
        self._path = path

    def write(self, figures: Mapping[str, float]) -> None:
        with self._path.open("a") as file:
            file.write(json.dumps(figures) + "\n")
