"""Checkpoints come back whole, from whatever moment the process was killed at."""

from __future__ import annotations

import copy
from pathlib import Path

import pytest
import torch
from torch import nn

from training.checkpoint import (
    CheckpointError,
    load_state,
    load_weights,
    read_notes,
    save_state,
    save_weights,
)


def trained(seed: int = 0) -> tuple[nn.Module, nn.Module, torch.optim.Optimizer]:
    """(module, shadow, optimiser) after three steps, the module with a buffer too."""
    torch.manual_seed(seed)
    module = nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4), nn.Linear(4, 2))
    shadow = copy.deepcopy(module)
    optimizer = torch.optim.AdamW(
        [{"params": [p for p in module.parameters() if p.ndim == d]} for d in (2, 1)], lr=0.01
    )
    for _ in range(3):
        optimizer.zero_grad()
        module(torch.randn(8, 3)).square().mean().backward()
        optimizer.step()
    return module, shadow, optimizer


def test_weights_round_trip(tmp_path: Path) -> None:
    """Parameters and buffers, bit for bit."""
    module, other = trained(0)[0], trained(1)[0]
    save_weights(module, tmp_path / "deep" / "model.safetensors")
    load_weights(other, tmp_path / "deep" / "model.safetensors")
    for name, value in module.state_dict().items():
        assert torch.equal(value, other.state_dict()[name])
    assert [path.name for path in (tmp_path / "deep").iterdir()] == ["model.safetensors"]


def test_weights_of_another_module_are_refused(tmp_path: Path) -> None:
    """Other names, other shapes or other bytes: one line that names the file."""
    path = tmp_path / "model.safetensors"
    save_weights(trained()[0], path)
    for module in (nn.Linear(3, 4), nn.Sequential(nn.Linear(3, 5), nn.BatchNorm1d(5), nn.Linear(5, 2))):
        with pytest.raises(CheckpointError, match=r"model\.safetensors does not fit") as caught:
            load_weights(module, path)
        assert "\n" not in str(caught.value)
    path.write_bytes(b"not safetensors")
    with pytest.raises(CheckpointError, match="does not fit"):
        load_weights(trained()[0], path)


def test_a_state_goes_on_as_if_nothing_had_been(tmp_path: Path) -> None:
    """After loading, a further step of the optimiser gives the very same weights."""
    module, shadow, optimizer = trained(0)
    save_state(tmp_path / "state", 3, module, shadow, optimizer)
    other, other_shadow, other_optimizer = trained(1)
    assert load_state(tmp_path / "state", other, other_shadow, other_optimizer) == 3
    batch = torch.randn(8, 3)
    for net, opt in ((module, optimizer), (other, other_optimizer)):
        opt.zero_grad()
        net(batch).square().mean().backward()
        opt.step()
    for one, same in zip(module.parameters(), other.parameters(), strict=True):
        assert torch.equal(one, same)
    for one, same in zip(shadow.parameters(), other_shadow.parameters(), strict=True):
        assert torch.equal(one, same)


def test_no_state_means_the_beginning(tmp_path: Path) -> None:
    """An empty folder is step 0 and changes nothing."""
    module, shadow, optimizer = trained()
    before = copy.deepcopy(module.state_dict())
    assert load_state(tmp_path / "state", module, shadow, optimizer) == 0
    assert all(torch.equal(before[name], value) for name, value in module.state_dict().items())


def test_a_kill_between_the_two_renames_loses_nothing(tmp_path: Path) -> None:
    """The old state was moved away, the new one not yet in its place: the old one is taken."""
    module, shadow, optimizer = trained()
    save_state(tmp_path / "state", 3, module, shadow, optimizer)
    (tmp_path / "state").rename(tmp_path / "state.old")
    assert load_state(tmp_path / "state", module, shadow, optimizer) == 3


def test_a_half_written_state_is_ignored(tmp_path: Path) -> None:
    """What a kill left of a state that was being written is cleared away by the next."""
    module, shadow, optimizer = trained()
    save_state(tmp_path / "state", 3, module, shadow, optimizer)
    (tmp_path / "state.tmp").mkdir()
    (tmp_path / "state.tmp" / "model.safetensors").write_bytes(b"half")
    assert load_state(tmp_path / "state", module, shadow, optimizer) == 3
    save_state(tmp_path / "state", 6, module, shadow, optimizer)
    assert load_state(tmp_path / "state", module, shadow, optimizer) == 6
    assert [path.name for path in tmp_path.iterdir()] == ["state"]


def test_notes_come_back(tmp_path: Path) -> None:
    """Plain values beside the weights; none where none were given, or nothing was saved."""
    module, shadow, optimizer = trained()
    assert read_notes(tmp_path / "state") == {}
    save_state(tmp_path / "state", 3, module, shadow, optimizer)
    assert read_notes(tmp_path / "state") == {}
    save_state(tmp_path / "state", 3, module, shadow, optimizer, {"parts": 2})
    assert read_notes(tmp_path / "state") == {"parts": 2}
