"""The one training loop: seeded by step, resumable to the same curve, stops at the first non-finite loss.

It runs in one process or in several that torchrun started (`training.distributed`). The batch of a step is the union
of processes × `accumulate` micro-batches; in step s those are the batches numbered s · (processes · accumulate) + i.
So N processes train the same weights as one that accumulates N, up to rounding.
"""

from __future__ import annotations

import copy
import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import torch
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel
from torch.utils.data import DataLoader, Dataset
from tqdm import tqdm

from training.checkpoint import CheckpointError, load_state, read_notes, save_state, save_weights
from training.device import DEVICES, PRECISIONS, autocast_type, pick_device, to_device
from training.distributed import SharedBuffers, World, current_world
from training.schedule import warmup_cosine


@dataclass(frozen=True, slots=True)
class LoopConfig:
    """Length, optimiser and bookkeeping of one stage.

    precision: `bf16` (autocast), `fp16` (autocast with a scaled loss), `fp32`, or `auto` (bf16 where the device
    multiplies it natively; else fp16 on CUDA, fp32 on the CPU).
    workers: processes that make batches; 0 makes them in the loop.
    device: `cpu`, `cuda`, or `auto` (CUDA where there is a card).
    accumulate: micro-batches per process and step; their mean gradient moves the weights once. Each counts alike,
    whatever number of positions its loss is a mean over, and contrastive negatives come from one micro-batch.
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
    device: str = "auto"
    accumulate: int = 1

    def __post_init__(self) -> None:
        for key, known in (("precision", PRECISIONS), ("device", DEVICES)):
            value = getattr(self, key)
            if value not in known:
                raise ValueError(f"{key} must be one of {', '.join(known)}, got {value!r}")
        if min(self.steps, self.save_every, self.log_every, self.threads, self.accumulate) < 1:
            raise ValueError("steps, save_every, log_every, threads and accumulate must be at least 1")
        if self.workers < 0:
            raise ValueError("workers must be at least 0")


class NonFiniteLossError(RuntimeError):
    """The loss is no longer a number."""


class Task(Protocol):
    """What a stage trains: its modules, batches by number, and a loss of a batch."""

    @property
    def module(self) -> nn.Module:
        """Whose parameters are trained."""
        ...

    @property
    def batches(self) -> Dataset[Any]:
        """Number of a micro-batch (the step, in one process without accumulation) → batch."""
        ...

    def loss(self, batch: Any) -> tuple[Tensor, Mapping[str, Tensor]]:
        """Scalar loss and figures to log."""
        ...


def one(_: str) -> float:
    """Every parameter learns alike."""
    return 1.0


def train(
    task: Task, loop: LoopConfig, folder: Path, label: str, pace: Callable[[str], float] = one
) -> nn.Module:
    """Train to `loop.steps`, going on from the last checkpoint in `folder`; give the averaged weights.

    `pace` gives the factor of a named parameter's learning rate (what is already trained moves slower).

    Writes `state/` (to resume), `log.jsonl`, and at the end `model.safetensors` (the averaged weights). Of several
    processes the first writes, and all read: `folder` must be one that they share.

    Raises:
        NonFiniteLossError: in all processes, at the step where a loss is no number.
        CheckpointError: the checkpoint was made with another number of micro-batches a step, or not all see it.
        DeviceError: the device isn't there.
        WorldError: torchrun started several processes that have not joined.
    """
    torch.set_num_threads(loop.threads)
    world, device = current_world(), pick_device(loop.device)
    task.module.to(device)
    shadow = copy.deepcopy(task.module).eval()
    for parameter in shadow.parameters():
        parameter.requires_grad_(False)
    optimizer = torch.optim.AdamW(_groups(task.module, loop, pace), lr=loop.learning_rate, betas=(0.9, 0.98))
    stepper = _Stepper(task, loop, optimizer, world, device)
    first = _resume(folder / "state", stepper, shadow)
    log = _Log(folder / "log.jsonl", first) if world.first else None
    task.module.train()
    batches = iter(_loader(task.batches, stepper.numbers(first), loop.workers, device))
    bar = tqdm(
        range(first, loop.steps), initial=first, total=loop.steps, desc=label, unit="step", mininterval=2,
        disable=not world.first,
    )  # fmt: skip
    for step in bar:
        heard = stepper.step(step, batches)
        _average(shadow, task.module, min(loop.ema_decay, (1 + step) / (10 + step)))
        done = step + 1 == loop.steps
        if done or (step + 1) % loop.log_every == 0:
            figures = _mean_figures(world.gather([_numbers(figures) for figures in heard]))
            bar.set_postfix({k: f"{v:.3f}" for k, v in figures.items()}, refresh=False)
            if log is not None:
                log.write({"step": step + 1, **figures})
        if world.first and (done or (step + 1) % loop.save_every == 0):
            save_state(folder / "state", step + 1, task.module, shadow, optimizer, stepper.notes())
    if world.first:
        save_weights(shadow, folder / "model.safetensors")
    world.wait()
    return shadow


class _WithLoss(nn.Module):
    """The task's loss as a module's forward pass, which is what `DistributedDataParallel` listens to."""

    def __init__(self, task: Task) -> None:
        super().__init__()
        self.module = task.module
        self._task = task

    def forward(self, batch: Any) -> tuple[Tensor, Mapping[str, Tensor]]:
        return self._task.loss(batch)


class _Stepper:
    """A step: micro-batches → gradients, the same in all processes → weights."""

    def __init__(
        self,
        task: Task,
        loop: LoopConfig,
        optimizer: torch.optim.Optimizer,
        world: World,
        device: torch.device,
    ) -> None:
        self.task, self.optimizer, self.world = task, optimizer, world
        self.parts = world.size * loop.accumulate
        self._loop, self._device = loop, device
        self._type = autocast_type(loop.precision, device)
        self.scaler = torch.amp.GradScaler(device.type, enabled=self._type == torch.float16)
        self._buffers = SharedBuffers(task.module, world, loop.accumulate) if self.parts > 1 else None
        self._loss = _WithLoss(task)
        self._shared: DistributedDataParallel | None = None

    def share(self) -> None:
        """Give all processes the first one's weights, and from now on the mean of their gradients."""
        if self.world.size > 1:
            # What a batch doesn't hold (video, say) leaves parameters without a gradient.
            self._shared = DistributedDataParallel(
                self._loss, forward_sync_buffers=False, find_unused_parameters=True
            )

    def numbers(self, first: int) -> list[int]:
        """The micro-batches of this process from step `first` to the end."""
        start = self.world.rank * self._loop.accumulate
        steps = range(first, self._loop.steps)
        return [s * self.parts + start + i for s in steps for i in range(self._loop.accumulate)]

    def notes(self) -> dict[str, Any]:
        """What a checkpoint must know beside weights and optimiser."""
        return {"parts": self.parts, "scaler": self.scaler.state_dict()}

    def step(self, step: int, batches: Iterator[Any]) -> list[dict[str, Tensor]]:
        """Move the weights once; the figures of this process's micro-batches."""
        for group in self.optimizer.param_groups:
            rate = self._loop.learning_rate * warmup_cosine(step, self._loop.steps, self._loop.warmup)
            group["lr"] = group["pace"] * rate
        self.optimizer.zero_grad(set_to_none=True)
        if self._buffers:
            self._buffers.begin()
        first = step * self.parts + self.world.rank * self._loop.accumulate
        heard = [self._micro(first + i, i, next(batches)) for i in range(self._loop.accumulate)]
        if self._buffers:
            self._buffers.finish()
        loss = self.world.mean(torch.stack([figures["loss"] for figures in heard]).mean())
        if not bool(torch.isfinite(loss)):
            raise NonFiniteLossError(f"loss is {float(loss)} at step {step}")
        self.scaler.unscale_(self.optimizer)
        nn.utils.clip_grad_norm_(self.task.module.parameters(), self._loop.clip_norm)
        self.scaler.step(self.optimizer)
        self.scaler.update()
        return heard

    def _micro(self, number: int, place: int, batch: Any) -> dict[str, Tensor]:
        torch.manual_seed(self._loop.seed * 1_000_003 + number)
        shared, last = self._shared, place + 1 == self._loop.accumulate
        # Gradients are exchanged once a step, when all of them are there.
        with nullcontext() if shared is None or last else shared.no_sync():
            # On a card, what a loss makes anew (masks, noise, positions) is made there.
            with (
                torch.autocast(self._device.type, dtype=self._type, enabled=self._type is not None),
                nullcontext() if self._device.type == "cpu" else self._device,
            ):
                loss, figures = (shared or self._loss)(to_device(batch, self._device))
            self.scaler.scale(loss / self._loop.accumulate).backward()
        if self._buffers:
            self._buffers.collect()
        return {"loss": loss.detach().float(), **figures}


