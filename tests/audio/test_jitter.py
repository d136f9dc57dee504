"""Interarrival jitter: RFC 3550's own recursion, what must not move it, and what starts it anew."""

from __future__ import annotations

import doctest
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.audio import jitter
from app.audio.jitter import JitterMeter

PACKET_S = 0.020
PACKET = 160
delays = st.lists(st.floats(0.0, 0.9), min_size=2, max_size=80)


def metered(delays_s: list[float], *, placed: bool = True, begins: float = 5.0, at: int = 0) -> JitterMeter:
    """A meter after packets of 20 ms, each so late on a network."""
    meter = JitterMeter(8_000)
    for index, delay in enumerate(delays_s):
        position = at + index * PACKET if placed else None
        meter.push(begins + index * PACKET_S + delay, position, PACKET_S)
    return meter


def test_the_example_of_the_docstring_runs() -> None:
    """What the class says of itself is what it does."""
    found = doctest.testmod(jitter)
    assert (found.failed, found.attempted > 0) == (0, True)


@given(delays)
def test_it_is_the_recursion_of_the_rfc(late: list[float]) -> None:
    """§6.4.1: J += (|D| - J) / 16 over the differences of transit; never more than the largest of these."""
    expected = 0.0
    for before, after in pairwise(late):
        expected += (abs(after - before) - expected) / 16
    got = metered(late).jitter_ms
    assert got == pytest.approx(expected * 1_000, abs=0.051)
    largest = max(abs(after - before) for before, after in pairwise(late))
    assert got is not None
    assert 0.0 <= got <= largest * 1_000 + 0.051


@given(delays, st.floats(0.0, 1e6), st.integers(0, 2**32))
def test_only_differences_count(late: list[float], begins: float, at: int) -> None:
    """When the call began and where its clock began do not matter, nor whether the wire has one."""
    told = metered(late).jitter_ms
    assert metered(late, begins=begins, at=at).jitter_ms == pytest.approx(told, abs=0.11)
    assert metered(late, placed=False).jitter_ms == pytest.approx(told, abs=0.11)


@given(st.lists(st.booleans(), min_size=3, max_size=60), st.floats(0.0, 0.5))
def test_lost_packets_and_a_constant_delay_are_no_jitter(kept: list[bool], delay: float) -> None:
    """A clock tells a hole from a late packet."""
    meter = JitterMeter(16_000)
    for index, arrives in enumerate(kept):
        if arrives:
            meter.push(1.0 + index * PACKET_S + delay, index * 320, PACKET_S)
    assert meter.jitter_ms in ((0.0,) if sum(kept) > 1 else (None,))


@given(delays, st.floats(2.1, 1e6), st.booleans())
def test_a_pause_or_a_new_clock_is_no_jitter(late: list[float], pause_s: float, by_clock: bool) -> None:
    """A sender that falls silent, or whose clock jumps, is measured as before once it goes on."""
    meter = metered(late)
    before = meter.jitter_ms
    assert before is not None
    length = len(late) * PACKET_S
    jump = round(pause_s * 8_000)
    positions = [len(late) * PACKET + (jump if by_clock else 0) + index * PACKET for index in range(2)]
    arrivals = [
        5.0 + late[-1] + length + (0.0 if by_clock else pause_s) + index * PACKET_S for index in range(2)
    ]
    meter.push(arrivals[0], positions[0], PACKET_S)
    assert meter.jitter_ms == before
    meter.push(arrivals[1], positions[1], PACKET_S)
    assert meter.jitter_ms == pytest.approx(before * 15 / 16, abs=0.11)


def test_time_promised_without_audio_moves_the_clock() -> None:
    """Where the wire has no positions a gap that it tells of is no lateness."""
    meter = JitterMeter(8_000)
    meter.push(1.0, None, PACKET_S)
    meter.skip(800)
    meter.push(1.12, None, PACKET_S)
    assert meter.jitter_ms == 0.0


def test_another_rate_keeps_what_was_measured() -> None:
    """A track that is written otherwise from here on counts anew."""
    meter = metered([0.0, 0.032])
    meter.restart(16_000)
    assert meter.jitter_ms == 2.0
    meter.push(50.0, 0, PACKET_S)
    meter.push(50.02, 320, PACKET_S)
    assert meter.jitter_ms == pytest.approx(2.0 * 15 / 16, abs=0.06)


def test_one_packet_has_no_jitter() -> None:
    """There is nothing to compare with."""
    assert metered([0.3]).jitter_ms is None


def test_a_meter_needs_a_rate() -> None:
    """No samples a second is refused."""
    with pytest.raises(ValueError, match="got 0"):
        JitterMeter(0)
