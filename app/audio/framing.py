"""From packets of any length to fixed frames on a continuous sample clock."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from app.audio.g711 import decode, pcm_to_float
from app.domain import AudioFormat, FloatArray


class Deinterleaver:
    """Wire bytes in pieces of any length to canonical samples per channel.

    A piece may end inside a sample instant: its odd tail waits for the next piece.
    """

    def __init__(self, audio_format: AudioFormat) -> None:
        self._format = audio_format
        self._tail = b""

    @property
    def pending_bytes(self) -> int:
        """Bytes of the unfinished sample instant; more than 0 at the end means truncated audio."""
        return len(self._tail)

    def push(self, payload: bytes) -> list[FloatArray]:
        """Decode every whole sample instant: float32 [n] per channel, equal lengths, at the wire's rate."""
        data = self._tail + payload if self._tail else payload
        whole = len(data) - len(data) % self._format.frame_bytes
        self._tail = data[whole:]
        samples = pcm_to_float(decode(memoryview(data)[:whole], self._format.encoding))
        channels = len(self._format.channels)
        return [samples] if channels == 1 else list(np.ascontiguousarray(samples.reshape(-1, channels).T))

    def drop_tail(self) -> int:
        """Forget the unfinished sample instant and say how many bytes it had: the next packet is aligned."""
        dropped, self._tail = len(self._tail), b""
        return dropped


@dataclass(frozen=True, slots=True)
class Aligned:
    """A packet put on the sample clock; all counts are sample instants at the sender's rate.

    channels: float32 [n] per channel, `filled_samples` zeros first.
    filled_samples: missing audio replaced by silence (count it as lost).
    dropped_samples: audio that had come before, left out.
    skipped_samples: the part of a gap beyond the bound; the clock does not count it.
    restarted: the sender's clock went back further than the bound, so it was taken as a new start.
    """

    channels: list[FloatArray]
    filled_samples: int = 0
    dropped_samples: int = 0
    skipped_samples: int = 0
    restarted: bool = False


class SampleClock:
    """Makes one contiguous stream of packets that carry their sender's position, or none.

    The first position seen is the origin. A hole is filled with zeros, at most `max_gap_samples` of them, so
    that a wild position costs no memory. What overlaps audio already taken is dropped. A packet that lies
    wholly more than `max_gap_samples` in the past means that the sender restarted its clock: it follows on.

    Raises:
        ValueError: a negative bound.
    """

    def __init__(self, max_gap_samples: int) -> None:
        if max_gap_samples < 0:
            raise ValueError(f"max_gap_samples must not be negative, got {max_gap_samples}")
        self._max_gap = max_gap_samples
        self._next: int | None = None

    def align(self, position_samples: int | None, channels: list[FloatArray]) -> Aligned:
        """Place float32 [n] per channel (equal lengths) at a position; None means right after the last."""
        length = channels[0].size
        expected = self._next
        if expected is None or position_samples is None:
            self._next = (expected or position_samples or 0) + length
            return Aligned(channels)
        late = expected - position_samples
        if late - length > self._max_gap:
            self._next = position_samples + length
            return Aligned(channels, restarted=True)
        self._next = max(expected, position_samples + length)
        if late >= 0:
            dropped = min(late, length)
            return Aligned([channel[dropped:] for channel in channels], dropped_samples=dropped)
        filled = min(-late, self._max_gap)
        silence = np.zeros(filled, dtype=np.float32)
        padded = [np.concatenate((silence, channel)) for channel in channels]
        return Aligned(padded, filled_samples=filled, skipped_samples=-late - filled)


class Framer:
    """Audio in pieces of any length to frames of `frame_samples`.

    Raises:
        ValueError: frames of no length.
    """

    def __init__(self, frame_samples: int) -> None:
        if frame_samples < 1:
            raise ValueError(f"frame_samples must be at least 1, got {frame_samples}")
        self._frame = frame_samples
        self._tail = np.zeros(0, dtype=np.float32)

    @property
    def pending_samples(self) -> int:
        """Samples that do not fill a frame yet."""
        return int(self._tail.size)

    def push(self, samples: FloatArray) -> FloatArray:
        """Take float32 [n], give the frames it completes, float32 [k, frame_samples]; k may be 0."""
        data = np.concatenate((self._tail, samples)) if self._tail.size else samples
        whole = data.size - data.size % self._frame
        self._tail = data[whole:].copy()
        return data[:whole].reshape(-1, self._frame)

    def flush(self) -> FloatArray:
        """Give the unfinished frame padded with zeros, float32 [1, frame_samples], or [0, frame_samples]."""
        if not self._tail.size:
            return np.zeros((0, self._frame), dtype=np.float32)
        frame = np.zeros((1, self._frame), dtype=np.float32)
        frame[0, : self._tail.size] = self._tail
        self._tail = np.zeros(0, dtype=np.float32)
        return frame
