"""Who uses a server that is measured: its process, one connection that polls, and viewers on WebSockets.

They do as little as they can, for they run on the machine that is measured.
"""

from __future__ import annotations

import asyncio
import http.client
import json
import os
import socket
import struct
import subprocess
import sys
import tempfile
import threading
import time
from base64 import b64encode
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from bench.figures import BenchError

ROOT = Path(__file__).resolve().parent.parent
START_TIMEOUT_S = 60.0
ANSWER_TIMEOUT_S = 300.0
_LATENCY = b'"latency_ms":'
_OPCODE, _PING, _CLOSE = 0x0F, 0x9, 0x8
_LEAST_BUFFER = 4_096


class ServerProcess:
    """A `bench.serving` that is up. address: host and port."""

    def __init__(self, process: subprocess.Popen[str], url: str) -> None:
        place = urlsplit(url)
        self.pid = process.pid
        self.address = (place.hostname or "", place.port or 80)

    def ask(self, what: str, **options: Any) -> dict[str, Any]:
        """Has it do something; returns what it says of it.

        Raises:
            BenchError: it failed.
        """
        connection = http.client.HTTPConnection(*self.address, timeout=ANSWER_TIMEOUT_S)
        try:
            connection.request("POST", f"/bench/{what}", json.dumps(options))
            answer = connection.getresponse()
            body = answer.read()
        finally:
            connection.close()
        if answer.status != 200:
            raise BenchError(f"the server failed to {what}")
        said: dict[str, Any] = json.loads(body)
        return said


@contextmanager
def server_process(options: Mapping[str, Any], folder: Path) -> Iterator[ServerProcess]:
    """Starts `python -m bench.serving` in a folder, and kills it at the end.

    Raises:
        BenchError: it does not start; what it wrote is in the message.
    """
    environment = {name: value for name, value in os.environ.items() if not name.startswith("KOWAIRO_")}
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryFile("w+", encoding="utf-8") as said:
        process = subprocess.Popen(
            [sys.executable, "-m", "bench.serving", json.dumps(options)],
            cwd=folder,
            env={**environment, "PYTHONPATH": str(ROOT)},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=said,
            text=True,
        )
        with process:
            try:
                url = _first_line(process)
                if not url:
                    said.seek(0)
                    raise BenchError(f"the server did not start: {said.read()}")
                yield ServerProcess(process, url)
            finally:
                process.kill()


def _first_line(process: subprocess.Popen[str]) -> str:
    if process.stdout is None:
        raise BenchError("the server has no standard output")
    watchdog = threading.Timer(START_TIMEOUT_S, process.kill)
    watchdog.start()
    try:
        return process.stdout.readline().strip()
    finally:
        watchdog.cancel()


class Poller:
    """One connection that is kept, and a request after the other."""

    def __init__(self, server: ServerProcess) -> None:
        self._socket = socket.create_connection(server.address, timeout=ANSWER_TIMEOUT_S)
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._host = f"{server.address[0]}:{server.address[1]}"

    def __enter__(self) -> Poller:
        return self

    def __exit__(self, *_: object) -> None:
        self._socket.close()

    def get(self, path: str, etag: str = "") -> tuple[float, int, bytes, bytes]:
        """Seconds that it took, the status, the head in lower case and the body.

        Raises:
            BenchError: the connection was closed.
        """
        known = f"If-None-Match: {etag}\r\n" if etag else ""
        request = f"GET {path} HTTP/1.1\r\nHost: {self._host}\r\n{known}\r\n".encode()
        began = time.perf_counter()
        self._socket.sendall(request)
        data = b""
        while b"\r\n\r\n" not in data:
            data += self._piece()
        head, _, body = data.partition(b"\r\n\r\n")
        status = int(head[9:12])
        _, _, rest = head.lower().partition(b"\r\ncontent-length:")
        size = int(rest.partition(b"\r\n")[0] or 0) if status != 304 else 0
        while len(body) < size:
            body += self._piece()
        return time.perf_counter() - began, status, head, body

    def _piece(self) -> bytes:
        piece = self._socket.recv(1 << 20)
        if not piece:
            raise BenchError("the server closed the connection")
        return piece


