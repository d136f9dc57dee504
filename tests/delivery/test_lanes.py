"""Fairness between endpoints."""

from __future__ import annotations

from random import Random

from app.delivery.lanes import Lanes

SLOW = ("acme", "we_slow")
OTHER = ("acme", "we_other")


def test_each_endpoint_has_a_bound_of_its_own() -> None:
    """A full lane is nobody else's matter."""
    lanes = Lanes(2, Random(1))
    assert [lanes.enter(SLOW) for _ in range(3)] == [True, True, False]
    assert lanes.enter(OTHER)
    lanes.leave(SLOW)
    assert lanes.enter(SLOW)


def test_a_troubled_endpoint_is_tried_once_at_a_time() -> None:
    """Until it works again."""
    lanes = Lanes(4, Random(1))
    for _ in range(3):
        lanes.enter(SLOW)
        lanes.learn(SLOW, failed=True, seconds=15.0)
        lanes.leave(SLOW)
    assert [lanes.enter(SLOW) for _ in range(2)] == [True, False]
    lanes.learn(SLOW, failed=False, seconds=0.1)
    assert [lanes.enter(SLOW) for _ in range(3)] == [True, True, True]


def test_a_backlog_is_spread_over_the_time_it_takes() -> None:
    """One after the other, at the endpoint's pace, and never further than a minute."""
    lanes = Lanes(1, Random(1))
    lanes.enter(SLOW)
    for _ in range(50):
        lanes.learn(SLOW, failed=False, seconds=2.0)
    due = [lanes.park(SLOW, 1_000.0) for _ in range(100)]
    assert 1_001.5 < due[0] <= 1_002.1
    assert due[9] > 1_017.0
    assert 1_053.0 < max(due) <= 1_060.0
    assert lanes.park(SLOW, 5_000.0) > 5_000.0


def test_lanes_of_the_past_are_forgotten() -> None:
    """Those in use stay."""
    lanes = Lanes(1, Random(1))
    lanes.enter(SLOW)
    for number in range(10_050):
        place = ("acme", f"we_{number}")
        lanes.enter(place)
        lanes.leave(place)
    assert len(lanes._lanes) < 10_000
    assert not lanes.enter(SLOW)
