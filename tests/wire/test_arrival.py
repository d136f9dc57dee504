"""Holes told from the time of arrival: a real one is stated once, nothing else ever is."""

from __future__ import annotations

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from app.wire.arrival import CONFIRM_S, JUMP_S, ArrivalClock
from app.wire.base import Gap, GapKind

RATE = 8_000
FRAME = 160
FRAME_S = 0.02


def stated(arrivals: list[tuple[float, int]], rate: int = RATE) -> list[tuple[float, float]]:
    """When holes were stated, and how long they were in seconds."""
    clock = ArrivalClock(rate)
    found = []
    for now_s, samples in arrivals:
        hole = clock.push(now_s, samples)
        if hole:
            found.append((now_s, hole / rate))
    return found


def paced(start_s: float, seconds: float, every_s: float = FRAME_S) -> list[tuple[float, int]]:
    """Frames of 20 ms, one every so often."""
    return [(start_s + index * every_s, FRAME) for index in range(round(seconds / every_s))]


def test_a_hole_is_stated_once_after_a_second() -> None:
    """Three seconds without audio, then real time again: one hole of three seconds, a second later."""
    ((when_s, length_s),) = stated(paced(0, 2) + paced(5, 4))
    assert length_s == pytest.approx(3.0, abs=0.001)
    assert when_s == pytest.approx(5 + CONFIRM_S, abs=2 * FRAME_S)


def test_each_of_two_holes_is_stated() -> None:
    """A second hole is another one; one that comes before the first was believed is added to it."""
    assert [length for _, length in stated(paced(0, 1) + paced(2, 3) + paced(7, 3))] == pytest.approx(
        [1, 2], abs=0.001
    )
    assert [length for _, length in stated(paced(0, 1) + paced(2, 0.5) + paced(4.5, 3))] == pytest.approx(
        [3], abs=0.001
    )


def test_a_pause_shorter_than_the_bound_is_none() -> None:
    """Half a second beyond the packet's own length is still jitter."""
    assert stated(paced(0, 1) + paced(1 + JUMP_S, 3)) == []
    assert stated(paced(0, 1) + paced(1 + JUMP_S + 2 * FRAME_S, 3)) != []


def test_big_packets_are_not_late() -> None:
    """A packet of two seconds every two seconds is real time."""
    assert stated([(2.0 * index, 2 * RATE) for index in range(10)]) == []


