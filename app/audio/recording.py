"""Recordings in any container that soundfile reads, as blocks of 16-bit samples: what a client would stream.

The rates of the native protocol are kept, every other one is resampled to 8 kHz. Samples are quantised to
16 bits exactly as an s16le client does it, so a file scored, uploaded or streamed is the same audio.
"""

from __future__ import annotations

import io
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO, Final

import numpy as np
import soundfile

from app.audio.g711 import PcmArray, float_to_pcm, pcm_to_float
from app.audio.resample import StreamingResampler
from app.domain import SAMPLE_RATE_HZ, FloatArray

KEPT_RATES_HZ: Final = (8_000, 16_000, 24_000, 48_000)
MIN_RATE_HZ: Final = 2_000
MAX_RATE_HZ: Final = 384_000
MAX_CHANNELS: Final = 2
_UNKNOWN_LENGTH: Final = 1 << 62  # libsndfile's count for a stream that does not say how long it is

Source = str | os.PathLike[str] | bytes


class RecordingError(Exception):
    """A recording that cannot be scored.

    code: `unreadable`, `empty`, `not_finite`, `too_many_channels`, `unsupported_rate` or `too_long`.
    detail: what was expected and what came.
    """

    def __init__(self, code: str, detail: str) -> None:
        super().__init__(f"{code}: {detail}")
        self.code = code
        self.detail = detail


class Recording:
    """An open recording, read once from its beginning; holds one block at a time.

    sample_rate_hz: of the blocks (8 kHz unless the file's is one of `KEPT_RATES_HZ`). channels: 1 or 2.
    """

    def __init__(self, file: soundfile.SoundFile, max_duration_s: float | None = None) -> None:
        self._file = file
        self._file_rate_hz: int = file.samplerate
        self._max_frames = None if max_duration_s is None else int(max_duration_s * self._file_rate_hz)
        self.channels: int = file.channels
        kept = self._file_rate_hz in KEPT_RATES_HZ
        self.sample_rate_hz = self._file_rate_hz if kept else SAMPLE_RATE_HZ
        self._check_header()

    def blocks(self, block_s: float = 1.0) -> Iterator[PcmArray]:
        """The recording from start to end in pieces of about `block_s` seconds: int16 [n, channels].

        Raises:
            RecordingError: damaged or non-finite audio, no audio at all, or more than the longest allowed.
        """
        resamplers = [
            StreamingResampler(self._file_rate_hz, self.sample_rate_hz) for _ in range(self.channels)
        ]
        for block in self._read(max(1, int(block_s * self._file_rate_hz))):
            legs = zip(resamplers, block.T, strict=True)
            yield _quantised([resampler.push(np.ascontiguousarray(leg)) for resampler, leg in legs])
        yield _quantised([resampler.flush() for resampler in resamplers])

    def _read(self, block_frames: int) -> Iterator[FloatArray]:
        total = 0
        while True:
            try:
                block: FloatArray = self._file.read(block_frames, dtype="float32", always_2d=True)
            except (soundfile.SoundFileError, RuntimeError) as error:
                raise RecordingError("unreadable", f"the audio is damaged after {total} samples") from error
            if not len(block):
                break
            total += len(block)
            self._check_length(total)
            if not np.isfinite(block).all():
                raise RecordingError("not_finite", "expected finite samples, got NaN or infinity")
            yield block
        if not total:
            raise RecordingError("empty", "expected audio, got a file without a sample")

    def _check_header(self) -> None:
        if self.channels > MAX_CHANNELS:
            raise RecordingError(
                "too_many_channels", f"expected 1 or {MAX_CHANNELS} channels, got {self.channels}"
            )
        if not MIN_RATE_HZ <= self._file_rate_hz <= MAX_RATE_HZ:
            expected = f"expected a sample rate from {MIN_RATE_HZ} to {MAX_RATE_HZ} Hz"
            raise RecordingError("unsupported_rate", f"{expected}, got {self._file_rate_hz}")
        if self._file.frames < _UNKNOWN_LENGTH:
            self._check_length(self._file.frames)

    def _check_length(self, frames: int) -> None:
        if self._max_frames is not None and frames > self._max_frames:
            limit, got = self._max_frames / self._file_rate_hz, frames / self._file_rate_hz
            raise RecordingError(
                "too_long", f"expected at most {limit:g} s of audio, got {got:.3f} s or more"
            )


@contextmanager
def open_recording(source: Source, max_duration_s: float | None = None) -> Iterator[Recording]:
    """Open a file by its path, or one that lies in memory as bytes.

    Raises:
        RecordingError: not audio that soundfile reads, too many channels, an impossible rate, or too long.
    """
    with _handle(source) as handle:
        if not handle.read(1):
            raise RecordingError("empty", "expected audio, got a file without a byte")
        handle.seek(0)
        try:
            file = soundfile.SoundFile(handle)
        except (soundfile.SoundFileError, TypeError, ValueError, RuntimeError) as error:
            # TypeError: soundfile asks for a rate where the name ends in .raw.
            raise RecordingError("unreadable", "expected an audio file that soundfile reads") from error
        with file:
            yield Recording(file, max_duration_s)


def _handle(source: Source) -> BinaryIO:
    if isinstance(source, bytes):
        return io.BytesIO(source)
    try:
        return Path(source).open("rb")
    except OSError as error:
        raise RecordingError("unreadable", f"the file cannot be opened: {error.strerror}") from error


def read_recording(source: Source, max_duration_s: float | None = None) -> tuple[tuple[FloatArray, ...], int]:
    """A whole recording at once: float32 [n] per channel (16-bit values) and their rate in Hz.

    Raises:
        RecordingError: see `open_recording` and `Recording.blocks`.
    """
    with open_recording(source, max_duration_s) as recording:
        whole = pcm_to_float(np.concatenate(list(recording.blocks())))
        return tuple(np.ascontiguousarray(leg) for leg in whole.T), recording.sample_rate_hz


def _quantised(legs: list[FloatArray]) -> PcmArray:
    return float_to_pcm(np.stack(legs, axis=1))
