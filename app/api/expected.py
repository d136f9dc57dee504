"""Calls that were announced and have not come yet."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated
from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field

from app.domain import Leg
from app.settings import LineName
from app.telemetry.clock import Clock
from app.wire.parameters import MAX_NAME_CHARS, MAX_PARAMETERS, MAX_VALUE_CHARS


class Registration(BaseModel):
    """What is known of a call before Asterisk connects with its UUID, which is all that AudioSocket can tell."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    leg: Leg = Leg.CUSTOMER
    line: LineName | None = None
    language: str | None = Field(default=None, pattern=r"^[A-Za-z0-9-]{1,35}$")
    call_id: str | None = Field(default=None, pattern=r"^[A-Za-z0-9._~-]{1,120}$")
    consent: bool = False
    notice_given: bool = False
    metadata: dict[
        Annotated[str, Field(max_length=MAX_NAME_CHARS)], Annotated[str, Field(max_length=MAX_VALUE_CHARS)]
    ] = Field(default_factory=dict, max_length=MAX_PARAMETERS)


@dataclass(slots=True)
class _Expected:
    registration: Registration
    until: float


class RegistrationsFullError(Exception):
    """No more calls can be waited for."""


class ExpectedCalls:
    """Registered calls that have not come yet: bounded in number and in time, each taken once."""

    def __init__(self, clock: Clock, ttl_s: float, limit: int) -> None:
        self._clock = clock
        self._ttl_s = ttl_s
        self._limit = limit
        self._calls: dict[str, _Expected] = {}

    def register(self, uuid: UUID, registration: Registration) -> None:
        """Wait for a call; a second registration of one UUID replaces the first.

        Raises:
            RegistrationsFullError: too many are waited for.
        """
        now = self._clock.monotonic()
        self._calls.pop(str(uuid), None)
        if len(self._calls) >= self._limit:
            self._calls = {key: call for key, call in self._calls.items() if call.until > now}
        if len(self._calls) >= self._limit:
            raise RegistrationsFullError
        self._calls[str(uuid)] = _Expected(registration, now + self._ttl_s)

    def take(self, uuid: str) -> Registration | None:
        """The registration of a call that has come."""
        expected = self._calls.pop(uuid, None)
        if expected is None or expected.until <= self._clock.monotonic():
            return None
        return expected.registration
