"""Concealing holes: what is repeated, how it fades, and that cutting the audio differently changes nothing."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.audio.conceal import Concealer
from app.domain import FloatArray


def filled(heard: FloatArray, missing: int, rate_hz: int = 8_000) -> tuple[FloatArray, int]:
    """What is made for a hole after this audio, and how much of it is said to be concealed."""
    concealer, hole = Concealer(rate_hz), np.zeros(missing, dtype=np.float32)
    concealer.hear([heard])
    return hole, concealer.fill([hole], missing)


@pytest.mark.parametrize("rate_hz", [8_000, 48_000])
def test_the_last_20_ms_are_repeated_and_fade_out_within_60(rate_hz: int) -> None:
    """Full level where the hole begins, two thirds after a packet, nothing from 60 ms on."""
    packet = rate_hz // 50
    heard = np.sin(np.arange(3 * packet, dtype=np.float32))
    hole, count = filled(heard, 5 * packet, rate_hz)
    assert count == 3 * packet
    fade = 1 - np.arange(3 * packet) / (3 * packet)
    assert hole[: 3 * packet] == pytest.approx(np.tile(heard[-packet:], 3) * fade, abs=1e-5)
    assert not hole[3 * packet :].any()


@given(st.integers(0, 700), st.integers(0, 700))
def test_what_is_made_is_what_is_counted(length: int, missing: int) -> None:
    """Without 20 ms of sound before it a hole stays silent; else it is concealed as far as it fades."""
    hole, count = filled(np.full(length, 0.5, dtype=np.float32), missing)
    assert count == (min(missing, 480) if length >= 160 else 0)
    assert np.count_nonzero(hole) == count


@given(st.lists(st.integers(0, 400), max_size=12))
def test_the_size_of_the_pieces_does_not_matter(lengths: list[int]) -> None:
    """The end of the stream is remembered however it came, on each channel."""
    channels = [
        np.arange(sum(lengths), dtype=np.float32) + 1,
        np.arange(sum(lengths), dtype=np.float32) - 9_000,
    ]
    whole, pieces = Concealer(8_000), Concealer(8_000)
    whole.hear(channels)
    at = 0
    for length in lengths:
        pieces.hear([channel[at : at + length] for channel in channels])
        at += length
    holes = [[np.zeros(200, dtype=np.float32) for _ in channels] for _ in range(2)]
    counts = [one.fill(hole, 200) for one, hole in zip((whole, pieces), holes, strict=True)]
    assert counts[0] == counts[1]
    assert np.array_equal(holes[0], holes[1])


def test_what_is_forgotten_conceals_nothing() -> None:
    """After `forget` nothing of before is heard."""
    concealer, hole = Concealer(8_000), np.zeros(160, dtype=np.float32)
    concealer.hear([np.ones(400, dtype=np.float32)])
    concealer.forget()
    assert concealer.fill([hole], 160) == 0
    assert not hole.any()


def test_audio_that_goes_on_is_remembered_as_it_was() -> None:
    """The caller may use its array again."""
    concealer, heard = Concealer(8_000), np.ones(400, dtype=np.float32)
    concealer.hear([heard])
    heard[:] = 0.0
    hole = np.zeros(160, dtype=np.float32)
    assert concealer.fill([hole], 160) == 160
    assert hole[0] == 1.0
