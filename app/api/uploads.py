"""Where uploaded recordings are worked on: apart from live calls, a few at a time, the rest waiting or refused."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import TypeVar

from app.api.errors import ProblemError
from app.telemetry.metrics import Metrics

T = TypeVar("T")


class UploadDesk:
    """A small pool with a bounded waiting room: every recording that waits is held in memory.

    Args:
        workers: recordings worked on at a time.
        max_pending: recordings received, waiting or worked on at a time.
        metrics: told of those turned away.
    """

    def __init__(self, *, workers: int, max_pending: int, metrics: Metrics) -> None:
        self._pool = ThreadPoolExecutor(workers, thread_name_prefix="kowairo-upload")
        self._max_pending = max_pending
        self._metrics = metrics
        self._pending = 0

    @contextmanager
    def place(self) -> Iterator[None]:
        """Holds a place for one recording.

        Raises:
            ProblemError: 503, all places are taken.
        """
        if self._pending >= self._max_pending:
            self._metrics.sheds.labels("upload").inc()
            raise ProblemError(
                503,
                "overloaded",
                "Too many recordings at a time",
                f"{self._max_pending} recordings are being worked on or wait; try again in a while",
                {"Retry-After": "5"},
            )
        self._pending += 1
        try:
            yield
        finally:
            self._pending -= 1

    async def run(self, work: Callable[[], T]) -> T:
        """The work's result, from the pool."""
        return await asyncio.get_running_loop().run_in_executor(self._pool, work)

    def close(self) -> None:
        """Finishes what runs, drops what waits."""
        self._pool.shutdown(wait=True, cancel_futures=True)
