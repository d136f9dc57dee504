"""How long a tenant's calls and feedback are kept: its own choice, by line where it wants, within the site's bounds."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from app.results.documents import DocumentNotFoundError, DocumentStore
from app.results.store import (
    CallActiveError,
    CallFilter,
    CallInfo,
    CallState,
    ResultStore,
    StoreAwayError,
    StoreError,
)
from app.results.writes import EraseCall
from app.telemetry.clock import Clock
from app.telemetry.logs import get_logger

KIND = "retention"
KEY = "policy"
FRESH_S = 5.0
"""How old what is known of a policy may be."""
SWEEP_PAGE = 200


class RetentionError(ValueError):
    """A policy that the site does not allow; the message says what it allows."""


@dataclass(frozen=True, slots=True)
class Periods:
    """How long something is kept, whole seconds; None: what holds one level up."""

    calls_s: int | None = None
    feedback_s: int | None = None

    def body(self) -> dict[str, int | None]:
        """As a JSON object."""
        return {"calls_s": self.calls_s, "feedback_s": self.feedback_s}


@dataclass(frozen=True, slots=True)
class Policy:
    """A tenant's choice. lines: by line, where it differs."""

    site: Periods = Periods()
    lines: Mapping[str, Periods] = field(default_factory=dict)

    def body(self) -> dict[str, Any]:
        """As it is kept and shown."""
        return {**self.site.body(), "lines": {line: own.body() for line, own in sorted(self.lines.items())}}


@dataclass(frozen=True, slots=True)
class Bounds:
    """What the site allows, and what holds where nobody chose. The longest and the default of feedback are one."""

    default_calls_s: float
    max_calls_s: float
    feedback_s: float
    min_s: int = 60

    def check(self, periods: Periods, where: str) -> None:
        """Refuses what is out of bounds.

        Raises:
            RetentionError: naming the field.
        """
        for name, value, most in (
            ("calls_s", periods.calls_s, self.max_calls_s),
            ("feedback_s", periods.feedback_s, self.feedback_s),
        ):
            if value is not None and not self.min_s <= value <= most:
                raise RetentionError(f"{where}{name}: expected {self.min_s} to {int(most)} seconds")


class Retention:
    """Every tenant's policy, known for a few seconds at a time.

    Args:
        store: whose calls are erased when they are older than they may be.
        documents: where policies are kept.
        clock: says what is old.
        bounds: what the site allows.
        owner: this process, for the feed.
    """

    def __init__(
        self, store: ResultStore, documents: DocumentStore, clock: Clock, bounds: Bounds, owner: str
    ) -> None:
        self.bounds = bounds
        self._store = store
        self._documents = documents
        self._clock = clock
        self._owner = owner
        self._known: dict[str, tuple[float, Policy]] = {}
        self._log = get_logger(__name__)

    async def ttl_for(self, tenant: str, line: str) -> float:
        """How long a call of this line is kept from its end on, seconds.

        Never fails: while the store is away, what was known last holds, else the site's default; the sweep corrects
        it later.
        """
        return self._calls_s(await self._lately(tenant), line)

    async def feedback_ttl_for(self, tenant: str, line: str) -> float:
        """How long feedback on a call of this line is kept from when it is given, seconds; see `ttl_for`."""
        policy = await self._lately(tenant)
        own = policy.lines.get(line, Periods()).feedback_s or policy.site.feedback_s
        return min(float(own or self.bounds.feedback_s), self.bounds.feedback_s)

    async def get(self, tenant: str) -> Policy:
        """A tenant's policy, read now.

        Raises:
            StoreAwayError: it cannot be read.
        """
        policy = Policy()
        with contextlib.suppress(DocumentNotFoundError):
            policy = _policy((await self._documents.get(tenant, KIND, KEY)).value)
        self._known[tenant] = (self._clock.monotonic(), policy)
        return policy

    def check(self, policy: Policy) -> None:
        """Whether the site allows a policy.

        Raises:
            RetentionError: it does not.
        """
        self.bounds.check(policy.site, "")
        for line, periods in policy.lines.items():
            self.bounds.check(periods, f"lines.{line}.")

    async def put(self, tenant: str, policy: Policy) -> None:
        """Makes a policy hold: for calls that end from now on, and with the next `sweep` for those held already.

        Raises:
            RetentionError: the site does not allow it.
        """
        self.check(policy)
        await self._documents.put(tenant, KIND, KEY, policy.body())
        self._known[tenant] = (self._clock.monotonic(), policy)

    async def sweep(self, tenant: str) -> list[CallInfo]:
        """Erases the tenant's ended calls that are older than its policy allows; returns them.

        Without a policy of its own nothing is older: calls then leave by themselves.
        """
        policy = await self.get(tenant)
        if policy == Policy():
            return []
        now = self._clock.now()
        shortest = min(self._calls_s(policy, line) for line in ("", *policy.lines))
        # No call ends before it starts; the bound itself is left out by the filter, and must not be.
        which = CallFilter(state=CallState.ENDED, until=now - shortest + 1.0)
        cursor: str | None = None
        gone: list[CallInfo] = []
        while True:
            page = await self._store.list_calls(tenant, which, cursor=cursor, limit=SWEEP_PAGE)
            old = [
                call
                for call in page.items
                if call.ended_at is not None and call.ended_at + self._calls_s(policy, call.line) <= now
            ]
            gone += await self._erase(tenant, old)
            cursor = page.next
            if cursor is None:
                return gone

    async def _erase(self, tenant: str, calls: list[CallInfo]) -> list[CallInfo]:
        writes = [EraseCall(tenant, call.call_id, self._owner) for call in calls]
        answers = await self._store.write(writes) if writes else []
        for answer in answers:
            # A call that was taken up again meanwhile is live, and not old.
            if isinstance(answer, StoreError) and not isinstance(answer, CallActiveError):
                raise answer
        return [
            call for call, answer in zip(calls, answers, strict=True) if not isinstance(answer, StoreError)
        ]

    def _calls_s(self, policy: Policy, line: str) -> float:
        own = policy.lines.get(line, Periods()).calls_s or policy.site.calls_s
        return min(float(own or self.bounds.default_calls_s), self.bounds.max_calls_s)

    async def _lately(self, tenant: str) -> Policy:
        known = self._known.get(tenant)
        if known is not None and self._clock.monotonic() - known[0] < FRESH_S:
            return known[1]
        try:
            return await self.get(tenant)
        except StoreAwayError:
            self._log.warning("retention_not_read")
            return Policy() if known is None else known[1]


def _policy(value: Mapping[str, Any]) -> Policy:
    lines = value.get("lines") or {}
    return Policy(_periods(value), {line: _periods(own) for line, own in lines.items()})


def _periods(value: Mapping[str, Any]) -> Periods:
    return Periods(value.get("calls_s"), value.get("feedback_s"))
