"""One small run for all experiments to read."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.training.experiments.tiny_run import write_run
from training.experiments.source import Source


@pytest.fixture(scope="session")
def run_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Not to be written to."""
    return write_run(tmp_path_factory.mktemp("experiments") / "run")


@pytest.fixture(scope="session")
def source(run_folder: Path) -> Source:
    """The same, opened."""
    return Source(run_folder)
