"""A real Redis for tests: started, killed and started again on the same data."""

from __future__ import annotations

import shutil
import signal
import socket
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from tests.support.server import eventually

PROGRAM = "redis-server"
SLOTS = 16_384


class RedisServer:
    """One `redis-server` with its files in a folder of its own; `redis_server` makes it and ends it.

    url: for `RedisStores.connect`. It stays the same over `kill` and `start`.
    """

    def __init__(self, directory: Path, *, cluster: bool, options: tuple[str, ...]) -> None:
        self._directory = directory
        self._cluster = cluster
        self._options = options
        self._process: subprocess.Popen[bytes] | None = None
        # The path of a Unix socket may have about a hundred bytes; a cluster's nodes speak TCP only.
        self._socket = directory / "redis.sock"
        self._tcp = cluster or len(str(self._socket)) > 100
        self._port = _free_port() if self._tcp else 0

    @property
    def url(self) -> str:
        """Where it listens."""
        if self._cluster:
            return f"redis+cluster://127.0.0.1:{self._port}"
        return f"redis://127.0.0.1:{self._port}" if self._tcp else f"unix://{self._socket}"

    @property
    def pid(self) -> int:
        """Of its process."""
        return self._running().pid

    def start(self, *options: str) -> None:
        """Starts it, and returns once it answers. options: for this start, after the others."""
        port = ["--port", str(self._port), "--bind", "127.0.0.1"]
        place = port if self._tcp else ["--port", "0", "--unixsocket", str(self._socket)]
        command = [PROGRAM, *place, "--dir", str(self._directory), "--save", "", *self._options, *options]
        with (self._directory / "redis.log").open("ab") as log:
            self._process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        eventually(lambda: self._answers() or None)
        if self._cluster:
            self.command("CLUSTER", "ADDSLOTSRANGE", "0", str(SLOTS - 1))
            eventually(lambda: b"cluster_state:ok" in self.command("CLUSTER", "INFO") or None)

    def kill(self) -> None:
        """SIGKILL: whatever was not on its disk is lost."""
        process = self._running()
        process.kill()
        process.wait()
        self._process = None

    def pause(self) -> None:
        """SIGSTOP: connections stay, nothing answers."""
        self._running().send_signal(signal.SIGSTOP)

    def go_on(self) -> None:
        """SIGCONT after `pause`."""
        self._running().send_signal(signal.SIGCONT)

    def command(self, *words: str) -> bytes:
        """Sends one command by itself and returns what came back, as it came."""
        text = b"".join(b"$%d\r\n%s\r\n" % (len(word.encode()), word.encode()) for word in words)
        with self._connected() as connection:
            connection.sendall(b"*%d\r\n%s*1\r\n$4\r\nQUIT\r\n" % (len(words), text))
            answer = b""
            while piece := connection.recv(65_536):
                answer += piece
        return answer.removesuffix(b"+OK\r\n")

    def stop(self) -> None:
        """Ends it, if it runs."""
        if self._process is not None:
            self.kill()

    def _answers(self) -> bool:
        if self._running().poll() is not None:
            raise AssertionError((self._directory / "redis.log").read_text(encoding="utf-8"))
        with suppress(OSError):
            return self.command("PING") == b"+PONG\r\n"
        return False

    def _running(self) -> subprocess.Popen[bytes]:
        assert self._process is not None, "this Redis does not run"
        return self._process

    def _connected(self) -> socket.socket:
        if self._tcp:
            return socket.create_connection(("127.0.0.1", self._port), timeout=10.0)
        connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        connection.settimeout(10.0)
        try:
            connection.connect(str(self._socket))
        except OSError:
            connection.close()
            raise
        return connection


@contextmanager
def redis_server(
    directory: Path,
    *options: str,
    appendonly: bool = False,
    appendfsync: str = "always",
    cluster: bool = False,
) -> Iterator[RedisServer]:
    """A real Redis on a free port or a Unix socket, with its data in `directory`. options: more of its own.

    The test is skipped where there is no `redis-server`.
    """
    if shutil.which(PROGRAM) is None:
        pytest.skip(
            "NO redis-server ON THIS MACHINE: nothing about Redis is tested (Debian: apt install redis-server)"
        )
    directory.mkdir(parents=True, exist_ok=True)
    log = ("--appendonly", "yes" if appendonly else "no", "--appendfsync", appendfsync)
    nodes = ("--cluster-enabled", "yes", "--cluster-config-file", "nodes.conf") if cluster else ()
    server = RedisServer(directory, cluster=cluster, options=(*log, *nodes, *options))
    try:
        server.start()
        yield server
    finally:
        server.stop()


def _free_port() -> int:
    # A cluster's nodes also take the port 10,000 above, so it must be a low one.
    for _ in range(100):
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port: int = probe.getsockname()[1]
        low = 1_024 + port % 40_000
        with socket.socket() as probe, suppress(OSError):
            probe.bind(("127.0.0.1", low))
            return low
    raise AssertionError("no free port")
