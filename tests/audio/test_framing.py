"""Deinterleaving, the sample clock and frames: pieces of any length give what the whole gives."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from app.audio.framing import Deinterleaver, Framer, SampleClock
from app.audio.g711 import decode, encode, pcm_to_float
from app.domain import AudioFormat, Encoding, FloatArray, Leg

BOTH = (Leg.CUSTOMER, Leg.AGENT)


def audio_format(encoding: Encoding = Encoding.PCM_S16LE, channels: tuple[Leg, ...] = BOTH) -> AudioFormat:
    """A format at 8 kHz."""
    return AudioFormat(encoding, 8_000, channels)


def pieces(data: bytes, cuts: list[int]) -> list[bytes]:
    """Cut bytes at the given places (taken modulo the length)."""
    edges = sorted({0, len(data), *(cut % (len(data) + 1) for cut in cuts)})
    return [data[start:end] for start, end in pairwise(edges)]


def ramp(start: int, length: int) -> FloatArray:
    """Samples that say their own position."""
    return np.arange(start, start + length, dtype=np.float32)


@settings(deadline=None)
@given(
    encoding=st.sampled_from(Encoding),
    channels=st.sampled_from([(Leg.CUSTOMER,), BOTH]),
    data=st.binary(max_size=200),
    cuts=st.lists(st.integers(0, 1_000), max_size=12),
)
def test_deinterleaving_pieces_equals_the_whole(
    encoding: Encoding, channels: tuple[Leg, ...], data: bytes, cuts: list[int]
) -> None:
    """Any cutting gives the channels of the whole, in equal lengths at every step, and keeps the odd tail."""
    fmt = audio_format(encoding, channels)
    reader = Deinterleaver(fmt.encoding, len(fmt.channels))
    heard: list[list[FloatArray]] = [[] for _ in channels]
    for piece in pieces(data, cuts):
        split = reader.push(piece)
        assert len({part.size for part in split}) == 1
        for collected, part in zip(heard, split, strict=True):
            collected.append(part)
    whole = len(data) - len(data) % fmt.frame_bytes
    samples = pcm_to_float(decode(data[:whole], encoding))
    for index, collected in enumerate(heard):
        got = np.concatenate([np.zeros(0, np.float32), *collected])
        assert np.array_equal(got, samples[index :: len(channels)])
    assert reader.pending_bytes == len(data) - whole


def test_channels_come_out_in_the_order_of_the_format() -> None:
    """Interleaved samples 1, 2, 1, 2 are a channel of ones and a channel of twos, both float32 and contiguous."""
    payload = encode(np.array([1, 2, 1, 2], dtype=np.int16), Encoding.PCM_S16LE)
    customer, agent = Deinterleaver(audio_format().encoding, len(audio_format().channels)).push(payload)
    assert (customer * 32_768).tolist() == [1, 1]
    assert (agent * 32_768).tolist() == [2, 2]
    assert customer.dtype == np.float32
    assert customer.flags.c_contiguous


def test_an_odd_tail_can_be_dropped() -> None:
    """When the next packet starts at a known position, half an instant is forgotten and counted."""
    reader = Deinterleaver(audio_format().encoding, len(audio_format().channels))
    reader.push(b"\x00\x00\x00")
    assert reader.drop_tail() == 3
    assert reader.pending_bytes == 0
    customer, _ = reader.push(encode(np.array([7, 8], dtype=np.int16), Encoding.PCM_S16LE))
    assert (customer * 32_768).tolist() == [7]


@settings(deadline=None)
@given(lengths=st.lists(st.integers(0, 500), max_size=20), frame=st.integers(1, 200))
def test_framing_pieces_equals_the_whole(lengths: list[int], frame: int) -> None:
    """Frames are the audio in order, whatever the pieces; the rest waits, and comes padded with zeros."""
    total = sum(lengths)
    framer, frames, start = Framer(frame), [], 0
    for length in lengths:
        frames.append(framer.push(ramp(start, length)))
        start += length
    got = np.concatenate([np.zeros((0, frame), np.float32), *frames])
    assert np.array_equal(got.reshape(-1), ramp(0, total - total % frame))
    assert framer.pending_samples == total % frame
    rest = framer.flush()
    assert rest.shape == ((1, frame) if total % frame else (0, frame))
    assert np.array_equal(rest.reshape(-1)[: total % frame], ramp(total - total % frame, total % frame))
    assert not rest.reshape(-1)[total % frame :].any()
    assert framer.pending_samples == 0


def test_frames_need_a_length() -> None:
    """Frames of no samples are refused."""
    with pytest.raises(ValueError, match="at least 1, got 0"):
        Framer(0)


def test_packets_without_position_are_contiguous() -> None:
    """A wire without a clock passes untouched."""
    clock = SampleClock(100)
    first, second = clock.align(None, [ramp(0, 10)]), clock.align(None, [ramp(10, 5)])
    assert first.channels[0].size == 10
    assert second.channels[0].size == 5
    assert first.filled_samples == second.filled_samples == second.dropped_samples == 0


def test_the_first_position_is_the_origin() -> None:
    """A call that begins at position 1,000 has no hole before it."""
    clock = SampleClock(100)
    assert clock.align(1_000, [ramp(0, 10)]).filled_samples == 0
    assert clock.align(1_010, [ramp(0, 10)]).filled_samples == 0


def test_a_hole_is_filled_with_zeros_on_every_channel() -> None:
    """Five missing instants become five zeros, counted as filled."""
    clock = SampleClock(100)
    clock.align(0, [ramp(1, 10), ramp(1, 10)])
    aligned = clock.align(15, [ramp(1, 2), ramp(3, 2)])
    assert aligned.channels[0].tolist() == [0, 0, 0, 0, 0, 1, 2]
    assert aligned.channels[1].tolist() == [0, 0, 0, 0, 0, 3, 4]
    assert aligned.filled_samples == 5


def test_a_long_hole_is_stated_and_not_filled() -> None:
    """A hole beyond the bound costs no memory; its length is told, and the clock has moved on."""
    clock = SampleClock(100, 10**9)
    clock.align(0, [ramp(0, 10)])
    aligned = clock.align(10**8, [ramp(0, 10)])
    assert (aligned.filled_samples, aligned.skipped_samples, aligned.restarted) == (0, 10**8 - 10, False)
    assert aligned.channels[0].size == 10
    assert clock.align(10**8 + 15, [ramp(0, 10)]).filled_samples == 5


def test_a_wild_position_is_not_believed() -> None:
    """A jump beyond the longest one is a clock that was set anew: audio follows on."""
    clock = SampleClock(100, 10**9)
    clock.align(0, [ramp(0, 10)])
    aligned = clock.align(10**15, [ramp(0, 10)])
    assert (aligned.filled_samples, aligned.skipped_samples, aligned.restarted) == (0, 0, True)
    assert clock.align(10**15 + 10, [ramp(0, 10)]).filled_samples == 0


def test_time_can_pass_without_audio() -> None:
    """By so much, or to a position; never backwards, and never further than a jump is believed."""
    clock = SampleClock(100, 1_000)
    assert clock.skip(50) == 50
    assert clock.skip(0, until_samples=80) == 30
    assert clock.skip(0, until_samples=80) == 0
    assert clock.skip(0, until_samples=10) == 0
    assert clock.skip(5_000) == 0
    aligned = clock.align(85, [ramp(0, 10)])
    assert (aligned.filled_samples, aligned.channels[0].size) == (5, 15)


def test_duplicates_and_overlaps_are_dropped() -> None:
    """A repeated packet adds nothing, an overlapping one only its new end."""
    clock = SampleClock(100)
    clock.align(0, [ramp(0, 10)])
    repeated = clock.align(0, [ramp(0, 10)])
    assert (repeated.channels[0].size, repeated.dropped_samples) == (0, 10)
    overlapping = clock.align(5, [ramp(5, 10)])
    assert overlapping.channels[0].tolist() == [10, 11, 12, 13, 14]
    assert overlapping.dropped_samples == 5


def test_a_restarted_sender_follows_on() -> None:
    """A packet far in the past is a new start of the sender's clock, not an endless duplicate."""
    clock = SampleClock(100)
    clock.align(5_000, [ramp(0, 10)])
    restarted = clock.align(0, [ramp(0, 10)])
    assert restarted.restarted
    assert restarted.channels[0].size == 10
    assert not clock.align(10, [ramp(0, 10)]).dropped_samples


