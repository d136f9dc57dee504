"""One thread for torch in these tests, and one run of the whole debug chain for all that look at its output."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from training.config import load_config
from training.run import Run
from training.run_config import RunConfig

ROOT = Path(__file__).resolve().parents[2]
DEBUG = Path("training/configs/run/debug.yaml")


@pytest.fixture(autouse=True, scope="package")
def one_thread() -> Iterator[None]:
    """Small networks are quickest so, and other processes are left alone."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="session")
def debug_run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """`python -m training run` on the debug configuration, in a process of its own; not to be written to."""
    out = tmp_path_factory.mktemp("training") / "debug"
    done = training("run", "--config", DEBUG.as_posix(), "--out", str(out))
    assert done.returncode == 0, done.stderr
    return Run(load_config(ROOT / DEBUG, RunConfig), out, DEBUG.as_posix())


def training(*arguments: str) -> subprocess.CompletedProcess[str]:
    """`python -m training …` from the repository's root, as a user would."""
    return subprocess.run(
        [sys.executable, "-m", "training", *arguments],
        cwd=ROOT,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
    )
