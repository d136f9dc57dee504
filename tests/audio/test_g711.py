"""G.711 against the ITU's reference code, its printed tables, its digital milliwatt, and libsndfile."""

from __future__ import annotations

import io
from collections.abc import Callable

import numpy as np
import numpy.typing as npt
import pytest
import soundfile
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from app.audio import g711
from app.domain import Encoding
from tests.audio import g191

CODES = np.arange(256, dtype=np.uint8)
LINEAR = np.arange(-32_768, 32_768, dtype=np.int16)
Decode = Callable[[g711.CodeArray], g711.PcmArray]
Encode = Callable[[g711.PcmArray], g711.CodeArray]

EXPAND = [
    pytest.param(g711.decode_ulaw, g191.ulaw_expand, id="ulaw"),
    pytest.param(g711.decode_alaw, g191.alaw_expand, id="alaw"),
]
COMPRESS = [
    pytest.param(g711.encode_ulaw, g191.ulaw_compress, id="ulaw"),
    pytest.param(g711.encode_alaw, g191.alaw_compress, id="alaw"),
]

# Quantised values of the eight segments as printed in G.711 tables 1a and 2a: first, last, step (in 16-bit units).
ULAW_SEGMENTS = [
    (0, 120, 8),
    (132, 372, 16),
    (396, 876, 32),
    (924, 1_884, 64),
    (1_980, 3_900, 128),
    (4_092, 7_932, 256),
    (8_316, 15_996, 512),
    (16_764, 32_124, 1_024),
]
ALAW_SEGMENTS = [
    (8, 248, 16),
    (264, 504, 16),
    (528, 1_008, 32),
    (1_056, 2_016, 64),
    (2_112, 4_032, 128),
    (4_224, 8_064, 256),
    (8_448, 16_128, 512),
    (16_896, 32_256, 1_024),
]


def printed(segments: list[tuple[int, int, int]]) -> npt.NDArray[np.int64]:
    """The 128 positive values of a law, smallest first."""
    return np.concatenate([np.arange(first, last + 1, step) for first, last, step in segments])


@pytest.mark.parametrize(("decode", "reference"), EXPAND)
def test_every_code_decodes_as_the_reference_code_does(
    decode: Decode, reference: Callable[[int], int]
) -> None:
    """All 256 codes of each law give G.191's sample."""
    assert decode(CODES).tolist() == [reference(code) for code in range(256)]


@pytest.mark.parametrize(("encode", "reference"), COMPRESS)
def test_every_sample_encodes_as_the_reference_code_does(
    encode: Encode, reference: Callable[[int], int]
) -> None:
    """All 65,536 samples give G.191's code."""
    assert encode(LINEAR).tolist() == [reference(sample) for sample in range(-32_768, 32_768)]


@pytest.mark.parametrize(
    ("decode", "ascending", "segments"),
    [
        pytest.param(g711.decode_ulaw, np.arange(255, 127, -1), ULAW_SEGMENTS, id="ulaw"),
        pytest.param(g711.decode_alaw, np.arange(128, 256) ^ 0x55, ALAW_SEGMENTS, id="alaw"),
    ],
)
def test_values_are_those_printed_in_the_recommendation(
    decode: Decode, ascending: npt.NDArray[np.int64], segments: list[tuple[int, int, int]]
) -> None:
    """The 128 quantised values of G.711's tables come out, and their mirror images with the sign bit clear."""
    codes = ascending.astype(np.uint8)
    assert decode(codes).tolist() == printed(segments).tolist()
    assert decode(codes ^ np.uint8(0x80)).tolist() == (-printed(segments)).tolist()


@pytest.mark.parametrize(("encoding", "subtype"), [(Encoding.PCM_MULAW, "ULAW"), (Encoding.PCM_ALAW, "ALAW")])
def test_every_code_decodes_as_libsndfile_does(encoding: Encoding, subtype: str) -> None:
    """A second implementation agrees on all 256 codes of each law."""
    payload = bytes(range(256))
    theirs, _ = soundfile.read(
        io.BytesIO(payload), format="RAW", subtype=subtype, samplerate=8_000, channels=1, dtype="int16"
    )
    assert g711.decode(payload, encoding).tolist() == theirs.tolist()


