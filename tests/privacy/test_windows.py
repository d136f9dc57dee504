"""Polling once a second for an hour is a handful of entries, and every poll is counted."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from app.privacy.entries import AuditEntry
from app.privacy.windows import MAX_WINDOWS, Windows
from tests.support.clock import FakeClock


def entry(clock: FakeClock, about: str = "call:1", action: str = "calls.read") -> AuditEntry:
    """Somebody read something, now."""
    return AuditEntry("default", "ann", "k1", action, about, "ok", clock.now())


def test_a_dashboard_that_polls_makes_an_entry_a_minute() -> None:
    """The first read is there at once, the others are counted."""
    clock = FakeClock()
    windows = Windows(clock)
    written: list[AuditEntry] = []
    for _ in range(3_600):
        written += windows.take(entry(clock))
        clock.advance(1)
        written += windows.due()
    written += windows.due(everything=True)
    assert written[0].count == 1
    assert sum(found.count for found in written) == 3_600
    assert len(written) <= 62
    assert len({found.id for found in written}) == len(written)
    assert all(found.until is not None and found.until >= found.at for found in written[1:])


@given(st.lists(st.tuples(st.integers(0, 3), st.floats(0, 40)), max_size=60))
def test_nothing_is_lost_and_nothing_is_mixed(events: list[tuple[int, float]]) -> None:
    """Each object's reads add up, whenever they come."""
    clock = FakeClock()
    windows = Windows(clock)
    written: list[AuditEntry] = []
    for about, pause_s in events:
        written += windows.take(entry(clock, f"call:{about}"))
        clock.advance(pause_s)
        written += windows.due()
    written += windows.due(everything=True)
    for about in range(4):
        counted = sum(found.count for found in written if found.object == f"call:{about}")
        assert counted == sum(1 for number, _ in events if number == about)
    assert windows.due(everything=True) == []


def test_a_repeat_after_a_minute_is_an_entry_again() -> None:
    """Even where nobody looked for what is due meanwhile."""
    clock = FakeClock()
    windows = Windows(clock)
    windows.take(entry(clock))
    windows.take(entry(clock))
    clock.advance(61)
    assert [found.count for found in windows.take(entry(clock))] == [1, 1]


def test_minutes_are_bounded() -> None:
    """Whoever reads many calls costs many entries, not memory without end."""
    clock = FakeClock()
    windows = Windows(clock)
    windows.take(entry(clock, "call:0"))
    windows.take(entry(clock, "call:0"))
    written = [
        found
        for number in range(1, MAX_WINDOWS + 1)
        for found in windows.take(entry(clock, f"call:{number}"))
    ]
    assert len(written) == MAX_WINDOWS + 1
