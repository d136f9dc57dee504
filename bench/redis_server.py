"""A Redis of one's own for a benchmark: started, killed and started again on the same data."""

from __future__ import annotations

import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Literal

from bench.figures import BenchError

PROGRAM = "redis-server"
START_TIMEOUT_S = 30.0

FsyncPolicy = Literal["no", "everysec", "always"]


class RedisServer:
    """One `redis-server` with its files in a directory; `redis_server` makes it and ends it.

    path: of its Unix socket, which must be short. fsync: when its log is written through; None: it keeps no log.
    """

    def __init__(self, directory: Path, path: Path, fsync: FsyncPolicy | None) -> None:
        self._directory = directory
        self._path = path
        log = ("--appendonly", "no") if fsync is None else ("--appendonly", "yes", "--appendfsync", fsync)
        place = ("--port", "0", "--unixsocket", str(self._path), "--dir", str(directory))
        self._command = (PROGRAM, *place, "--save", "", *log)
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        """Where it listens, also after `kill` and `start`."""
        return f"unix://{self._path}"

    @property
    def pid(self) -> int:
        """Of its process."""
        return self._running().pid

    def start(self) -> None:
        """Starts it; returns once it has read its data and answers.

        Raises:
            BenchError: it does not.
        """
        with (self._directory / "redis.log").open("ab") as log:
            self._process = subprocess.Popen(self._command, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        deadline = time.monotonic() + START_TIMEOUT_S
        while not self._answers():
            if self._process.poll() is not None or time.monotonic() > deadline:
                raise BenchError((self._directory / "redis.log").read_text(encoding="utf-8"))
            time.sleep(0.002)

    def kill(self) -> None:
        """SIGKILL."""
        process = self._running()
        process.kill()
        process.wait()
        self._process = None

    def memory(self) -> int:
        """Bytes it uses, by its own account."""
        for line in self._said("INFO memory").splitlines():
            if line.startswith("used_memory:"):
                return int(line.partition(":")[2])
        raise BenchError("Redis does not say what memory it uses")

    def stop(self) -> None:
        """Ends it, if it runs."""
        if self._process is not None:
            self.kill()

    def _answers(self) -> bool:
        with suppress(OSError):
            return self._said("PING").startswith("+PONG")
        return False

    def _said(self, command: str) -> str:
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
            connection.settimeout(START_TIMEOUT_S)
            connection.connect(str(self._path))
            connection.sendall(f"{command}\r\nQUIT\r\n".encode())
            pieces = []
            while piece := connection.recv(65_536):
                pieces.append(piece)
        return b"".join(pieces).decode()

    def _running(self) -> subprocess.Popen[bytes]:
        if self._process is None:
            raise BenchError("this Redis does not run")
        return self._process


@contextmanager
def redis_server(directory: Path, fsync: FsyncPolicy | None) -> Iterator[RedisServer]:
    """A running Redis with its files in a directory, which is made.

    Raises:
        BenchError: there is no `redis-server` on this machine, or it does not start.
    """
    if shutil.which(PROGRAM) is None:
        raise BenchError("expected redis-server on this machine (Debian: apt install redis-server)")
    directory.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="kowairo-") as place:
        server = RedisServer(directory, Path(place) / "redis.sock", fsync)
        try:
            server.start()
            yield server
        finally:
            server.stop()
