"""A real server with the bundle that ships, and the sample call."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from app.settings import BundleSettings
from tests.support.server import RunningServer, running_server
from tests.support.tiny_bundle import write_tiny_bundle


@pytest.fixture(scope="session")
def bundle_path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The bundle that ships; a tiny one in a checkout that has none."""
    shipped = BundleSettings().resolved_path()
    if (shipped / "manifest.json").exists():
        return shipped
    return write_tiny_bundle(tmp_path_factory.mktemp("bundle") / "tiny")


@pytest.fixture(scope="session")
def settings(bundle_path: Path) -> dict[str, str]:
    """What every server here is started with."""
    return {"KOWAIRO_BUNDLE__PATH": str(bundle_path), "KOWAIRO_INFERENCE__PROVIDER": "cpu"}


@pytest.fixture(scope="module")
def server(settings: dict[str, str]) -> Iterator[RunningServer]:
    """A server for a module of tests; every test takes call ids and lines of its own."""
    with running_server(settings) as running:
        yield running
        assert running.terminate() == 0
        assert "Traceback" not in running.complaints()
