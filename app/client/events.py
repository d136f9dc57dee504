"""Events of live feeds, as typed values (`docs/live.md`), and how a message becomes one."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from pydantic import ValidationError

from app.client.errors import UnreachableError
from app.client.shapes import Call, Utterance
from app.client.told_shapes import Alert

_CALL_EVENTS = frozenset({"call_started", "call_continued", "call_ended"})
_RECORD_EVENTS = frozenset({"utterance", "interim"})


@dataclass(frozen=True, slots=True)
class Event:
    """Something that happened. data: the message as it came; seq, position: its numbers, where it has them."""

    type: str
    data: Mapping[str, Any]
    call_id: str | None = None
    seq: int | None = None
    position: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class UtteranceEvent(Event):
    """A record; of type `interim`: as far as the utterance has been heard."""

    utterance: Utterance


@dataclass(frozen=True, slots=True, kw_only=True)
class CallEvent(Event):
    """A call began (`call_started`), was taken up again (`call_continued`) or ended (`call_ended`)."""

    call: Call


@dataclass(frozen=True, slots=True, kw_only=True)
class AlertEvent(Event):
    """A rule raised an alert."""

    alert: Alert


@dataclass(frozen=True, slots=True, kw_only=True)
class ResumedEvent(Event):
    """The feed goes on from a number.

    complete: nothing from there on is missing; else gaps are named. reset: the numbers had begun anew, so that what is
    known of the calls should be read again.
    """

    complete: bool
    reset: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class GapEvent(Event):
    """Numbers that are not held any more, both included; None: it is not known how many."""

    first: int | None
    last: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class LaggedEvent(Event):
    """This reader was too slow and lost events. first, last: the numbers among them, both included."""

    dropped: int
    first: int | None
    last: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class ResetEvent(Event):
    """The numbers of the feed begin anew: the store lost it."""

    next_position: int


def event_of(message: Mapping[str, Any]) -> Event:
    """A message as an event.

    Raises:
        UnreachableError: not a message of this service.
    """
    try:
        return _typed(message)
    except (ValidationError, KeyError, TypeError) as error:
        raise UnreachableError(f"the message is not what was expected: {type(error).__name__}") from None


def _typed(message: Mapping[str, Any]) -> Event:
    kind: str = message["type"]
    common: dict[str, Any] = {
        "type": kind,
        "data": message,
        "call_id": message.get("call_id"),
        "seq": message.get("seq"),
        "position": message.get("position"),
    }
    if kind in _RECORD_EVENTS:
        return UtteranceEvent(
            **common, utterance=Utterance.model_validate(_without(message, "type", "position"))
        )
    if kind in _CALL_EVENTS:
        return CallEvent(**common, call=Call.model_validate(_without(message, "type", "seq", "position")))
    if kind == "alert":
        return AlertEvent(**common, alert=Alert.model_validate(_without(message, "type")))
    if kind == "resumed" and "complete" in message:
        return ResumedEvent(**common, complete=message["complete"], reset=message.get("reset", False))
    if kind == "gap":
        return GapEvent(**common, first=message["from"], last=message["to"])
    if kind == "lagged":
        missed = message["missed"] or {"from": None, "to": None}
        return LaggedEvent(**common, dropped=message["dropped"], first=missed["from"], last=missed["to"])
    if kind == "reset":
        return ResetEvent(**common, next_position=message["next_position"])
    return Event(**common)


def _without(message: Mapping[str, Any], *names: str) -> dict[str, Any]:
    """What the event is about, without what the feed adds."""
    return {name: value for name, value in message.items() if name not in names}
