"""A tiny bundle in service."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from app.settings import Settings
from tests.support.service import Api, ServerThread, api, make_settings, server
from tests.support.tiny_bundle import write_tiny_bundle


@pytest.fixture(scope="session")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a tiny bundle; not to be changed."""
    return write_tiny_bundle(tmp_path_factory.mktemp("bundle") / "tiny")


@pytest.fixture(scope="session")
def plain(bundle: Path) -> Settings:
    """Development, no keys."""
    return make_settings(bundle)


@pytest.fixture
def web(plain: Settings) -> Iterator[Api]:
    """The HTTP side of a service without keys."""
    with api(plain) as running:
        yield running


@pytest.fixture(scope="module")
def live(plain: Settings) -> Iterator[ServerThread]:
    """A server for a module of tests; each takes call ids and lines of its own."""
    with server(plain) as running:
        yield running
