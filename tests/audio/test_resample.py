"""The streaming resampler: the same samples whatever the chunks, the right length, band and alignment."""

from __future__ import annotations

import numpy as np
import pytest
import soxr
from hypothesis import given, settings
from hypothesis import strategies as st

from app.audio.resample import StreamingResampler, resample_whole
from app.domain import FloatArray

RATES_HZ = [8_000, 11_025, 16_000, 24_000, 44_100, 48_000]


def noise(n_samples: int, seed: int = 0) -> FloatArray:
    """White noise at -20 dBFS."""
    return (0.1 * np.random.default_rng(seed).standard_normal(n_samples)).astype(np.float32)


def tone(frequency_hz: float, rate_hz: int, seconds: float = 1.0) -> FloatArray:
    """A sine of amplitude 0.5."""
    return (0.5 * np.sin(2 * np.pi * frequency_hz * np.arange(int(rate_hz * seconds)) / rate_hz)).astype(
        np.float32
    )


def streamed(samples: FloatArray, rate_hz: int, sizes: list[int]) -> FloatArray:
    """Push `samples` in chunks of the given sizes, over and over, then flush."""
    resampler = StreamingResampler(rate_hz)
    out, start, turn = [], 0, 0
    while start < samples.size:
        size = sizes[turn % len(sizes)]
        out.append(resampler.push(samples[start : start + size]))
        start, turn = start + size, turn + 1
    out.append(resampler.flush())
    return np.concatenate(out)


@settings(deadline=None, max_examples=60)
@given(
    rate_hz=st.sampled_from(RATES_HZ),
    n_samples=st.integers(0, 12_000),
    sizes=st.lists(st.integers(1, 5_000), min_size=1, max_size=8),
    seed=st.integers(0, 5),
)
def test_chunked_equals_whole(rate_hz: int, n_samples: int, sizes: list[int], seed: int) -> None:
    """Any chunking gives the very bits that pushing everything at once gives."""
    samples = noise(n_samples, seed)
    assert np.array_equal(streamed(samples, rate_hz, sizes), resample_whole(samples, rate_hz))


@pytest.mark.parametrize("rate_hz", RATES_HZ)
def test_single_samples_equal_whole(rate_hz: int) -> None:
    """Even a stream of single samples gives the same bits."""
    samples = noise(3_001)
    assert np.array_equal(streamed(samples, rate_hz, [1]), resample_whole(samples, rate_hz))


@pytest.mark.parametrize("rate_hz", RATES_HZ[1:])
def test_blocks_change_nothing_against_soxr_itself(rate_hz: int) -> None:
    """Feeding soxr in blocks of 10 ms gives what soxr gives for the whole."""
    samples = noise(rate_hz)
    assert np.array_equal(resample_whole(samples, rate_hz), soxr.resample(samples, rate_hz, 8_000, "MQ"))


@given(rate_hz=st.sampled_from(RATES_HZ), n_samples=st.integers(0, 3_000))
@settings(deadline=None)
def test_length_is_exact(rate_hz: int, n_samples: int) -> None:
    """The output has n * 8000 / rate samples for n, halves rounded up: the leg's clock does not drift."""
    expected = (2 * n_samples * 8_000 + rate_hz) // (2 * rate_hz)
    assert resample_whole(noise(n_samples), rate_hz).size == expected


@given(sizes=st.lists(st.integers(1, 2_000), min_size=1, max_size=30))
@settings(deadline=None)
def test_when_output_comes_depends_on_the_sample_count_only(sizes: list[int]) -> None:
    """After any chunks the samples given out so far are as many as for one chunk of the same total."""
    chunked, whole = StreamingResampler(16_000), StreamingResampler(16_000)
    samples = noise(sum(sizes))
    given_out = sum(chunked.push(part).size for part in np.split(samples, np.cumsum(sizes)[:-1]))
    assert given_out == whole.push(samples).size


@pytest.mark.parametrize(("rate_hz", "worst_ms"), [(16_000, 120), (24_000, 80), (44_100, 85), (48_000, 80)])
def test_latency_is_as_documented(rate_hz: int, worst_ms: float) -> None:
    """With 20 ms packets, output never lags input by more than the documented bound."""
    resampler = StreamingResampler(rate_hz)
    block, given_out, lags_ms = rate_hz // 50, 0, []
    for index in range(100):
        given_out += resampler.push(noise(block)).size
        lags_ms.append(1_000 * ((index + 1) * block / rate_hz - given_out / 8_000))
    assert max(lags_ms) <= worst_ms


@pytest.mark.parametrize("rate_hz", [16_000, 24_000, 48_000])
def test_telephone_band_passes_and_stays_aligned(rate_hz: int) -> None:
    """A tone of 3.4 kHz comes out with its amplitude and phase, as if sampled at 8 kHz."""
    out = resample_whole(tone(3_400, rate_hz), rate_hz)
    assert np.abs(out[500:-500] - tone(3_400, 8_000)[500:-500]).max() < 1e-3


@pytest.mark.parametrize("rate_hz", [16_000, 24_000, 48_000])
def test_nothing_folds_back(rate_hz: int) -> None:
    """A tone of 4.5 kHz is gone, not heard at 3.5 kHz."""
    out = resample_whole(tone(4_500, rate_hz), rate_hz)
    assert np.abs(out[500:-500]).max() < 1e-4


def test_equal_rates_pass_through() -> None:
    """8 kHz audio is handed on as it is, and nothing is owed at the end."""
    resampler, samples = StreamingResampler(8_000), noise(123)
    assert resampler.push(samples) is samples
    assert resampler.flush().size == 0


def test_a_flush_starts_afresh() -> None:
    """After a flush the resampler is as good as new."""
    resampler, samples = StreamingResampler(48_000), noise(7_003)
    first = np.concatenate([resampler.push(samples), resampler.flush()])
    second = np.concatenate([resampler.push(samples), resampler.flush()])
    assert np.array_equal(first, second)
    assert resampler.flush().size == 0


@pytest.mark.parametrize(("in_hz", "out_hz"), [(0, 8_000), (8_000, -1)])
def test_rates_must_be_positive(in_hz: int, out_hz: int) -> None:
    """A rate of nothing is refused with both rates named."""
    with pytest.raises(ValueError, match=f"got {in_hz} and {out_hz} Hz"):
        StreamingResampler(in_hz, out_hz)
