"""A tiny bundle in service."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from app.main import build_services
from tests.contracts.seeded import undelivering
from tests.support.service import ServerThread, make_settings, server
from tests.support.tiny_bundle import write_tiny_bundle


@pytest.fixture(scope="session")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a tiny bundle; not to be changed."""
    return write_tiny_bundle(tmp_path_factory.mktemp("bundle") / "tiny")


@pytest.fixture(scope="module")
def live(bundle: Path) -> Iterator[ServerThread]:
    """A server without keys whose webhooks go nowhere."""
    settings = make_settings(bundle)
    with server(settings, undelivering(build_services(settings))) as running:
        yield running
