"""Processes that train together: who they are and what they tell each other. One process is a world of one.

`torchrun` starts them; they meet in `joined`, and the loop in `training.engine` asks `current_world`.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn

from training.device import pick_device

LEAVE_TIMEOUT = timedelta(seconds=10)
"""How long a process waits for the others before it leaves."""


class WorldError(RuntimeError):
    """The processes can't work together."""


@dataclass(frozen=True, slots=True)
class World:
    """This process among `size`, numbered from 0."""

    rank: int = 0
    size: int = 1

    @property
    def first(self) -> bool:
        """Whether this is the process that writes files and shows progress."""
        return self.rank == 0

    def mean(self, value: Tensor) -> Tensor:
        """Mean over the processes, the same bits in all of them; overwrites `value`."""
        if self.size > 1:
            dist.all_reduce(value)
            value /= self.size
        return value

    def from_first(self, value: Tensor) -> Tensor:
        """What the first process holds; overwrites `value`."""
        if self.size > 1:
            dist.broadcast(value, src=0)
        return value

    def gather(self, value: Any) -> list[Any]:
        """Everybody's value, by rank, in every process."""
        if self.size == 1:
            return [value]
        values: list[Any] = [None] * self.size
        dist.all_gather_object(values, value)
        return values

    def wait(self) -> None:
        """Until all processes are here."""
        if self.size > 1:
            dist.barrier()


def started() -> int:
    """How many processes torchrun started; 1 without it."""
    return int(os.environ.get("WORLD_SIZE", "1"))


def current_world() -> World:
    """The world that this process joined.

    Raises:
        WorldError: torchrun started several processes that have not joined; each would train for itself.
    """
    if dist.is_available() and dist.is_initialized():
        return World(dist.get_rank(), dist.get_world_size())
    if started() > 1:
        raise WorldError(f"torchrun started {started()} processes, but they have not joined (`joined`)")
    return World()


@contextmanager
def joined(device: str = "auto") -> Iterator[World]:
    """Join the processes that torchrun started, over gloo on the CPU and nccl on CUDA; alone without torchrun.

    device: `auto`, `cpu` or `cuda`, as in `LoopConfig`; on CUDA every process takes the card of its local rank.
    """
    if started() == 1:
        yield World()
        return
    chosen = pick_device(device)
    if chosen.type == "cuda":
        torch.cuda.set_device(int(os.environ.get("LOCAL_RANK", "0")))
        chosen = pick_device(device)
    dist.init_process_group(
        "nccl" if chosen.type == "cuda" else "gloo",
        device_id=chosen if chosen.type == "cuda" else None,
    )
    try:
        yield current_world()
    finally:
        if chosen.type == "cpu":
            # Who leaves first closes connections that gloo's threads in the others still read: they would abort.
            with suppress(RuntimeError):  # another process is gone already, or still at work
                dist.monitored_barrier(timeout=LEAVE_TIMEOUT)
        dist.destroy_process_group()


class SharedBuffers:
    """Running statistics that come out alike however a step's micro-batches are spread over processes.

    Every micro-batch starts from the statistics as they were before the step. After the step they move by the mean of
    what each micro-batch would have moved them by; for moving averages that is the average with the micro-batches'
    mean. Two kinds can't be averaged and are taken from the step's first micro-batch: whole numbers, and all buffers
    of a module that holds a codebook (`codebook…`), whose re-seeded codes would end up between the vectors that they
    were drawn from.
    """

    def __init__(self, module: nn.Module, world: World, accumulate: int) -> None:
        self._world, self._parts = world, world.size * accumulate
        self._means: list[tuple[nn.Module, str]] = []
        self._firsts: list[tuple[nn.Module, str]] = []
        for owner in module.modules():
            names = [name for name, _ in owner.named_buffers(recurse=False)]
            learned = any(name.startswith("codebook") for name in names)
            for name in names:
                exact = learned or not getattr(owner, name).is_floating_point()
                (self._firsts if exact else self._means).append((owner, name))
        self._before: list[Tensor] = []
        self._moved: list[Tensor] = []
        self._chosen: list[Tensor] | None = None

    @property
    def _all(self) -> list[tuple[nn.Module, str]]:
        return self._means + self._firsts

    @torch.no_grad()
    def begin(self) -> None:
        """Before a step's first micro-batch."""
        self._before = [getattr(owner, name).clone() for owner, name in self._all]
        self._moved = [torch.zeros_like(value) for value in self._before[: len(self._means)]]
        self._chosen = None

    @torch.no_grad()
    def collect(self) -> None:
        """After each micro-batch: note what it did, and put everything back."""
        values = [getattr(owner, name) for owner, name in self._all]
        for total, value, before in zip(self._moved, values, self._before, strict=False):
            total += value - before  # a difference, so that what never moves stays the same to the bit
        if self._chosen is None:
            self._chosen = [value.clone() for value in values[len(self._means) :]]
        for value, before in zip(values, self._before, strict=True):
            value.copy_(before)

    @torch.no_grad()
    def finish(self) -> None:
        """After the last micro-batch, in all processes together."""
        if self._chosen is None:
            raise RuntimeError("no micro-batch was collected")
        for (owner, name), moved in zip(self._means, self._moved, strict=True):
            share = self._world.mean(moved) * (self._world.size / self._parts)
            getattr(owner, name).add_(share)
        for (owner, name), chosen in zip(self._firsts, self._chosen, strict=True):
            getattr(owner, name).copy_(self._world.from_first(chosen))
