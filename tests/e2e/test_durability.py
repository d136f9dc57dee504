"""What a client was told to be durable is there, whoever is killed: a history checker, twenty kills of each."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import httpx
import pytest

from tests.e2e.history import Caller, History, faults, read_everything
from tests.support.redis import RedisServer, redis_server
from tests.support.server import RunningServer, eventually, running_server
from tests.support.tiny_bundle import write_tiny_bundle

KILLS = 20
CALLERS = 3
BETWEEN = 2
"""Records that must have been told between two kills."""

pytestmark = pytest.mark.slow


class Service:
    """A service process that can be killed and started again on the same port, store and spool."""

    def __init__(self, settings: dict[str, str], stack: ExitStack) -> None:
        self._settings = settings
        self._stack = stack
        self.running: RunningServer = self._start("0")

    def _start(self, port: str) -> RunningServer:
        return self._stack.enter_context(running_server(self._settings, "--port", port))

    def kill(self) -> None:
        """SIGKILL, and a new process where the old one was."""
        port = self.running.port
        self.running.process.send_signal(signal.SIGKILL)
        self.running.process.wait(30)
        self.running = self._start(str(port))


@contextmanager
def everything(folder: Path) -> Iterator[tuple[RedisServer, Service]]:
    """A Redis that forces every write to its disk, and a service on it."""
    bundle = write_tiny_bundle(folder / "tiny")
    with redis_server(folder / "redis", appendonly=True, appendfsync="always") as redis, ExitStack() as stack:
        settings = {
            "KOWAIRO_BUNDLE__PATH": str(bundle),
            "KOWAIRO_STORE__URL": redis.url,
            "KOWAIRO_STORE__SPOOL_PATH": str(folder / "spool"),
            "KOWAIRO_STORE__HEARTBEAT_S": "0.5",
            "KOWAIRO_STREAM__RESUME_WINDOW_S": "600",
        }
        yield redis, Service(settings, stack)


def run(service: Service, kill: Callable[[], None]) -> History:
    """Load, and twenty kills in it; then everything is brought to its end."""
    history, done = History(), threading.Event()
    callers = [
        Caller(f"caller-{number}", lambda: service.running.stream_url, history, done)
        for number in range(CALLERS)
    ]
    for caller in callers:
        caller.start()
    try:
        for _ in range(KILLS):
            before = history.count()
            eventually(lambda before=before: True if history.count() >= before + BETWEEN else None, 60)
            kill()
        before = history.count()
        eventually(lambda: True if history.count() >= before + BETWEEN else None, 60)
    finally:
        done.set()
        for caller in callers:
            caller.join(60)
    assert [caller.failure for caller in callers] == [None] * CALLERS
    eventually(lambda: True if ready(service) else None, 60)
    return history


def ready(service: Service) -> bool:
    """Whether nothing waits to be written any more."""
    body = httpx.get(f"{service.running.url}/readyz", trust_env=False).json()
    return body["status"] == "ready" and not body["waiting"]


def test_nothing_acknowledged_is_lost_when_redis_is_killed(tmp_path: Path) -> None:
    """Records go to the spool while it is away, and from there to Redis, once each and in order."""
    with everything(tmp_path) as (redis, service):

        def kill() -> None:
            redis.kill()
            waiting = service.running.url + "/readyz"
            eventually(
                lambda: True if httpx.get(waiting, trust_env=False).json()["status"] == "degraded" else None
            )
            redis.start()

        history = run(service, kill)
        assert history.count() >= KILLS * BETWEEN
        assert faults(history.durable(), read_everything(service.running.url)) == []


def test_nothing_acknowledged_is_lost_when_the_service_is_killed(tmp_path: Path) -> None:
    """Calls go on in the next process with the secret they were given."""
    with everything(tmp_path) as (_redis, service):
        history = run(service, service.kill)
        assert history.count() >= KILLS * BETWEEN
        assert history.resumed > 0
        assert faults(history.durable(), read_everything(service.running.url)) == []
