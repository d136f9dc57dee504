"""Recordings: what a client would have streamed, whatever the container, in blocks."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest
import soundfile
from hypothesis import given, settings
from hypothesis import strategies as st

from app.audio.g711 import float_to_pcm, pcm_to_float
from app.audio.recording import KEPT_RATES_HZ, Recording, RecordingError, open_recording, read_recording
from app.audio.resample import resample_whole
from app.domain import FloatArray

RNG = np.random.default_rng(7)
NOISE = RNG.integers(-20_000, 20_000, (5_000, 2)).astype(np.int16)


def encoded(
    samples: np.ndarray, rate_hz: int = 8_000, container: str = "WAV", subtype: str = "PCM_16"
) -> bytes:
    """Samples in a container, in memory."""
    buffer = io.BytesIO()
    soundfile.write(buffer, samples, rate_hz, format=container, subtype=subtype)
    return buffer.getvalue()


def refused(source: bytes | Path, max_duration_s: float | None = None) -> RecordingError:
    """The error that reading raises."""
    with pytest.raises(RecordingError) as caught:
        read_recording(source, max_duration_s)
    assert caught.value.code in str(caught.value)
    return caught.value


@pytest.mark.parametrize("rate_hz", KEPT_RATES_HZ)
@pytest.mark.parametrize(
    ("container", "subtype"), [("WAV", "PCM_16"), ("FLAC", "PCM_16"), ("AIFF", "PCM_24"), ("CAF", "FLOAT")]
)
def test_sixteen_bit_samples_come_back_exactly(rate_hz: int, container: str, subtype: str) -> None:
    """16-bit audio in a container that keeps it is what an s16le client would send, at its own rate."""
    # soundfile does not scale integers into floating point
    samples = pcm_to_float(NOISE) if subtype == "FLOAT" else NOISE
    with open_recording(encoded(samples, rate_hz, container, subtype)) as recording:
        assert (recording.sample_rate_hz, recording.channels) == (rate_hz, 2)
        assert np.array_equal(np.concatenate(list(recording.blocks())), NOISE)


@pytest.mark.parametrize(("container", "subtype"), [("OGG", "VORBIS"), ("MP3", "MPEG_LAYER_III")])
def test_lossy_containers_are_read_too(container: str, subtype: str) -> None:
    """Vorbis and MP3 are decoded to about what went in."""
    tone = np.rint(9_000 * np.sin(np.arange(16_000) * 0.3)).astype(np.int16)
    (leg,), rate_hz = read_recording(encoded(tone, 16_000, container, subtype))
    assert rate_hz == 16_000
    assert len(leg) == pytest.approx(16_000, abs=3_000)
    assert float(np.sqrt(np.mean(leg**2))) == pytest.approx(9_000 / 32_768 / np.sqrt(2), rel=0.15)


@settings(max_examples=20, deadline=None)
@given(block_s=st.floats(0.0001, 2.0), rate_hz=st.sampled_from([8_000, 11_025, 44_100]))
def test_the_size_of_blocks_changes_nothing(block_s: float, rate_hz: int) -> None:
    """Blocks joined are the recording, resampled or not."""
    data = encoded(NOISE, rate_hz)
    with open_recording(data) as one, open_recording(data) as other:
        assert np.array_equal(
            np.concatenate(list(one.blocks(block_s))), np.concatenate(list(other.blocks(100.0)))
        )


@pytest.mark.parametrize("rate_hz", [2_000, 11_025, 44_100, 96_000, 384_000])
def test_other_rates_become_8_khz(rate_hz: int) -> None:
    """A rate that the protocol lacks is resampled as a whole, then quantised."""
    legs, out_hz = read_recording(encoded(NOISE, rate_hz))
    expected = [resample_whole(np.ascontiguousarray(leg), rate_hz) for leg in pcm_to_float(NOISE).T]
    assert out_hz == 8_000
    for leg, want in zip(legs, expected, strict=True):
        assert np.array_equal(float_to_pcm(leg), float_to_pcm(want))


def test_floating_point_files_are_quantised_and_limited() -> None:
    """Float samples round to the nearest 16-bit value; what is beyond full scale is limited."""
    (leg,), _ = read_recording(encoded(np.array([0.5, 1.7, -3.0, 1.4 / 32_768]), subtype="DOUBLE"))
    assert (leg * 32_768).tolist() == [16_384, 32_767, -32_768, 1]


def test_a_path_is_read_like_bytes(tmp_path: Path) -> None:
    """The same file by path, by text path and as bytes gives the same samples."""
    path = tmp_path / "call.wav"
    path.write_bytes(encoded(NOISE))
    first: FloatArray = read_recording(path)[0][0]
    assert np.array_equal(first, read_recording(str(path))[0][0])
    assert np.array_equal(first, read_recording(path.read_bytes())[0][0])


@pytest.mark.parametrize(
    "data", [b"nonsense" * 40, b"RIFF" + bytes(60), b"fLaC" + bytes(60), b"ID3", encoded(NOISE)[:20]]
)
def test_what_is_no_audio_is_refused(data: bytes) -> None:
    """Anything soundfile cannot open is one error."""
    assert refused(data).code == "unreadable"


@pytest.mark.parametrize("data", [b"", encoded(np.zeros((0, 1), np.int16))])
def test_an_empty_file_is_refused(data: bytes) -> None:
    """No byte, or a header without a sample, is `empty`."""
    assert refused(data).code == "empty"


def test_damage_in_the_middle_is_refused() -> None:
    """A FLAC file with a flipped byte fails its checksum."""
    data = bytearray(encoded(NOISE, container="FLAC"))
    data[len(data) // 2] ^= 0xFF
    assert refused(bytes(data)).code == "unreadable"


def test_a_missing_file_and_a_raw_one_are_refused(tmp_path: Path) -> None:
    """No file, a folder, and headerless samples cannot be read."""
    raw = tmp_path / "call.raw"
    raw.write_bytes(bytes(320))
    for path in (tmp_path / "absent.wav", tmp_path, raw):
        assert refused(path).code == "unreadable"


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_numbers_that_are_not_finite_are_refused(bad: float) -> None:
    """NaN and infinity in a float file never reach the model."""
    samples = np.zeros(20_000)
    samples[15_000] = bad
    assert refused(encoded(samples, subtype="FLOAT")).code == "not_finite"


def test_too_many_channels_and_impossible_rates_are_refused() -> None:
    """Two legs are the most, and a rate must be one that audio has."""
    assert refused(encoded(np.zeros((10, 3)))).code == "too_many_channels"
    assert refused(encoded(np.zeros(10), 1_999)).code == "unsupported_rate"
    assert refused(encoded(np.zeros(10), 384_001)).code == "unsupported_rate"


def test_a_recording_over_the_limit_is_refused_before_it_is_read() -> None:
    """The header tells the length; the limit itself is allowed."""
    data = encoded(np.zeros(8_000, np.int16))
    assert len(read_recording(data, 1.0)[0][0]) == 8_000
    error = refused(data, 0.999)
    assert error.code == "too_long"
    assert "0.999" in error.detail


def test_a_recording_of_unknown_length_is_counted_as_it_is_read() -> None:
    """Where the header does not say how long it is, the limit still holds."""

    class Endless:
        samplerate, channels, frames = 8_000, 1, (1 << 63) - 1

        def read(self, frames: int, **_: object) -> FloatArray:
            return np.zeros((frames, 1), np.float32)

    blocks = Recording(Endless(), 3.0).blocks()
    assert sum(len(next(blocks)) for _ in range(3)) == 24_000
    with pytest.raises(RecordingError, match="too_long"):
        next(blocks)