class Viewer(asyncio.Protocol):
    """A viewer of a feed. latencies: of every event with one, seconds from its making to its arrival."""

    def __init__(self, path: str) -> None:
        self.latencies: list[float] = []
        self.opened: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.closed = False
        self._path = path
        self._data = bytearray()
        self._transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Asks for the feed."""
        if not isinstance(transport, asyncio.Transport):
            raise BenchError("expected a stream")
        self._transport = transport
        host, port = transport.get_extra_info("peername")[:2]
        key = b64encode(os.urandom(16)).decode()
        transport.write(
            f"GET {self._path} HTTP/1.1\r\nHost: {host}:{port}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
            f"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: {key}\r\n\r\n".encode()
        )

    def data_received(self, data: bytes) -> None:
        """Takes what came apart into messages."""
        now = time.monotonic()
        self._data += data
        if not self.opened.done():
            head, end, rest = self._data.partition(b"\r\n\r\n")
            if not end:
                return
            self._data = rest
            if not head.startswith(b"HTTP/1.1 101"):
                self.opened.set_exception(BenchError(f"no WebSocket: {bytes(head[:40])!r}"))
                return
            self.opened.set_result(None)
        for opcode, payload in self._frames():
            self._take(opcode, payload, now)

    def connection_lost(self, exc: Exception | None) -> None:
        """It is over."""
        self.closed = True
        if not self.opened.done():
            self.opened.set_exception(BenchError("the server closed the connection"))

    def leave(self) -> None:
        """Goes."""
        if self._transport is not None:
            self._transport.abort()

    def _take(self, opcode: int, payload: bytes, now: float) -> None:
        if opcode == _PING and self._transport is not None:
            self._transport.write(bytes((0x8A, 0x80 | len(payload))) + bytes(4) + payload)
        elif opcode == _CLOSE:
            self.closed = True
        else:
            at = payload.find(_LATENCY)
            if at >= 0:
                text = payload[at + len(_LATENCY) : payload.index(b",", at)]
                self.latencies.append(now - float(text) / 1e3)

    def _frames(self) -> Iterator[tuple[int, bytes]]:
        """Whole frames; a server does not mask them, and uvicorn does not split them."""
        data, at = self._data, 0
        while len(data) - at >= 2:
            size, begin = data[at + 1] & 0x7F, at + 2
            if size >= 126:
                form, length = (">H", 2) if size == 126 else (">Q", 8)
                if len(data) - begin < length:
                    break
                (size,) = struct.unpack_from(form, data, begin)
                begin += length
            if len(data) - begin < size:
                break
            yield data[at] & _OPCODE, bytes(data[begin : begin + size])
            at = begin + size
        del data[:at]


@asynccontextmanager
async def viewers(server: ServerProcess, path: str, count: int) -> AsyncIterator[list[Viewer]]:
    """So many viewers of a feed, all let in.

    Raises:
        BenchError: one was not.
    """
    loop = asyncio.get_running_loop()
    made: list[Viewer] = []
    try:
        for _ in range(count):
            _, viewer = await loop.create_connection(lambda: Viewer(path), *server.address)
            made.append(viewer)
        await asyncio.wait_for(asyncio.gather(*(viewer.opened for viewer in made)), START_TIMEOUT_S)
        yield made
    finally:
        for viewer in made:
            viewer.leave()
            if viewer.opened.done():
                viewer.opened.exception()


@contextmanager
def stalled_viewer(server: ServerProcess, path: str) -> Iterator[None]:
    """A viewer that asks for a feed and then reads nothing more."""
    host = f"{server.address[0]}:{server.address[1]}"
    request = (
        f"GET {path} HTTP/1.1\r\nHost: {host}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
        "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n"
    )
    with socket.socket() as connection:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _LEAST_BUFFER)
        connection.settimeout(START_TIMEOUT_S)
        connection.connect(server.address)
        connection.sendall(request.encode())
        if not connection.recv(12).startswith(b"HTTP/1.1 101"):
            raise BenchError("no WebSocket")
        yield


async def arrived(watching: Sequence[Viewer], events: int) -> list[float]:
    """Latencies of so many events of each viewer, once they are all there.

    Raises:
        BenchError: a viewer was cut off, or some did not come.
    """
    deadline = time.monotonic() + START_TIMEOUT_S
    while any(len(viewer.latencies) < events for viewer in watching):
        if time.monotonic() > deadline or any(viewer.closed for viewer in watching):
            counts = sorted({len(viewer.latencies) for viewer in watching})
            raise BenchError(f"viewers were told {counts} of {events} events")
        await asyncio.sleep(0.002)
    return [latency for viewer in watching for latency in viewer.latencies]
