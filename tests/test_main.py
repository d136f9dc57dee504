"""The service is wired once; what cannot be served is refused before the first connection."""

from __future__ import annotations

import asyncio
import json
import socket
from pathlib import Path
from typing import Any

import pytest

from app.api.deps import Services
from app.api.server import AddressError
from app.bundle.manifest import BundleError
from app.main import create_app, serve
from app.ort import OrtError
from app.settings import SettingsError
from tests.support.logs import logged
from tests.support.service import make_settings
from tests.support.tiny_bundle import write_tiny_bundle


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny bundle, not to be changed."""
    return write_tiny_bundle(tmp_path_factory.mktemp("bundle") / "tiny")


def refused(bundle: Path, **groups: Any) -> None:
    """Tries to serve, which must fail before anything is announced."""
    with logged():
        serve(make_settings(bundle, **groups), lambda _address: pytest.fail("it listened"))


def test_the_lifespan_builds_and_closes_the_services(bundle: Path) -> None:
    """An application on its own loads the bundle when it starts and stops its threads when it ends."""
    app = create_app(make_settings(bundle))

    async def scenario() -> Services:
        async with app.router.lifespan_context(app):
            services: Services = app.state.services
            assert services.engine.model.bundle == "tiny"
            assert services.metrics.registry.get_sample_value(
                "kowairo_bundle_info",
                {"name": "tiny", "version": "0.0.1", "variant": "int8", "provider": "cpu"},
            )
            return services

    services = asyncio.run(scenario())
    with pytest.raises(RuntimeError, match="shutdown"):
        services.pool.submit(print)


def test_a_missing_bundle_is_refused(tmp_path: Path) -> None:
    """The service does not start without its model."""
    with pytest.raises(BundleError):
        refused(tmp_path / "none")


def test_a_bundle_with_one_flipped_byte_is_refused(tmp_path: Path) -> None:
    """By its hash, and by name."""
    folder = write_tiny_bundle(tmp_path / "tiny")
    content = bytearray((folder / "encoder.int8.onnx").read_bytes())
    content[len(content) // 2] ^= 1
    (folder / "encoder.int8.onnx").write_bytes(content)
    with pytest.raises(BundleError, match=r"encoder\.int8\.onnx"):
        refused(folder)


def test_a_port_in_use_is_refused_before_the_bundle_is_read(tmp_path: Path) -> None:
    """The commonest mistake is told at once."""
    with socket.create_server(("127.0.0.1", 0)) as taken, pytest.raises(AddressError, match="is in use"):
        refused(tmp_path / "none", port=taken.getsockname()[1])


def test_a_cost_for_an_unknown_category_is_refused(bundle: Path) -> None:
    """The matrix must speak the bundle's language."""
    costs = json.loads('{"furious": {"neutral": 5}}')
    with pytest.raises(SettingsError, match=r"KOWAIRO_POLICY__COST_MATRIX.*furious"):
        refused(bundle, policy={"cost_matrix": costs})


def test_a_device_that_is_not_there_is_refused(bundle: Path) -> None:
    """`cuda` means CUDA, not whatever there is."""
    with pytest.raises(OrtError, match="cuda"):
        refused(bundle, inference={"provider": "cuda"})
