"""The loop learns, repeats, resumes after a kill to the same curve, and stops where the loss is no number."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from tests.training.looping import LOOP, LoopingTask
from tests.training.together import ROOT
from training.engine import LoopConfig, NonFiniteLossError, train, use_bf16
from training.schedule import warmup_cosine


def log(folder: Path) -> list[dict[str, float]]:
    """The figures of a run."""
    return [json.loads(line) for line in (folder / "log.jsonl").read_text().splitlines()]


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a run from start to end."""
    folder = tmp_path_factory.mktemp("uninterrupted")
    train(LoopingTask(), LOOP, folder, "test")
    return folder


def test_it_learns_and_keeps_the_average(uninterrupted: Path) -> None:
    """The loss falls; the saved weights are the averaged ones, not the last ones; every step is logged."""
    curve = log(uninterrupted)
    assert [row["step"] for row in curve] == list(range(1, 41))
    assert sum(r["loss"] for r in curve[-8:]) < 0.8 * sum(r["loss"] for r in curve[:8])
    last = load_file(uninterrupted / "state" / "model.safetensors")
    kept = load_file(uninterrupted / "model.safetensors")
    assert set(last) == set(kept)
    assert not torch.equal(last["layers.0.weight"], kept["layers.0.weight"])
    assert torch.equal(last["layers.1.running_mean"], kept["layers.1.running_mean"])


def test_a_killed_run_goes_on_to_the_same_curve(uninterrupted: Path, tmp_path: Path) -> None:
    """`kill -9` in the middle: the log and the weights after resuming are those of a run that was left alone."""
    child = subprocess.Popen(
        [sys.executable, "-m", "tests.training.looping", str(tmp_path), "26"],
        cwd=ROOT,
        stderr=subprocess.DEVNULL,
    )
    written = tmp_path / "log.jsonl"
    while child.poll() is None and not (written.exists() and written.read_text().count("\n") >= 26):
        pass
    child.send_signal(signal.SIGKILL)
    assert child.wait() == -signal.SIGKILL
    state = json.loads((tmp_path / "state" / "state.json").read_text())
    assert state["step"] == 21
    assert not (tmp_path / "model.safetensors").exists()
    with written.open("a") as file:
        file.write('{"step": 27, "lo')  # a line that the kill tore
    train(LoopingTask(), LOOP, tmp_path, "test")
    assert log(tmp_path) == log(uninterrupted)
    resumed, whole = (load_file(folder / "model.safetensors") for folder in (tmp_path, uninterrupted))
    assert all(torch.equal(resumed[name], value) for name, value in whole.items())


def test_a_finished_run_is_left_as_it_is(uninterrupted: Path) -> None:
    """Training on to the step that was reached changes neither log nor weights."""
    before, weights = log(uninterrupted), (uninterrupted / "model.safetensors").read_bytes()
    train(LoopingTask(), LOOP, uninterrupted, "test")
    assert log(uninterrupted) == before
    assert (uninterrupted / "model.safetensors").read_bytes() == weights


def test_it_stops_at_the_first_loss_that_is_no_number(tmp_path: Path) -> None:
    """The step is named, nothing is saved after it, and no finished weights are left behind."""
    with pytest.raises(NonFiniteLossError, match="loss is nan at step 9"):
        train(LoopingTask(spoil_at=9), LOOP, tmp_path, "test")
    assert json.loads((tmp_path / "state" / "state.json").read_text())["step"] == 7
    assert not (tmp_path / "model.safetensors").exists()
    for value in load_file(tmp_path / "state" / "model.safetensors").values():
        assert bool(torch.isfinite(value).all())


def test_batches_from_a_process_of_their_own_are_the_same(uninterrupted: Path, tmp_path: Path) -> None:
    """One worker that makes batches ahead changes nothing."""
    train(LoopingTask(), replace(LOOP, workers=1), tmp_path, "test")
    assert log(tmp_path) == log(uninterrupted)


def test_precision() -> None:
    """`auto` asks the machine, the others don't; anything else is refused when it is configured."""
    assert use_bf16("bf16")
    assert not use_bf16("fp32")
    assert use_bf16("auto") in (True, False)
    for changes in ({"steps": 0}, {"accumulate": 0}, {"workers": -1}):
        with pytest.raises(ValueError, match="at least"):
            LoopConfig(**changes)


def test_the_curve_is_that_of_a_plain_loop(uninterrupted: Path) -> None:
    """One process without accumulation: batches numbered by steps, torch seeded by them, AdamW, nothing else."""
    task = LoopingTask()
    weights = [[p for p in task.module.parameters() if (p.ndim >= 2) == matrix] for matrix in (True, False)]
    optimizer = torch.optim.AdamW(
        [{"params": p, "weight_decay": d} for p, d in zip(weights, (LOOP.weight_decay, 0.0), strict=True)],
        betas=(0.9, 0.98),
    )
    task.module.train()
    for step, row in enumerate(log(uninterrupted)):
        torch.manual_seed(step)
        for group in optimizer.param_groups:
            group["lr"] = LOOP.learning_rate * warmup_cosine(step, LOOP.steps, LOOP.warmup)
        loss, _ = task.loss(task.batches[step])
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        torch.nn.utils.clip_grad_norm_(task.module.parameters(), LOOP.clip_norm)
        optimizer.step()
        assert float(loss.detach()) == row["loss"]
    last = load_file(uninterrupted / "state" / "model.safetensors")
    assert all(torch.equal(value, last[name]) for name, value in task.module.state_dict().items())


def test_accumulation_is_the_mean_gradient(tmp_path: Path) -> None:
    """One step over three micro-batches moves the weights by the mean of their gradients."""
    task, loop = LoopingTask(), replace(LOOP, steps=1, accumulate=3, ema_decay=0.0)
    plain = LoopingTask()
    plain.module.train()
    total = 0.0
    for number in range(3):
        torch.manual_seed(number)
        loss, _ = plain.loss(plain.batches[number])
        (loss / 3).backward()
        total += float(loss.detach()) / 3
    train(task, loop, tmp_path, "test")
    assert log(tmp_path)[0]["loss"] == pytest.approx(total)
    torch.nn.utils.clip_grad_norm_(plain.module.parameters(), loop.clip_norm)
    for one, other in zip(task.module.parameters(), plain.module.parameters(), strict=True):
        assert one.grad is not None
        assert other.grad is not None
        torch.testing.assert_close(one.grad, other.grad)
