"""The reorder window: order restored within it, every packet accounted for, counts that begin anywhere and again."""

from __future__ import annotations

import itertools
import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from app.wire.reorder import HOLD, MAX_AHEAD, MAX_BEHIND, ReorderWindow


def pushed(window: ReorderWindow[int], *numbers: int) -> list[tuple[int, int]]:
    """What comes out when these packets arrive; each packet's item is its number."""
    return [out for number in numbers for out in window.push(number, number)]


def begun(first: int = 1) -> ReorderWindow[int]:
    """A window that has let out `first` and the three packets after it."""
    window: ReorderWindow[int] = ReorderWindow()
    assert [item for _, item in pushed(window, first, first + 1, first + 2, first + 3)] == [
        first,
        first + 1,
        first + 2,
        first + 3,
    ]
    return window


@pytest.mark.parametrize("first", [0, 1, 2, 4711, -3])
def test_numbers_may_begin_anywhere(first: int) -> None:
    """The first packets are held until any of them may be the first; from there on nothing waits."""
    window: ReorderWindow[int] = ReorderWindow()
    assert pushed(window, first + 1, first, first + 2) == []
    assert pushed(window, first + 3) == [(0, first), (0, first + 1), (0, first + 2), (0, first + 3)]
    assert pushed(window, first + 4) == [(0, first + 4)]
    assert (window.lost, window.late, window.duplicates, window.restarts, window.waiting) == (0, 0, 0, 0, 0)


def test_a_packet_may_be_overtaken_by_three() -> None:
    """As many as the window holds may come before their turn."""
    window = begun()
    assert pushed(window, 6, 7, 8) == []
    assert window.waiting == HOLD
    assert pushed(window, 5) == [(0, 5), (0, 6), (0, 7), (0, 8)]


def test_the_fourth_packet_after_a_hole_gives_it_up() -> None:
    """A hole ends as lost once the window is full; what comes of it later is late, only once more a duplicate."""
    window = begun()
    assert pushed(window, 7, 8, 9) == []
    assert pushed(window, 10) == [(2, 7), (0, 8), (0, 9), (0, 10)]
    assert pushed(window, 5, 6, 8) == []
    assert (window.lost, window.late, window.duplicates) == (2, 2, 1)


def test_holes_are_given_up_one_at_a_time() -> None:
    """A later hole keeps its own chance when an earlier one is given up."""
    window = begun()
    assert pushed(window, 6, 8, 9) == []
    assert pushed(window, 10) == [(1, 6)]
    assert pushed(window, 7) == [(0, 7), (0, 8), (0, 9), (0, 10)]
    assert window.lost == 1


def test_duplicates_are_dropped_wherever_the_first_is() -> None:
    """Held back, already out, or as a stray: a second one of a number is a duplicate."""
    window = begun()
    assert pushed(window, 6, 6, 4, 900_000, 900_000) == []
    assert window.duplicates == 3
    assert window.waiting == 1


def test_what_comes_from_before_the_first_packet_is_late() -> None:
    """It was never promised, so it is not a duplicate and nothing is lost."""
    window = begun(10)
    assert pushed(window, 9) == []
    assert (window.lost, window.late, window.duplicates) == (0, 1, 0)


def test_flush_lets_out_what_waits_and_goes_on_after_it() -> None:
    """Holes before what was held are lost then; the next number follows as usual."""
    window = begun()
    assert pushed(window, 6, 8) == []
    assert window.flush() == [(1, 6), (1, 8)]
    assert window.lost == 2
    assert pushed(window, 9) == [(0, 9)]
    assert window.flush() == []
    early: ReorderWindow[int] = ReorderWindow()
    assert pushed(early, 3, 2) == []
    assert early.flush() == [(0, 2), (0, 3)]
    assert pushed(early, 4) == [(0, 4)]


