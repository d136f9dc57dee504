"""The service inside the test process: its parts, its HTTP side without a socket, and a real server in a thread."""

from __future__ import annotations

import asyncio
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
from fastapi import FastAPI

from app.api.deps import Services
from app.api.server import KowairoServer, bind, make_server
from app.main import build_services, create_app
from app.settings import Settings
from app.telemetry.clock import Clock

START_TIMEOUT_S = 30.0
STOP_TIMEOUT_S = 60.0


def make_settings(bundle: Path, **groups: Any) -> Settings:
    """Settings for a service on a free port of loopback with this bundle; the environment plays no part."""
    return Settings.model_validate(
        {"port": 0, "bundle": {"path": bundle}, "inference": {"provider": "cpu", "workers": 2}} | groups
    )


@contextmanager
def service_parts(settings: Settings, clock: Clock | None = None) -> Iterator[Services]:
    """The parts, closed at the end."""
    services = build_services(settings, clock)
    try:
        yield services
    finally:
        services.pool.shutdown()
        services.uploads.close()
        services.engine.close()


class Api:
    """The HTTP side of an application, without a socket."""

    def __init__(self, app: FastAPI, services: Services, **client: Any) -> None:
        app.state.services = services
        self.services = services
        self.app = app
        self._client = client

    def request(self, method: str, path: str, **options: Any) -> httpx.Response:
        """One request, from a client of its own."""

        async def send() -> httpx.Response:
            transport = httpx.ASGITransport(self.app, raise_app_exceptions=False)
            client = {"base_url": "http://127.0.0.1"} | self._client
            async with httpx.AsyncClient(transport=transport, **client) as session:
                return await session.request(method, path, **options)

        return asyncio.run(send())

    def get(self, path: str, **options: Any) -> httpx.Response:
        """GET."""
        return self.request("GET", path, **options)


@contextmanager
def api(settings: Settings, clock: Clock | None = None, **client: Any) -> Iterator[Api]:
    """The HTTP side of a service with these settings."""
    with service_parts(settings, clock) as services:
        yield Api(create_app(settings, services), services, **client)


class ServerThread:
    """A real server on a free port of loopback, in a thread of the test process."""

    def __init__(self, settings: Settings, services: Services) -> None:
        self.services = services
        self._announced = threading.Event()
        self._socket = bind(settings)
        self._server: KowairoServer = make_server(
            create_app(settings, services), services, self._socket, self._announce
        )
        self._thread = threading.Thread(target=self._server.run, args=([self._socket],), name="server")

    def __enter__(self) -> ServerThread:
        self._thread.start()
        assert self._announced.wait(START_TIMEOUT_S)
        return self

    def __exit__(self, *_: object) -> None:
        self.begin_end()
        self._thread.join(STOP_TIMEOUT_S)
        self._socket.close()
        assert not self._thread.is_alive()

    @property
    def loop(self) -> asyncio.AbstractEventLoop:
        """On which the server runs."""
        return self._server.servers[0].get_loop()

    @property
    def listening(self) -> socket.socket:
        """Where connections come in; they take over its buffers' sizes."""
        return self._socket

    def begin_end(self) -> None:
        """What SIGTERM does."""
        self._server.should_exit = True

    def _announce(self, address: str) -> None:
        self.url = address
        self.stream_url = address.replace("http", "ws", 1) + "/v1/stream"
        self._announced.set()


@contextmanager
def server(settings: Settings, services: Services | None = None) -> Iterator[ServerThread]:
    """A running server; the application closes its parts when it ends."""
    with ServerThread(settings, build_services(settings) if services is None else services) as running:
        yield running
