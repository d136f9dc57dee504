"""Times in queries: RFC 3339 with a zone, and names of time zones."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import datetime
from typing import Annotated
from zoneinfo import ZoneInfo

from fastapi import Depends, Query

from app.api.queries import bad_query

EARLIEST_YEAR, LATEST_YEAR = 1970, 2199
_RFC_3339 = re.compile(
    r"\d{4}-\d\d-\d\d[Tt ]\d\d:\d\d:\d\d(?:\.\d{1,9})?(?P<zone>[Zz]|[+-]\d\d:\d\d)?", re.ASCII
)
_ZONE = re.compile(r"[A-Za-z0-9+_-]{1,32}(?:/[A-Za-z0-9+_-]{1,32}){0,2}", re.ASCII)
_TIME = "RFC 3339 with a zone: 2026-03-29T02:00:00Z; write a + as %2B."


@dataclass(frozen=True, slots=True)
class Span:
    """From `since` on, and before `until`, in epoch seconds; None for no bound."""

    since: float | None
    until: float | None

    def holds(self, moment: float) -> bool:
        """Whether a time lies in it."""
        return (self.since is None or moment >= self.since) and (self.until is None or moment < self.until)


def span(since: str | None, until: str | None) -> Span:
    """The bounds of a query in time.

    Raises:
        RequestValidationError: a time without its zone or of another form, or an end before the beginning.
    """
    found = Span(_moment("since", since), _moment("until", until))
    if found.since is not None and found.until is not None and found.until < found.since:
        raise bad_query("until", "expected a time that is not before `since`")
    return found


async def span_of(
    since: Annotated[str | None, Query(max_length=40, description=f"From then on. {_TIME}")] = None,
    until: Annotated[str | None, Query(max_length=40, description=f"Before then. {_TIME}")] = None,
) -> Span:
    """The bounds that a request gives."""
    return span(since, until)


SpanDep = Annotated[Span, Depends(span_of)]


def time_zone(name: str) -> ZoneInfo:
    """A time zone of the tz database, the query parameter `tz`.

    Raises:
        RequestValidationError: there is none of this name.
    """
    if _ZONE.fullmatch(name):
        try:
            return ZoneInfo(name)
        except (KeyError, ValueError, OSError):
            pass  # told below: the name of a folder, or of nothing
    raise bad_query("tz", "expected a name of the tz database, such as Europe/Paris or UTC")


def _moment(name: str, text: str | None) -> float | None:
    if text is None:
        return None
    found = _RFC_3339.fullmatch(text)
    if found is None:
        raise bad_query(name, f"expected a time in {_TIME}")
    if found["zone"] is None:
        raise bad_query(name, f"the time has no zone; expected {_TIME}")
    try:
        # `fromisoformat` knows neither a small z nor more than microseconds.
        moment = datetime.fromisoformat(re.sub(r"(?<=\.\d{6})\d+", "", text.upper()))
    except ValueError:
        raise bad_query(name, "no such day, time or zone") from None
    if not EARLIEST_YEAR < moment.year < LATEST_YEAR:
        raise bad_query(name, f"expected a year after {EARLIEST_YEAR} and before {LATEST_YEAR}")
    return moment.timestamp()