@pytest.mark.parametrize("again", [1, 1_005 + MAX_AHEAD, 1 << 48])
def test_a_count_that_begins_again_is_followed(again: int) -> None:
    """Two packets side by side, far from all others, are a new count; no hole lies between the two counts."""
    window = begun(1_000)
    assert pushed(window, 1_005) == []
    assert pushed(window, again) == []
    assert pushed(window, again + 1) == [(1, 1_005)]
    assert pushed(window, again + 3) == []
    assert pushed(window, again + 2) == [(0, again), (0, again + 1), (0, again + 2), (0, again + 3)]
    assert (window.restarts, window.lost, window.late, window.duplicates) == (1, 1, 0, 0)


def test_a_single_packet_far_off_changes_nothing() -> None:
    """A stray is dropped as late when the old count goes on, or when the window closes."""
    window = begun(1_000)
    assert pushed(window, 5) == []
    assert pushed(window, 1_004, 1_005) == [(0, 1_004), (0, 1_005)]
    assert pushed(window, 5) == []
    assert window.close() == []
    assert (window.late, window.restarts, window.lost) == (2, 0, 0)
    assert window.close() == []
    assert window.late == 2


def test_the_borders_of_a_count() -> None:
    """A hole may be as long as `MAX_AHEAD`; a packet may come `MAX_BEHIND` late."""
    window = begun(1)
    assert pushed(window, 5 + MAX_AHEAD) == []
    assert window.waiting == 1
    assert window.flush() == [(MAX_AHEAD, 5 + MAX_AHEAD)]
    assert pushed(window, 6 + MAX_AHEAD - MAX_BEHIND) == []
    assert window.late == 1


@settings(max_examples=120, deadline=None)
@given(seed=st.integers(0, 1 << 32), first=st.integers(0, 100_000), loss=st.floats(0, 0.5))
def test_order_is_restored_within_the_window(seed: int, first: int, loss: float) -> None:
    """Whatever is lost, as long as no packet is overtaken by more than three, all others come out in order."""
    chance = random.Random(seed)
    sent = [first + i for i in range(200) if chance.random() >= loss]
    # A delay of up to `HOLD` places in a stable sort lets at most `HOLD` packets overtake.
    order = sorted(range(len(sent)), key=lambda i: i + chance.randint(0, HOLD))
    window: ReorderWindow[int] = ReorderWindow()
    out = pushed(window, *(sent[i] for i in order)) + window.close()
    assert [item for _, item in out] == sent
    gaps = [0, *(b - a - 1 for a, b in itertools.pairwise(sent))][: len(sent)]
    assert [missing for missing, _ in out] == gaps
    assert window.lost == sum(gaps)
    assert (window.late, window.duplicates, window.restarts) == (0, 0, 0)


@settings(max_examples=120, deadline=None)
@given(seed=st.integers(0, 1 << 32), hold=st.integers(0, 5))
def test_every_packet_is_let_out_once_or_counted(seed: int, hold: int) -> None:
    """Loss, duplicates, lateness, strays, restarts and flushes: nothing vanishes, nothing comes twice, holes add up."""
    chance = random.Random(seed)
    window: ReorderWindow[int] = ReorderWindow(hold)
    out: list[tuple[int, int]] = []
    number, count = chance.randint(0, 3), 0
    for count in range(1, 301):
        draw = chance.random()
        if draw < 0.02:
            number = chance.choice((0, 1, number + chance.randint(MAX_AHEAD, 2 * MAX_AHEAD), 1 << 48))
        elif draw < 0.3:
            number += chance.randint(-8, 8)
        else:
            number += 1
        out += window.push(number, count)
        assert window.waiting <= max(hold, 2)
        if draw > 0.99:
            out += window.flush()
    out += window.close()
    items = [item for _, item in out]
    assert len(set(items)) == len(items)
    assert len(items) + window.late + window.duplicates == count
    assert sum(missing for missing, _ in out) == window.lost
    assert window.waiting == 0
