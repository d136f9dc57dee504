"""Time as a value that is passed in, so that what waits or expires can be tested without waiting."""

from __future__ import annotations

import time
from typing import Protocol


class Clock(Protocol):
    """Where a part gets its time from."""

    def now(self) -> float:
        """Seconds since the epoch, for people to read."""
        ...

    def monotonic(self) -> float:
        """Seconds that never run backwards, for measuring and expiring."""
        ...


class SystemClock:
    """The machine's own clocks."""

    def now(self) -> float:
        """Seconds since the epoch."""
        return time.time()

    def monotonic(self) -> float:
        """Seconds that never run backwards."""
        return time.monotonic()