def test_a_packet_without_position_follows_one_with() -> None:
    """Wires may mix: None means right after the last."""
    clock = SampleClock(100)
    clock.align(50, [ramp(0, 10)])
    clock.align(None, [ramp(0, 10)])
    assert clock.align(70, [ramp(0, 10)]).filled_samples == 0


@settings(deadline=None)
@given(
    packets=st.lists(st.tuples(st.integers(0, 400), st.integers(1, 30)), max_size=30),
    bound=st.integers(431, 1_000),
)
def test_every_position_is_heard_once(packets: list[tuple[int, int]], bound: int) -> None:
    """Within the bound the stream covers each position from the first on once: with its sample, or a zero."""
    clock, stream = SampleClock(bound), [np.zeros(0, np.float32)]
    origin = packets[0][0] if packets else 0
    covered = np.zeros(0, dtype=bool)
    for position, length in packets:
        aligned = clock.align(position, [ramp(position, length)])
        new = np.zeros(aligned.channels[0].size, dtype=bool)
        new[aligned.filled_samples :] = True
        covered = np.concatenate([covered, new])
        stream.append(aligned.channels[0])
        assert aligned.dropped_samples + aligned.channels[0].size == length + aligned.filled_samples
    heard = np.concatenate(stream)
    assert np.array_equal(heard[covered], ramp(origin, heard.size)[covered])
    assert not heard[~covered].any()


def test_a_negative_bound_is_refused() -> None:
    """The bound on filled silence cannot be negative."""
    with pytest.raises(ValueError, match="got -1"):
        SampleClock(-1)
