"""What the live feed tells, and which of it a listener wants."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeVar

from app.domain import DEFAULT_TENANT
from app.results.store import FeedEntry

T = TypeVar("T")

KEPT = frozenset({"call_started", "call_continued", "utterance", "call_ended", "call_erased", "alert"})
"""Types that have a place in the tenant's feed; everything else is told once and forgotten."""

PASSING = frozenset(
    {"speech_start", "interim", "line_event", "warning", "dtmf", "call_paused", "call_resumed"}
)
"""Types that are told once and forgotten."""

CALL_ENDS = frozenset({"call_ended", "call_erased"})
"""After these the feed of a call has nothing more to tell."""


@dataclass(frozen=True, slots=True)
class LiveEvent:
    """Something that happened to a call: a type, the call, and a JSON-ready body that nobody changes any more.

    Types: those of `KEPT` and `PASSING`; and what a feed says of itself (call_id ""): `resumed`, `gap`, `lagged`,
    `reset` (`docs/live.md`).

    tenant, line: whose call it is, and where its audio comes from ("": the body tells). position: in the tenant's feed,
    None for what is not kept, or not yet. seq: of the record.
    """

    type: str
    call_id: str
    body: Mapping[str, Any]
    tenant: str = DEFAULT_TENANT
    line: str = ""
    position: int | None = None
    seq: int | None = None
    _forms: dict[str, Any] = field(default_factory=dict, init=False, repr=False, compare=False)

    @property
    def line_name(self) -> str:
        """Where the audio comes from, as far as it is known; else empty."""
        return self.line or line_of(self.body)

    @property
    def key(self) -> tuple[str, str, int | None]:
        """Tells events of one tenant apart, but for a call that starts or ends more than once."""
        return self.call_id, self.type, self.seq

    def form(self, name: str, make: Callable[[LiveEvent], T]) -> T:
        """What `make` makes of the event; made once, whoever asks. name: one for each `make`."""
        made: T | None = self._forms.get(name)
        if made is None:
            made = self._forms[name] = make(self)
        return made


def line_of(body: Mapping[str, Any]) -> str:
    """The line that a body names: a call's own, or that of a record's profile; empty where it names none."""
    line = body.get("line")
    if line is None:
        profile = body.get("line_profile")
        line = profile.get("id") if isinstance(profile, Mapping) else None
    # A profile is kept as `<tenant>/<line>` where a site has tenants; a line's name has no slash.
    return line.rpartition("/")[2] if isinstance(line, str) else ""


def entry_event(tenant: str, entry: FeedEntry) -> LiveEvent:
    """An entry of a tenant's feed as it is told."""
    body = entry.body if "call_id" in entry.body else {**entry.body, "call_id": entry.call_id}
    return LiveEvent(entry.type, entry.call_id, body, tenant, line_of(entry.body), entry.position, entry.seq)


def gap_event(tenant: str, first: int, last: int) -> LiveEvent:
    """Numbers that are not held any more: both included."""
    return LiveEvent("gap", "", {"from": first, "to": last}, tenant)


def lagged_event(tenant: str, dropped: int, first: int | None, last: int | None) -> LiveEvent:
    """Events that a slow listener lost. first, last: the numbers among them; None where none had one."""
    missed = None if first is None or last is None else {"from": first, "to": last}
    return LiveEvent("lagged", "", {"dropped": dropped, "missed": missed}, tenant)


@dataclass(frozen=True, slots=True)
class LiveFilter:
    """Which events a listener wants: those of which everything given holds; None and empty do not filter.

    An event without the property that a filter asks for is not wanted. `call_erased` passes whatever line, leg and
    scores are asked for: who has seen something of the call must know. min_confidence, min_expected_cost: at least.
    """

    call_id: str | None = None
    line: str | None = None
    leg: str | None = None
    emotion: str | None = None
    min_confidence: float | None = None
    min_expected_cost: float | None = None
    types: frozenset[str] = frozenset()

    def admits(self, event: LiveEvent) -> bool:
        """Whether the event is wanted."""
        if self is EVERYTHING:
            return True
        if self.types and event.type not in self.types:
            return False
        if self.call_id is not None and event.call_id != self.call_id:
            return False
        return event.type == "call_erased" or self._admits_body(event)

    def _admits_body(self, event: LiveEvent) -> bool:
        body = event.body
        return (
            (self.line is None or event.line_name == self.line)
            and (self.leg is None or body.get("leg") == self.leg)
            and (self.emotion is None or body.get("emotion") == self.emotion)
            and _at_least(body.get("confidence"), self.min_confidence)
            and _at_least(body.get("expected_cost"), self.min_expected_cost)
        )


EVERYTHING = LiveFilter()


def _at_least(value: object, least: float | None) -> bool:
    return least is None or (isinstance(value, int | float) and value >= least)