def test_frames_that_come_in_clumps_are_not_late() -> None:
    """Fifty frames at once every second are real time, too."""
    assert stated([(float(index // 50), FRAME) for index in range(500)]) == []


def test_a_slow_sender_makes_no_hole() -> None:
    """A sender that sleeps 30 ms for each 20 ms drifts by a third, and no single packet is late."""
    assert stated(paced(0, 120, every_s=0.03)) == []


def test_a_burst_after_a_stall_cancels_the_hole() -> None:
    """What was held back comes at once."""
    held = [(5.0, FRAME)] * 150
    assert stated(paced(0, 2) + held + paced(5.02, 4)) == []


def test_a_slow_burst_is_waited_for() -> None:
    """A link that only carries one and a half times real time takes six seconds for three; no hole is stated."""
    held = [(5 + index * FRAME_S / 1.5, FRAME) for index in range(450)]
    assert stated(paced(0, 2) + held + paced(11.02, 4)) == []


def test_what_a_short_buffer_lost_is_stated() -> None:
    """Of a stall of five seconds only the last one was kept: four are lost."""
    held = [(7.0, FRAME)] * 50
    assert [length for _, length in stated(paced(0, 2) + held + paced(7.02, 4))] == pytest.approx(
        [4], abs=0.05
    )


def test_audio_sent_ahead_of_time_is_not_missing_later() -> None:
    """A file played at once, a long silence, and another one; a sender that was ahead by more than the silence."""
    assert stated([(0.0, FRAME)] * 1_000 + [(10.0, FRAME)] * 1_000) == []
    assert stated([*[(0.0, FRAME)] * 150, *paced(0.02, 1), *paced(3.5, 3)]) == []


def test_a_change_of_rate_keeps_time() -> None:
    """Samples count by the rate they came at."""
    clock = ArrivalClock(RATE)
    for now_s, samples in paced(0, 1):
        assert clock.push(now_s, samples) == 0
    clock.sample_rate_hz = 2 * RATE
    holes = [clock.push(now_s, 2 * samples) for now_s, samples in paced(3, 2)]
    assert sum(holes) == pytest.approx(2 * 2 * RATE, abs=2)


def test_an_announced_silence_is_paused_time_and_stated_at_once() -> None:
    """No second of waiting, and a pause, not a loss; jitter states nothing."""
    clock = ArrivalClock(RATE)
    for now_s, samples in paced(0, 1):
        assert clock.gap(now_s, samples) is None
    clock.announced = True
    assert clock.gap(4.0, FRAME) == Gap(GapKind.PAUSED, pytest.approx(3 * RATE, abs=2))
    assert clock.gap(4.05, FRAME) is None
    clock.announced = False
    assert [gap for now_s, samples in paced(4.07, 3) if (gap := clock.gap(now_s, samples))] == []
    assert [gap.kind for now_s, samples in paced(9, 3) if (gap := clock.gap(now_s, samples))] == [
        GapKind.LOST
    ]


def test_time_that_stands_still_or_goes_back_is_nothing() -> None:
    """Empty packets and a clock that goes back do not disturb."""
    assert stated([(5.0, FRAME), (4.0, FRAME), (5.0, 0), (5.02, FRAME), (5.02, 0), *paced(5.04, 2)]) == []


seeds = st.integers(0, 2**32)


@settings(max_examples=60, deadline=None)
@given(seeds)
def test_a_network_that_delays_and_loses_nothing_never_makes_a_hole(seed: int) -> None:
    """Any stalls, each ended by all that was held back; in order, as TCP delivers."""
    rng = random.Random(seed)
    arrivals: list[tuple[float, int]] = []
    until_s = 0.0
    for sent_s, samples in paced(0, 20):
        if sent_s > until_s and rng.random() < 0.01:
            until_s = sent_s + rng.uniform(0, 4)
        arrivals.append((max(sent_s, until_s) + FRAME_S, samples))
    assert stated(arrivals) == []


@settings(max_examples=60, deadline=None)
@given(seeds)
def test_a_sender_faster_than_time_never_makes_a_hole(seed: int) -> None:
    """Faster by any factor, with pauses that its lead covers."""
    rng = random.Random(seed)
    now_s, heard_s = 0.0, FRAME_S
    arrivals = [(0.0, FRAME)]
    for _ in range(800):
        now_s += rng.uniform(0, FRAME_S)
        if rng.random() < 0.01:
            now_s = max(now_s, min(now_s + rng.uniform(0, 5), heard_s - FRAME_S))
        arrivals.append((now_s, FRAME))
        heard_s += FRAME_S
    assert stated(arrivals) == []


@settings(max_examples=60, deadline=None)
@given(seeds)
def test_real_holes_are_stated_in_full_and_no_more(seed: int) -> None:
    """With jitter and drift: each long hole once, to within the jitter; the sum never exceeds what was missing."""
    rng = random.Random(seed)
    sent_s, missing = 0.0, []
    arrivals: list[tuple[float, int]] = []
    drift = rng.uniform(1.0, 1.2)
    for _ in range(rng.randint(1, 4)):
        for _ in range(rng.randint(100, 300)):
            sent_s += FRAME_S * drift
            arrivals.append((max(sent_s + rng.uniform(0, 0.03), arrivals[-1][0] if arrivals else 0.0), FRAME))
        missing.append(rng.uniform(0.7, 8))
        sent_s += missing[-1]
    for _ in range(100):
        sent_s += FRAME_S * drift
        arrivals.append((max(sent_s + rng.uniform(0, 0.03), arrivals[-1][0]), FRAME))
    found = [length for _, length in stated(arrivals)]
    assert found == pytest.approx(missing, abs=0.08)


@settings(max_examples=60, deadline=None)
@given(seeds)
def test_holes_never_exceed_the_time_without_audio(seed: int) -> None:
    """Whatever comes: audio and holes together are never longer than the time since the first packet."""
    rng = random.Random(seed)
    clock = ArrivalClock(RATE)
    now_s = first_s = rng.uniform(0, 1e6)
    stated_samples = heard = 0
    clock.push(now_s, FRAME)
    for _ in range(500):
        samples = rng.choice((0, 1, 160, 320, 8_000))
        clock.announced = rng.random() < 0.1
        gap = clock.gap(now_s, samples)
        if gap is not None:
            assert gap.samples > 0
            stated_samples += gap.samples
            assert stated_samples + heard + samples <= (now_s - first_s) * RATE + 1
        heard += samples
        now_s += rng.choice((0, 0.001, 0.02, 0.02, 0.1, 1.0, 3.0))
