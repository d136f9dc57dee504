"""Live feeds of a real server: things made to happen there, and viewers that read them."""

from __future__ import annotations

import asyncio
import json
import socket
from collections.abc import Callable, Coroutine, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, TypeVar
from urllib.parse import urlsplit

import httpx

from app.results.live_event import LiveEvent
from app.results.writes import Write
from tests.support.feeds import event_of, stored
from tests.support.service import ServerThread

T = TypeVar("T")
SOON_S = 60.0


def on_server(server: ServerThread, work: Coroutine[Any, Any, T]) -> T:
    """Does something on the server's own loop, and returns what came of it."""
    return asyncio.run_coroutine_threadsafe(work, server.loop).result(SOON_S)


def happen(server: ServerThread, *writes: Write) -> None:
    """Changes are carried out and told, as a call does it."""

    async def work() -> None:
        for write in writes:
            position = (await stored(server.services.store, write)).position
            server.services.publisher.publish(event_of(write, position))

    on_server(server, work())


def pass_by(server: ServerThread, *events: LiveEvent) -> None:
    """Something happens that is not kept."""

    async def work() -> None:
        for event in events:
            server.services.publisher.publish(event)

    on_server(server, work())


def seen_by_server(server: ServerThread, look: Callable[[], T]) -> T:
    """What is found on the server's own loop."""

    async def work() -> T:
        return look()

    return on_server(server, work())


@dataclass(frozen=True, slots=True)
class Told:
    """One server-sent event; of a comment only the id, if it gives one."""

    id: str | None
    type: str | None
    body: Mapping[str, Any]


def parse_sse(block: str) -> Told:
    """One block of server-sent text."""
    fields = dict(line.split(": ", 1) for line in block.split("\n") if not line.startswith(":"))
    return Told(fields.get("id"), fields.get("event"), json.loads(fields.get("data", "{}")))


def sse_blocks(lines: Iterator[str]) -> Iterator[Told]:
    """Blocks of server-sent text, as they come."""
    block: list[str] = []
    for line in lines:
        if line:
            block.append(line)
        else:
            yield parse_sse("\n".join(block))
            block = []


@contextmanager
def watching(url: str, headers: Mapping[str, str] | None = None) -> Iterator[Iterator[Told]]:
    """A viewer by server-sent events."""
    with httpx.stream("GET", url, headers=dict(headers or {}), trust_env=False, timeout=SOON_S) as answer:
        assert answer.status_code == 200, answer.read()
        yield sse_blocks(answer.iter_lines())


@contextmanager
def stalled(url: str, *, websocket: bool) -> Iterator[socket.socket]:
    """A viewer that asks for a feed and then reads no more than its small buffer takes."""
    place = urlsplit(url)
    upgrade = (
        "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"
        "Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n"
    )
    request = f"GET {place.path}?{place.query} HTTP/1.1\r\nHost: {place.netloc}\r\n{upgrade if websocket else ''}\r\n"
    with socket.socket() as viewer:
        viewer.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4_096)
        viewer.settimeout(SOON_S)
        viewer.connect((place.hostname or "", place.port or 80))
        viewer.sendall(request.encode())
        assert viewer.recv(12).startswith(b"HTTP/1.1 " + (b"101" if websocket else b"200"))
        yield viewer
