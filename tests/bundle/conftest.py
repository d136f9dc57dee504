"""A valid bundle to look at, and copies to spoil."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from tests.support.tiny_bundle import write_tiny_bundle


@pytest.fixture(scope="session")
def valid_bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A valid bundle; not to be written to."""
    return write_tiny_bundle(tmp_path_factory.mktemp("bundle") / "valid")


@pytest.fixture
def bundle_copy(valid_bundle: Path, tmp_path: Path) -> Path:
    """A copy of the valid bundle that the test may spoil."""
    return Path(shutil.copytree(valid_bundle, tmp_path / "copy"))
