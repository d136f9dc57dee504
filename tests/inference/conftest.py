"""The tiny bundle, open, for every test of this room."""

from __future__ import annotations

import pytest

from app.bundle.loader import LoadedBundle, load_bundle
from app.ort import Runtime
from tests.support.tiny_bundle import write_tiny_bundle


@pytest.fixture(scope="session")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> LoadedBundle:
    """The tiny bundle, served as int8 on the CPU."""
    return load_bundle(write_tiny_bundle(tmp_path_factory.mktemp("inference") / "tiny"), Runtime("cpu"))
