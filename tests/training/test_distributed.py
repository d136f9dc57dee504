"""Processes that train together come to the weights of one that does it all, and go on after a kill."""

from __future__ import annotations

import json
import signal
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from tests.training.together import LOOP, EverythingTask, Group
from training.checkpoint import CheckpointError
from training.distributed import SharedBuffers, World, WorldError, current_world, joined
from training.engine import train

TOLERANCE = 1e-5
"""Relative, on every weight and statistic after 20 steps in float32; docs/stages/scale.md states it."""


def log(folder: Path) -> list[dict[str, float]]:
    """The figures of a run."""
    return [json.loads(line) for line in (folder / "log.jsonl").read_text().splitlines()]


def codes(group: Group) -> list[int]:
    """Exit codes of processes that are left alone."""
    return [code for code, _ in group.finish()]


def assert_same(one: Path, other: Path) -> None:
    """Weights, averages and figures of two folders agree within the tolerance."""
    for name in ("model.safetensors", "state/model.safetensors", "state/optimizer.safetensors"):
        left, right = load_file(one / name), load_file(other / name)
        assert set(left) == set(right)
        for key, value in left.items():
            torch.testing.assert_close(right[key], value, rtol=TOLERANCE, atol=1e-7, msg=f"{name}: {key}")
    assert [set(row) for row in log(one)] == [set(row) for row in log(other)]
    for row, same in zip(log(one), log(other), strict=True):
        assert same == pytest.approx(row, rel=1e-4)


@pytest.fixture(scope="module")
def alone(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One process that accumulates two micro-batches a step."""
    folder = tmp_path_factory.mktemp("alone")
    train(EverythingTask(), replace(LOOP, accumulate=2), folder, "test")
    return folder


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two processes with one micro-batch each."""
    folder = tmp_path_factory.mktemp("pair") / "run"
    assert codes(Group(folder, 2)) == [0, 0]
    return folder


@pytest.mark.slow
def test_two_processes_equal_one(alone: Path, pair: Path) -> None:
    """Weights, statistics, codebooks, the optimiser's state and the log of two processes are those of one."""
    assert len(log(alone)) == 20
    assert_same(alone, pair)


@pytest.mark.slow
def test_it_learns_together(pair: Path) -> None:
    """The loss falls, the statistics move, what no batch uses stays as it was, and so do constants, to the bit."""
    squares = [row["square"] for row in log(pair)]
    assert sum(squares[-5:]) < 0.8 * sum(squares[:5])
    after, before = load_file(pair / "state" / "model.safetensors"), EverythingTask().module.state_dict()
    assert int(after["before.1.num_batches_tracked"]) == 20
    for name in ("before.1.running_mean", "norm.mean", "quantizer.codebooks", "sometimes.weight"):
        assert not torch.equal(after[name], before[name])
    for name in ("never.weight", "thirds"):
        assert torch.equal(after[name], before[name])


@pytest.mark.slow
def test_accumulation_and_processes_multiply(tmp_path: Path) -> None:
    """Two processes that accumulate two micro-batches each equal one that accumulates four."""
    train(EverythingTask(), replace(LOOP, accumulate=4), tmp_path / "one", "test")
    assert codes(Group(tmp_path / "two", 2, accumulate=2)) == [0, 0]
    assert_same(tmp_path / "one", tmp_path / "two")


@pytest.mark.slow
def test_killed_processes_go_on_to_the_same_curve(pair: Path, tmp_path: Path) -> None:
    """`kill -9` of both in the middle: started again they end at the same bits as a run that was left alone."""
    folder = tmp_path / "run"
    group = Group(folder, 2, wait_at=25)  # the second process's batch of step 12; the state is of step 7
    written = folder / "log.jsonl"
    while group.running() and not (written.exists() and written.read_text().count("\n") >= 12):
        pass
    assert group.kill() == [-signal.SIGKILL] * 2
    assert json.loads((folder / "state" / "state.json").read_text())["step"] == 7
    assert codes(Group(folder, 2)) == [0, 0]
    assert log(folder) == log(pair)
    whole, resumed = (load_file(f / "model.safetensors") for f in (pair, folder))
    assert all(torch.equal(resumed[name], value) for name, value in whole.items())


@pytest.mark.slow
def test_one_process_goes_on_where_two_were(alone: Path, tmp_path: Path) -> None:
    """As long as processes x accumulate stays the same a run may go on with another number of processes."""
    folder = tmp_path / "run"
    group = Group(folder, 2, wait_at=25)
    while group.running() and not (folder / "state" / "state.json").exists():
        pass
    group.kill()
    train(EverythingTask(), replace(LOOP, accumulate=2), folder, "test")
    assert_same(alone, folder)


@pytest.mark.slow
def test_all_stop_at_a_loss_that_is_no_number(tmp_path: Path) -> None:
    """One process's batch is spoilt: both stop at its step, with its name, and no weights are left behind."""
    ended = Group(tmp_path / "run", 2, spoil_at=17).finish()
    assert all(code != 0 for code, _ in ended)
    for _, errors in ended:
        assert "NonFiniteLossError: loss is nan at step 8" in errors
    assert not (tmp_path / "run" / "model.safetensors").exists()


def test_another_number_of_micro_batches_is_refused(alone: Path) -> None:
    """A step of other batches would not be the same run."""
    with pytest.raises(CheckpointError, match="2 micro-batches a step, and processes x accumulate is now 3"):
        train(EverythingTask(), replace(LOOP, accumulate=3), alone, "test")


@dataclass(frozen=True)
class Apart(World):
    """A world whose other process found another checkpoint."""

    def gather(self, value: Any) -> list[Any]:
        """This one's, and seven steps more."""
        return [value, value + 7]


def test_all_must_see_the_same_checkpoint(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A folder that is not shared is found out before the first step."""
    monkeypatch.setattr("training.engine.current_world", Apart)
    with pytest.raises(CheckpointError, match="must be on a shared disk"):
        train(EverythingTask(), LOOP, tmp_path, "test")


def test_without_torchrun_one_trains_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """A world of one; but processes that were started together and have not met are refused."""
    with joined() as world:
        assert world == World(0, 1)
        assert world.first
        assert world.gather("x") == ["x"]
    monkeypatch.setenv("WORLD_SIZE", "2")
    with pytest.raises(WorldError, match="torchrun started 2 processes"):
        current_world()


class Average(nn.Module):
    """A moving average and a counter."""

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("mean", torch.tensor([1.0, 1.0]))
        self.register_buffer("seen", torch.tensor(3))
        self.mean: Tensor
        self.seen: Tensor

    def learn(self, value: float) -> None:
        """Half-way to a value."""
        self.mean[0] += 0.5 * (value - self.mean[0])
        self.seen += 1


def test_an_average_moves_by_the_mean_of_its_micro_batches() -> None:
    """Each starts from the same value: 1 → (2, 3) on average 2.5; whole numbers count one step; the rest stays."""
    module = Average()
    buffers = SharedBuffers(module, World(), 2)
    buffers.begin()
    for value in (3.0, 5.0):
        module.learn(value)
        buffers.collect()
        assert module.mean.tolist() == [1.0, 1.0]
    buffers.finish()
    assert module.mean.tolist() == [2.5, 1.0]
    assert int(module.seen) == 4


def test_a_step_needs_micro_batches() -> None:
    """Nothing was collected: a mistake of the caller."""
    buffers = SharedBuffers(Average(), World(), 2)
    buffers.begin()
    with pytest.raises(RuntimeError, match="no micro-batch"):
        buffers.finish()
