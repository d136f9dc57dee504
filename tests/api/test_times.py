"""Times in queries are RFC 3339 with a zone; zones are those of the tz database."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone
from zoneinfo import available_timezones

import pytest
from fastapi.exceptions import RequestValidationError
from hypothesis import given
from hypothesis import strategies as st

from app.api.times import Span, span, time_zone

offsets = st.integers(-14 * 60, 14 * 60).map(lambda minutes: timezone(timedelta(minutes=minutes)))
moments = st.datetimes(datetime(1971, 1, 2), datetime(2198, 12, 30), timezones=offsets)


@given(moments)
def test_a_time_means_the_same_in_every_zone(moment: datetime) -> None:
    """To the microsecond, whatever offset it is written with, and with small letters too."""
    text = moment.isoformat()
    assert span(text, None).since == moment.timestamp()
    assert span(text.lower(), None).since == moment.timestamp()
    assert span(moment.astimezone(UTC).isoformat().replace("+00:00", "Z"), None).since == moment.timestamp()


@given(st.text(max_size=40))
def test_any_other_text_is_refused(text: str) -> None:
    """No other exception comes out."""
    with pytest.raises(RequestValidationError):
        span(text, None)
    with pytest.raises(RequestValidationError):
        time_zone(f"{text}!")


def test_nanoseconds_are_borne() -> None:
    """What is finer than a microsecond is cut off."""
    assert span("2026-01-01T00:00:00.123456789Z", None) == span("2026-01-01T00:00:00.123456Z", None)


def test_a_span_holds_its_beginning_and_not_its_end() -> None:
    """Bounds may be left out."""
    assert [Span(1.0, 2.0).holds(moment) for moment in (0.9, 1.0, 1.9, 2.0)] == [False, True, True, False]
    assert Span(None, None).holds(5.0)


def test_every_zone_is_known() -> None:
    """By each name that the tz database has."""
    names = {name for name in available_timezones() if not name.startswith(("posix", "right", "localtime"))}
    assert len(names) > 400
    assert {time_zone(name).key for name in names} == names
