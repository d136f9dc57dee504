"""What a tenant configured, remembered for seconds, so that a record costs no question to the store."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Generic, TypeVar

from app.results.store import StoreError
from app.telemetry.clock import Clock

T = TypeVar("T")

_PATIENCE_S = 0.5
"""The longest that a record waits for the store to say what is configured."""
_MAX_TENANTS = 10_000


@dataclass(slots=True)
class _Remembered(Generic[T]):
    value: T | None
    asked_at: float


class TenantCache(Generic[T]):
    """The last answer of the store for each tenant.

    An answer is good for `ttl_s`. Then the store is asked again; where it does not answer, the old answer stands, and
    the store is left alone for another `ttl_s`.
    """

    def __init__(self, load: Callable[[str], Awaitable[T]], clock: Clock, ttl_s: float) -> None:
        self._load = load
        self._clock = clock
        self._ttl_s = ttl_s
        self._held: dict[str, _Remembered[T]] = {}
        self._changes = 0

    async def get(self, tenant: str) -> T | None:
        """What is configured; None where the store never said."""
        held = self._held.get(tenant)
        now = self._clock.monotonic()
        if held is not None and now - held.asked_at < self._ttl_s:
            return held.value
        # Noted first: of several that ask at a time one waits, the others take what is known, if anything is.
        value = None if held is None else held.value
        if value is not None:
            self._remember(tenant, value)
        changes = self._changes
        try:
            async with asyncio.timeout(_PATIENCE_S):
                value = await self._load(tenant)
        except (StoreError, TimeoutError):
            pass
        if changes == self._changes:  # else what came may be older than the change
            self._remember(tenant, value)
        return value

    def forget(self, tenant: str) -> None:
        """The next question goes to the store: something was changed here."""
        self._changes += 1
        self._held.pop(tenant, None)

    def _remember(self, tenant: str, value: T | None) -> None:
        self._held.pop(tenant, None)
        if len(self._held) >= _MAX_TENANTS:
            del self._held[next(iter(self._held))]
        self._held[tenant] = _Remembered(value, self._clock.monotonic())
