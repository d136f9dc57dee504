"""Which device trains, and in which precision it multiplies."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

DEVICES = ("auto", "cpu", "cuda")
PRECISIONS = ("auto", "bf16", "fp16", "fp32")


class DeviceError(RuntimeError):
    """A device was asked for that this machine doesn't have."""


def pick_device(name: str) -> torch.device:
    """`cpu`, `cuda` (the current card), or `auto`: CUDA where there is a card.

    Raises:
        DeviceError: `cuda` without a card.
    """
    found = torch.cuda.is_available()
    if name == "cuda" and not found:
        raise DeviceError("device is cuda, but torch finds no CUDA card: take auto or cpu")
    if name == "cpu" or not found:
        return torch.device("cpu")
    return torch.device("cuda", torch.cuda.current_device())


def autocast_type(precision: str, device: torch.device) -> torch.dtype | None:
    """What matrices are multiplied in, None for float32.

    `auto` is bfloat16 where the device multiplies it natively; else float16 on CUDA and float32 on the CPU.
    """
    if precision != "auto":
        return {"bf16": torch.bfloat16, "fp16": torch.float16, "fp32": None}[precision]
    if device.type == "cpu":
        return torch.bfloat16 if torch.cpu._is_avx512_bf16_supported() else None
    return torch.bfloat16 if torch.cuda.get_device_capability(device) >= (8, 0) else torch.float16


def to_device(batch: Any, device: torch.device) -> Any:
    """A batch (tensors, or mappings, lists and tuples of them) on a device; itself where it is there already."""
    if isinstance(batch, Tensor):
        return batch.to(device, non_blocking=True)
    if isinstance(batch, Mapping):
        return {key: to_device(value, device) for key, value in batch.items()}
    if isinstance(batch, list | tuple):
        return type(batch)(to_device(value, device) for value in batch)
    return batch
