"""Filters let through what they say, and a line is known wherever a body names one."""

from __future__ import annotations

from typing import Any

import pytest

from app.records import record_body
from app.results.live_event import EVERYTHING, LiveEvent, LiveFilter, entry_event, line_of
from app.results.store import FeedEntry
from tests.support.records import make_record

RECORD = LiveEvent("utterance", "c", record_body(make_record("c", 1)), line="trunk-1", seq=1)
STARTED = LiveEvent("call_started", "c", {"call_id": "c", "line": "trunk-1"})
ERASED = LiveEvent("call_erased", "c", {"call_id": "c"})


@pytest.mark.parametrize(
    ("wanted", "record", "started", "erased"),
    [
        ({}, True, True, True),
        ({"line": "trunk-1"}, True, True, True),
        ({"line": "trunk-2"}, False, False, True),
        ({"leg": "customer"}, True, False, True),
        ({"leg": "agent"}, False, False, True),
        ({"emotion": "anger"}, True, False, True),
        ({"emotion": "joy"}, False, False, True),
        ({"min_confidence": 0.7}, True, False, True),
        ({"min_confidence": 0.71}, False, False, True),
        ({"min_expected_cost": 0.3}, True, False, True),
        ({"min_expected_cost": 0.5}, False, False, True),
        ({"types": frozenset({"utterance", "call_ended"})}, True, False, False),
        ({"call_id": "c"}, True, True, True),
        ({"call_id": "d"}, False, False, False),
        ({"line": "trunk-1", "emotion": "joy"}, False, False, True),
    ],
)
def test_filters(wanted: dict[str, Any], record: bool, started: bool, erased: bool) -> None:
    """Everything given must hold; an erasure passes unless the type or the call is another."""
    which = LiveFilter(**wanted)
    assert [which.admits(event) for event in (RECORD, STARTED, ERASED)] == [record, started, erased]


def test_without_a_filter_everything_passes() -> None:
    """The usual case is cheap."""
    assert EVERYTHING.admits(RECORD)


@pytest.mark.parametrize(
    ("body", "line"),
    [
        ({"line": "a"}, "a"),
        ({"line_profile": {"id": "a", "n": 3}}, "a"),
        ({"line_profile": {"id": "acme/a", "n": 3}}, "a"),
        ({"call_id": "c"}, ""),
        ({"line": 7}, ""),
    ],
)
def test_the_line_of_a_body(body: dict[str, Any], line: str) -> None:
    """A call's own, or that of the record's profile, without its tenant."""
    assert line_of(body) == line
    assert LiveEvent("utterance", "c", body).line_name == line


def test_an_entry_of_the_feed_as_an_event() -> None:
    """Even one whose body was erased says which call it was."""
    event = entry_event("acme", FeedEntry(7, "call_erased", "c", {}, None, "someone"))
    assert event == LiveEvent("call_erased", "c", {"call_id": "c"}, "acme", "", 7)
