"""From packets of any length to fixed frames on a continuous sample clock."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from app.audio.g711 import decode, pcm_to_float
from app.domain import Encoding, FloatArray


class Deinterleaver:
    """Wire bytes in pieces of any length to canonical samples per channel.

    A piece may end inside a sample instant: its odd tail waits for the next piece.
    """

    def __init__(self, encoding: Encoding, channels: int) -> None:
        self._encoding = encoding
        self._channels = channels
        self._instant_bytes = encoding.sample_bytes * channels
        self._tail = b""

    @property
    def pending_bytes(self) -> int:
        """Bytes of the unfinished sample instant; more than 0 at the end means truncated audio."""
        return len(self._tail)

    def push(self, payload: bytes) -> list[FloatArray]:
        """Decode every whole sample instant: float32 [n] per channel, equal lengths, at the wire's rate."""
        data = self._tail + payload if self._tail else payload
        whole = len(data) - len(data) % self._instant_bytes
        self._tail = data[whole:]
        samples = pcm_to_float(decode(memoryview(data)[:whole], self._encoding))
        if self._channels == 1:
            return [samples]
        return list(np.ascontiguousarray(samples.reshape(-1, self._channels).T))

    def drop_tail(self) -> int:
        """Forget the unfinished sample instant and say how many bytes it had: the next packet is aligned."""
        dropped, self._tail = len(self._tail), b""
        return dropped


@dataclass(frozen=True, slots=True)
class Aligned:
    """A packet put on the sample clock; all counts are sample instants at the sender's rate.

    channels: float32 [n] per channel, `filled_samples` zeros first.
    filled_samples: missing audio, zeros so far (count it as lost).
    dropped_samples: audio that had come before, left out.
    skipped_samples: a hole before the packet that is too long to be filled (count it as lost, too).
    restarted: the sender's clock jumped too far to be believed, so it was taken as a new start.
    """

    channels: list[FloatArray]
    filled_samples: int = 0
    dropped_samples: int = 0
    skipped_samples: int = 0
    restarted: bool = False


class SampleClock:
    """Makes one contiguous stream of packets that carry their sender's position, or none.

    The first position seen is the origin. A hole of at most `max_gap_samples` is filled with zeros; a longer one, up
    to `max_jump_samples`, is only stated, so that a wild position costs no memory. What overlaps audio already taken
    is dropped. A packet that lies wholly more than `max_gap_samples` in the past, or beyond the longest jump, means
    that the sender set its clock anew: it follows on.

    Raises:
        ValueError: a negative bound, or a jump shorter than a gap.
    """

    def __init__(self, max_gap_samples: int, max_jump_samples: int | None = None) -> None:
        longest = max_gap_samples if max_jump_samples is None else max_jump_samples
        if not 0 <= max_gap_samples <= longest:
            raise ValueError(
                f"expected 0 <= max_gap_samples <= max_jump_samples, got {max_gap_samples} and {longest}"
            )
        self._max_gap = max_gap_samples
        self._max_jump = longest
        self._next: int | None = None

    def align(self, position_samples: int | None, channels: list[FloatArray]) -> Aligned:
        """Place float32 [n] per channel (equal lengths) at a position; None means right after the last."""
        length = channels[0].size
        expected = self._next
        if expected is None or position_samples is None:
            self._next = (expected or position_samples or 0) + length
            return Aligned(channels)
        late = expected - position_samples
        if late - length > self._max_gap or -late > self._max_jump:
            self._next = position_samples + length
            return Aligned(channels, restarted=True)
        self._next = max(expected, position_samples + length)
        if late >= 0:
            dropped = min(late, length)
            return Aligned([channel[dropped:] for channel in channels], dropped_samples=dropped)
        if -late > self._max_gap:
            return Aligned(channels, skipped_samples=-late)
        silence = np.zeros(-late, dtype=np.float32)
        return Aligned([np.concatenate((silence, channel)) for channel in channels], filled_samples=-late)

    def begin(self, position_samples: int) -> None:
        """Take a position as the origin, where there is none yet."""
        if self._next is None:
            self._next = position_samples

    def skip(self, samples: int, until_samples: int | None = None) -> int:
        """Move on over time for which no audio will come, by so much or to a position; how long it was.

        What is beyond the longest jump is not believed, and nothing is skipped.
        """
        expected = self._next or 0
        if until_samples is not None:
            samples = until_samples - expected
        if not 0 < samples <= self._max_jump:
            return 0
        self._next = expected + samples
        return samples


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