def _resume(folder: Path, stepper: _Stepper, shadow: nn.Module) -> int:
    """Load what there is, the first process first: it repairs what a kill left; give the step to go on from."""
    world = stepper.world
    if not world.first:
        world.wait()
    step = load_state(folder, stepper.task.module, shadow, stepper.optimizer)
    notes = read_notes(folder)
    if world.first:
        world.wait()
    if len(set(world.gather(step))) != 1:
        raise CheckpointError(
            f"not all processes see the same checkpoint in {folder}: it must be on a shared disk"
        )
    if step and notes.get("parts", 1) != stepper.parts:
        raise CheckpointError(
            f"{folder} was made with {notes.get('parts', 1)} micro-batches a step, and processes x accumulate is now "
            f"{stepper.parts}: the batches would be others"
        )
    if notes.get("scaler"):
        stepper.scaler.load_state_dict(notes["scaler"])
    stepper.share()
    return step


def _numbers(figures: Mapping[str, Tensor]) -> dict[str, float]:
    return {name: float(value) for name, value in figures.items()}


def _mean_figures(heard: Sequence[Sequence[Mapping[str, float]]]) -> dict[str, float]:
    """Mean of each figure over the micro-batches that have it."""
    every = [figures for process in heard for figures in process]
    names = dict.fromkeys(name for figures in every for name in figures)
    found = {name: [figures[name] for figures in every if name in figures] for name in names}
    return {name: sum(values) / len(values) for name, values in found.items()}


def use_bf16(precision: str) -> bool:
    """Whether to autocast to bfloat16 on the CPU."""
    return autocast_type(precision, torch.device("cpu")) == torch.bfloat16


def _groups(module: nn.Module, loop: LoopConfig, pace: Callable[[str], float]) -> list[dict[str, Any]]:
    """Parameters by pace, matrices (which decay) before the rest."""
    groups: dict[tuple[float, bool], list[nn.Parameter]] = {}
    for name, parameter in module.named_parameters():
        if parameter.requires_grad:
            groups.setdefault((pace(name), parameter.ndim < 2), []).append(parameter)
    return [
        {"params": groups[key], "weight_decay": 0.0 if key[1] else loop.weight_decay, "pace": key[0]}
        for key in sorted(groups)
    ]


def _loader(
    batches: Dataset[Any], numbers: Sequence[int], workers: int, device: torch.device
) -> Iterable[Any]:
    return DataLoader(
        batches,
        batch_size=None,
        sampler=numbers,
        num_workers=workers,
        prefetch_factor=4 if workers else None,
        multiprocessing_context="fork" if workers else None,
        pin_memory=device.type == "cuda",
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
