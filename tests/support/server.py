"""A real server process for end-to-end tests, and what they need around it."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO, TypeVar

ROOT = Path(__file__).resolve().parents[2]
START_TIMEOUT_S = 60.0
STOP_TIMEOUT_S = 60.0
ANNOUNCEMENT = re.compile(r"kowairo listens on (http://\S+)")

T = TypeVar("T")


class ServerError(AssertionError):
    """The process did not do what it was started for; the message holds what it wrote."""


@dataclass(slots=True)
class RunningServer:
    """A server that is up. url: `http://…`; stderr: what it complains about."""

    process: subprocess.Popen[str]
    url: str
    stderr: IO[str]

    @property
    def stream_url(self) -> str:
        """Of the native protocol."""
        return self.url.replace("http", "ws", 1) + "/v1/stream"

    @property
    def port(self) -> int:
        """Where it listens."""
        return int(self.url.rsplit(":", 1)[1])

    def complaints(self) -> str:
        """Everything on its stderr so far."""
        self.stderr.seek(0)
        return self.stderr.read()

    def status_kib(self, field: str) -> int:
        """A figure in KiB from `/proc/<pid>/status`, such as VmRSS."""
        status = Path(f"/proc/{self.process.pid}/status").read_text(encoding="ascii")
        found = re.search(rf"^{field}:\s+(\d+) kB", status, re.M)
        assert found is not None
        return int(found[1])

    def mapped_files(self) -> str:
        """`/proc/<pid>/maps`: every library in the process."""
        return Path(f"/proc/{self.process.pid}/maps").read_text(encoding="utf-8")

    def terminate(self) -> int:
        """SIGTERM, wait, and the exit code."""
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(STOP_TIMEOUT_S)


def clean_environment(settings: Mapping[str, str]) -> dict[str, str]:
    """This process's environment with these Kowairo settings and no others."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("KOWAIRO_")}
    return kept | {"PYTHONUNBUFFERED": "1", **settings}


@contextmanager
def app_process(
    *arguments: str, settings: Mapping[str, str]
) -> Iterator[tuple[subprocess.Popen[str], IO[str]]]:
    """`python -m app …` with its stdout on a pipe and its stderr in a file; killed at the end."""
    with tempfile.TemporaryFile("w+", encoding="utf-8") as stderr:
        process = subprocess.Popen(
            [sys.executable, "-m", "app", *arguments],
            cwd=ROOT,
            env=clean_environment(settings),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=stderr,
            text=True,
            start_new_session=True,
        )
        with process:
            try:
                yield process, stderr
            finally:
                # The whole group: the demo has a service of its own.
                with suppress(ProcessLookupError):
                    os.killpg(process.pid, signal.SIGKILL)


@contextmanager
def running_server(settings: Mapping[str, str], *arguments: str) -> Iterator[RunningServer]:
    """`python -m app serve` on a free port of loopback, once it says that it listens."""
    with app_process("serve", "--port", "0", *arguments, settings=settings) as (process, stderr):
        line = read_line(process, START_TIMEOUT_S)
        found = ANNOUNCEMENT.match(line)
        if found is None:
            stderr.seek(0)
            raise ServerError(f"expected an announcement, got {line!r} and on stderr: {stderr.read()}")
        yield RunningServer(process, found[1], stderr)


def read_line(process: subprocess.Popen[str], timeout_s: float) -> str:
    """The next line of a process's stdout; empty when it has ended, or is killed because the time is up."""
    assert process.stdout is not None
    watchdog = threading.Timer(timeout_s, process.kill)
    watchdog.start()
    try:
        return process.stdout.readline()
    finally:
        watchdog.cancel()


def eventually(look: Callable[[], T | None], timeout_s: float = 30.0) -> T:
    """What `look` finds, asked again and again until it is not None.

    Raises:
        AssertionError: it found nothing in time.
    """
    deadline = time.monotonic() + timeout_s
    while time.monotonic() < deadline:
        found = look()
        if found is not None:
            return found
        time.sleep(0.02)
    raise AssertionError(f"nothing was found within {timeout_s} s")
