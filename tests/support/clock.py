"""A clock that moves only when told to."""

from __future__ import annotations


class FakeClock:
    """Both clocks of `app.telemetry.clock.Clock`, moved by hand."""

    def __init__(self, now: float = 1_700_000_000.0) -> None:
        self._now = now
        self._monotonic = 100.0

    def now(self) -> float:
        """Seconds since the epoch."""
        return self._now

    def monotonic(self) -> float:
        """Seconds that never run backwards."""
        return self._monotonic

    def advance(self, seconds: float) -> None:
        """Lets time pass."""
        self._now += seconds
        self._monotonic += seconds
