"""A device and a precision are chosen by what the machine has."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from tests.training.looping import LOOP, LoopingTask
from training.checkpoint import read_notes
from training.device import DeviceError, autocast_type, pick_device, to_device
from training.engine import LoopConfig, train


def test_without_a_card(monkeypatch: pytest.MonkeyPatch) -> None:
    """`auto` and `cpu` are the CPU, `cuda` is refused."""
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert pick_device("auto") == pick_device("cpu") == torch.device("cpu")
    with pytest.raises(DeviceError, match="torch finds no CUDA card"):
        pick_device("cuda")


def test_with_a_card(monkeypatch: pytest.MonkeyPatch) -> None:
    """`auto` and `cuda` are the current card, `cpu` still is the CPU; old cards multiply in fp16."""
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "current_device", lambda: 1)
    assert pick_device("auto") == pick_device("cuda") == torch.device("cuda", 1)
    assert pick_device("cpu") == torch.device("cpu")
    for capability, wanted in (((9, 0), torch.bfloat16), ((7, 5), torch.float16)):
        monkeypatch.setattr(torch.cuda, "get_device_capability", lambda _, found=capability: found)
        assert autocast_type("auto", torch.device("cuda", 1)) == wanted


def test_precision_on_the_cpu(monkeypatch: pytest.MonkeyPatch) -> None:
    """`auto` is bfloat16 where the CPU multiplies it natively; the others are what they say."""
    cpu = torch.device("cpu")
    for native, wanted in ((True, torch.bfloat16), (False, None)):
        monkeypatch.setattr(torch.cpu, "_is_avx512_bf16_supported", lambda found=native: found)
        assert autocast_type("auto", cpu) == wanted
    assert autocast_type("bf16", cpu) == torch.bfloat16
    assert autocast_type("fp16", cpu) == torch.float16
    assert autocast_type("fp32", cpu) is None


def test_batches_move_whole() -> None:
    """Tensors in mappings, lists and tuples; what is no tensor stays."""
    meta = torch.device("meta")
    moved = to_device({"a": torch.ones(2), "b": [torch.ones(1), "text"], "c": (torch.ones(3),)}, meta)
    assert moved["a"].device == moved["b"][0].device == moved["c"][0].device == meta
    assert moved["b"][1] == "text"


def test_half_precision_scales_the_loss(tmp_path: Path) -> None:
    """fp16 trains with a scaled loss whose scale outlives a checkpoint: two halves are one run."""
    half = replace(LOOP, steps=8, save_every=4, precision="fp16")
    train(LoopingTask(), half, tmp_path / "whole", "test")
    scaler = read_notes(tmp_path / "whole" / "state")["scaler"]
    assert 1 < scaler["scale"] < 65536  # the first scales were too large, and their steps left out
    with pytest.raises(RuntimeError, match="stopped"):
        train(_Stopping(), half, tmp_path / "parts", "test")
    train(LoopingTask(), half, tmp_path / "parts", "test")
    one, other = ((tmp_path / name / "log.jsonl").read_text() for name in ("whole", "parts"))
    assert one == other


class _Stopping(LoopingTask):
    """Fails in its seventh step."""

    def loss(self, batch: torch.Tensor) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
        if self._steps == 6:
            raise RuntimeError("stopped")
        loss, figures = super().loss(batch)
        return loss, dict(figures)


def test_unknown_names_are_refused() -> None:
    """A configuration says what it knows."""
    with pytest.raises(ValueError, match="device must be one of auto, cpu, cuda, got 'tpu'"):
        LoopConfig(device="tpu")
    with pytest.raises(ValueError, match="precision must be one of auto, bf16, fp16, fp32, got 'fp8'"):
        LoopConfig(precision="fp8")
