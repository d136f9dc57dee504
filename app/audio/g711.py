"""ITU-T G.711 µ-law and A-law, bit-exact with the reference code of ITU-T G.191, by table lookup.

Linear samples are 16-bit. Decoding gives the law's value left-justified in 16 bits (at most ±32124 for µ-law,
±32256 for A-law). Encoding follows G.711's decision values; negative samples use the one's complement as
G.191 does, so the two halves of the range mirror each other and -1 is the negative zero.
"""

from __future__ import annotations

from functools import cache
from typing import TypeVar

import numpy as np
import numpy.typing as npt

from app.domain import Encoding, FloatArray

CodeArray = npt.NDArray[np.uint8]
PcmArray = npt.NDArray[np.int16]
_IntArray = npt.NDArray[np.int64]

_FULL_SCALE = 32_768.0
_Scalar = TypeVar("_Scalar", bound=np.generic)
_EVEN_BITS = 0x55  # A-law inverts these on the wire, for the ones density of early digital lines
_SIGN_BIT = 0x80


def decode_ulaw(codes: CodeArray) -> PcmArray:
    """µ-law codes (uint8, any shape) to linear int16 of the same shape (G.711 table 2)."""
    return _ulaw_expansion()[codes]


def decode_alaw(codes: CodeArray) -> PcmArray:
    """A-law codes (uint8, any shape) to linear int16 of the same shape (G.711 table 1)."""
    return _alaw_expansion()[codes]


def encode_ulaw(samples: PcmArray) -> CodeArray:
    """Linear int16 (any shape) to µ-law codes of the same shape; beyond ±32635 the law saturates."""
    return _ulaw_compression()[samples.astype(np.int16, copy=False).view(np.uint16)]


def encode_alaw(samples: PcmArray) -> CodeArray:
    """Linear int16 (any shape) to A-law codes of the same shape."""
    return _alaw_compression()[samples.astype(np.int16, copy=False).view(np.uint16)]


def decode(payload: bytes | bytearray | memoryview, encoding: Encoding) -> PcmArray:
    """Wire bytes to linear int16 [n], channels left interleaved.

    Raises:
        ValueError: the payload ends inside a sample (s16le only).
    """
    if encoding is Encoding.PCM_MULAW:
        return decode_ulaw(np.frombuffer(payload, dtype=np.uint8))
    if encoding is Encoding.PCM_ALAW:
        return decode_alaw(np.frombuffer(payload, dtype=np.uint8))
    if len(payload) % 2:
        raise ValueError(f"s16le payload must be a whole number of 2-byte samples, got {len(payload)} bytes")
    return np.frombuffer(payload, dtype="<i2").astype(np.int16, copy=False)


def encode(samples: PcmArray, encoding: Encoding) -> bytes:
    """Linear int16 [n] to wire bytes: what `decode` reads."""
    if encoding is Encoding.PCM_MULAW:
        return encode_ulaw(samples).tobytes()
    if encoding is Encoding.PCM_ALAW:
        return encode_alaw(samples).tobytes()
    return samples.astype("<i2").tobytes()


def pcm_to_float(samples: PcmArray) -> FloatArray:
    """Linear int16 to float32 in [-1, 1): exactly samples / 32768."""
    return samples.astype(np.float32) / np.float32(_FULL_SCALE)


def float_to_pcm(samples: npt.NDArray[np.floating]) -> PcmArray:
    """Float samples to int16: round(x * 32768) to the nearest (ties to even), limited to [-32768, 32767].

    Undoes `pcm_to_float` exactly.

    Raises:
        ValueError: a sample is NaN or infinite.
    """
    if not np.isfinite(samples).all():
        raise ValueError("audio must be finite, got NaN or infinity")
    scaled = np.rint(np.clip(samples, -1.0, 1.0) * _FULL_SCALE)
    pcm: PcmArray = np.minimum(scaled, _FULL_SCALE - 1).astype(np.int16)
    return pcm


def _ulaw_magnitudes() -> tuple[_IntArray, _IntArray]:
    """Decision values and quantised values of µ-law's 128 magnitudes, in 14-bit units (G.711 table 2a).

    Segment s has 16 steps of 2^(s+1); with a bias of 33 every segment starts at a power of two.
    """
    segment, step = np.divmod(np.arange(128), 16)
    width = 2 << segment
    lower = (32 << segment) + step * width - 33
    # A quantised value is the middle of its interval; the first interval is [-1, 1), folded at zero.
    return np.maximum(lower, 0), lower + width // 2


def _alaw_magnitudes() -> tuple[_IntArray, _IntArray]:
    """Decision values and doubled quantised values of A-law's 128 magnitudes, in 12-bit units (table 1a).

    The first two segments share a step of 1, then each doubles it. Midpoints are halves, hence the doubling.
    """
    segment, step = np.divmod(np.arange(128), 16)
    width = 1 << np.maximum(segment - 1, 0)
    lower = np.where(segment == 0, step, (16 + step) * width)
    return lower, 2 * lower + width


@cache
def _ulaw_expansion() -> PcmArray:
    _, values = _ulaw_magnitudes()
    magnitude = (values << 2)[~np.arange(256) & 0x7F]  # µ-law inverts every bit on the wire
    return _frozen(np.where(np.arange(256) & _SIGN_BIT, magnitude, -magnitude).astype(np.int16))


@cache
def _alaw_expansion() -> PcmArray:
    _, doubled = _alaw_magnitudes()
    magnitude = (doubled << 3)[(np.arange(256) ^ _EVEN_BITS) & 0x7F]
    return _frozen(np.where(np.arange(256) & _SIGN_BIT, magnitude, -magnitude).astype(np.int16))


@cache
def _ulaw_compression() -> CodeArray:
    decisions, _ = _ulaw_magnitudes()
    sign, index = _quantise(decisions, shift=2)
    return _frozen((sign | (~index & 0x7F)).astype(np.uint8))


@cache
def _alaw_compression() -> CodeArray:
    decisions, _ = _alaw_magnitudes()
    sign, index = _quantise(decisions, shift=4)
    return _frozen(((sign | index) ^ _EVEN_BITS).astype(np.uint8))


def _quantise(decisions: _IntArray, shift: int) -> tuple[_IntArray, _IntArray]:
    """Sign bit and interval index of every int16, in the order of its uint16 bit pattern."""
    linear = np.arange(65_536, dtype=np.uint16).view(np.int16).astype(np.int64)
    magnitude = np.where(linear >= 0, linear, ~linear) >> shift
    index = np.searchsorted(decisions, magnitude, side="right").astype(np.int64) - 1
    return np.where(linear >= 0, _SIGN_BIT, 0), index


def _frozen(table: npt.NDArray[_Scalar]) -> npt.NDArray[_Scalar]:
    table.flags.writeable = False
    return table
