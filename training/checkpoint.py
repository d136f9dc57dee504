"""Checkpoints: safetensors and JSON, written whole or not at all, never pickles."""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn


def save_weights(module: nn.Module, path: Path) -> None:
    """Write a module's parameters and persistent buffers."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_suffix(".tmp")
    save_file(
        {name: value.detach().contiguous().clone() for name, value in module.state_dict().items()}, temporary
    )
    temporary.rename(path)


class CheckpointError(RuntimeError):
    """A checkpoint that does not fit the module it is read into: made with another configuration, or damaged."""


def load_weights(module: nn.Module, path: Path) -> None:
    """Read a module's parameters and buffers.

    Raises:
        CheckpointError: a name that is missing or unknown, another shape, or bytes that are not safetensors.
    """
    try:
        module.load_state_dict(load_file(path))
    except (RuntimeError, SafetensorError) as error:
        raise CheckpointError(
            f"{path} does not fit this configuration: {' '.join(str(error).split())}"
        ) from error


def save_state(
    folder: Path,
    step: int,
    module: nn.Module,
    shadow: nn.Module,
    optimizer: torch.optim.Optimizer,
    notes: Mapping[str, Any] | None = None,
) -> None:
    """Everything that the loop needs to go on from `step`; the folder appears in one rename.

    notes: plain values to find again with `read_notes`.
    """
    temporary = folder.with_name(folder.name + ".tmp")
    shutil.rmtree(temporary, ignore_errors=True)
    temporary.mkdir(parents=True)
    save_weights(module, temporary / "model.safetensors")
    save_weights(shadow, temporary / "ema.safetensors")
    state = optimizer.state_dict()
    tensors: dict[str, Tensor] = {}
    for index, slots in state["state"].items():
        tensors |= {f"{index}.{name}": value.contiguous().clone() for name, value in slots.items()}
    save_file(tensors, temporary / "optimizer.safetensors")
    (temporary / "state.json").write_text(
        json.dumps({"step": step, "groups": state["param_groups"], "notes": dict(notes or {})})
    )
    previous = folder.with_name(folder.name + ".old")
    shutil.rmtree(previous, ignore_errors=True)
    if folder.exists():
        folder.rename(previous)
    temporary.rename(folder)
    shutil.rmtree(previous, ignore_errors=True)


def load_state(folder: Path, module: nn.Module, shadow: nn.Module, optimizer: torch.optim.Optimizer) -> int:
    """Restore what `save_state` wrote and give the step to go on from; 0 where there is nothing."""
    previous = folder.with_name(folder.name + ".old")
    if not folder.exists() and previous.exists():
        previous.rename(folder)  # killed between the two renames
    if not folder.exists():
        return 0
    load_weights(module, folder / "model.safetensors")
    load_weights(shadow, folder / "ema.safetensors")
    state: dict[str, Any] = json.loads((folder / "state.json").read_text())
    slots: dict[int, dict[str, Tensor]] = {}
    for key, value in load_file(folder / "optimizer.safetensors").items():
        index, name = key.split(".", 1)
        slots.setdefault(int(index), {})[name] = value
    optimizer.load_state_dict({"state": slots, "param_groups": state["groups"]})
    return int(state["step"])


def read_notes(folder: Path) -> dict[str, Any]:
    """The notes that `save_state` was given; none where there is no state or it had none."""
    path = folder / "state.json"
    state: dict[str, Any] = json.loads(path.read_text()) if path.exists() else {}
    notes: dict[str, Any] = state.get("notes", {})
    return notes