@pytest.mark.parametrize(
    ("decode", "encode", "milliwatt"),
    [
        pytest.param(g711.decode_ulaw, g711.encode_ulaw, "1e0b0b1e9e8b8b9e", id="ulaw"),
        pytest.param(g711.decode_alaw, g711.encode_alaw, "34212134b4a1a1b4", id="alaw"),
    ],
)
def test_the_digital_milliwatt_is_a_1_khz_tone_at_0_dbm0(
    decode: Decode, encode: Encode, milliwatt: str
) -> None:
    """G.711 tables 5 and 6: eight codes repeated are a sine of 1 kHz; the tone encodes to those codes."""
    codes = np.frombuffer(bytes.fromhex(milliwatt), dtype=np.uint8)
    decoded = decode(codes).astype(np.float64)
    phase = 2 * np.pi * (np.arange(8) + 0.5) / 8
    # The table starts after a zero crossing, going negative (µ-law codes below 0x80 are negative).
    amplitude = np.sqrt(2 * np.mean(decoded**2))
    assert np.abs(decoded + amplitude * np.sin(phase)).max() < 0.025 * amplitude
    assert encode(decode(codes)).tolist() == codes.tolist()


def test_zero_and_full_scale_of_ulaw() -> None:
    """Both zeros decode to 0; the extreme codes to ±32124; louder samples saturate."""
    extremes = np.array([0xFF, 0x7F, 0x80, 0x00], dtype=np.uint8)
    assert g711.decode_ulaw(extremes).tolist() == [0, 0, 32_124, -32_124]
    loud = np.array([32_767, -32_768, 0, -1], dtype=np.int16)
    assert g711.encode_ulaw(loud).tolist() == [0x80, 0x00, 0xFF, 0x7F]


@pytest.mark.parametrize("encoding", list(Encoding))
def test_decoding_undoes_encoding_within_half_a_step(encoding: Encoding) -> None:
    """Every sample comes back within 1/32 of its size plus half of the smallest step, until µ-law saturates."""
    decoded = g711.decode(g711.encode(LINEAR, encoding), encoding).astype(np.int64)
    exact = LINEAR.astype(np.int64)
    assert (np.abs(decoded - exact) <= np.abs(exact) / 32 + 16)[np.abs(exact) <= 32_635].all()


@pytest.mark.parametrize("encoding", list(Encoding))
def test_codes_survive_decoding_and_encoding(encoding: Encoding) -> None:
    """Transcoding through linear changes no sample (µ-law's negative zero becomes the positive one)."""
    once = g711.decode(bytes(range(256)), encoding)
    assert g711.decode(g711.encode(once, encoding), encoding).tolist() == once.tolist()


def test_codecs_keep_the_shape() -> None:
    """Arrays of any shape go in and out, and other integer types are taken as int16."""
    block = LINEAR[:600].reshape(2, 3, 100)
    assert g711.decode_ulaw(g711.encode_ulaw(block)).shape == (2, 3, 100)
    assert g711.decode_alaw(g711.encode_alaw(block)).shape == (2, 3, 100)


def test_s16le_is_read_and_written_little_endian() -> None:
    """The bytes 01 80 are -32767."""
    assert g711.decode(b"\x01\x80", Encoding.PCM_S16LE).tolist() == [-32_767]
    assert g711.encode(np.array([-32_767], dtype=np.int16), Encoding.PCM_S16LE) == b"\x01\x80"


def test_half_a_sample_is_refused() -> None:
    """An odd number of bytes is no s16le audio."""
    with pytest.raises(ValueError, match="got 3 bytes"):
        g711.decode(b"abc", Encoding.PCM_S16LE)


def test_tables_cannot_be_changed_by_accident() -> None:
    """Decoded audio is the caller's own and writing to it leaves the next decoding alone."""
    decoded = g711.decode_ulaw(CODES)
    decoded[:] = 1
    assert g711.decode_ulaw(CODES).tolist() == [g191.ulaw_expand(code) for code in range(256)]


def test_pcm_and_float_are_each_others_inverse() -> None:
    """Every int16 survives the way to float32 in [-1, 1) and back."""
    samples = g711.pcm_to_float(LINEAR)
    assert samples.dtype == np.float32
    assert (samples.min(), samples.max()) == (-1.0, np.float32(32_767 / 32_768))
    assert np.array_equal(g711.float_to_pcm(samples), LINEAR)


@settings(deadline=None)
@given(hnp.arrays(np.float32, st.integers(0, 50), elements=st.floats(-3.0, 3.0, width=32)))
def test_float_audio_is_rounded_and_limited(samples: npt.NDArray[np.float32]) -> None:
    """Any finite float lands on the nearest int16."""
    pcm = g711.float_to_pcm(samples)
    exact = np.clip(samples.astype(np.float64) * 32_768, -32_768, 32_767)
    assert pcm.dtype == np.int16
    assert (np.abs(pcm - exact) <= 0.5).all()


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_float_audio_must_be_finite(bad: float) -> None:
    """NaN and infinities are refused rather than turned into some sample."""
    with pytest.raises(ValueError, match="finite"):
        g711.float_to_pcm(np.array([0.0, bad], dtype=np.float32))
