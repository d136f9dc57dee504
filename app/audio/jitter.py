"""Interarrival jitter of a track after RFC 3550 §6.4.1: when packets arrive, against the sender's sample clock."""

from __future__ import annotations


class JitterMeter:
    """The running jitter of one track.

    D = (R_j - S_j) - (R_i - S_i) of two packets in order of arrival (R: arrival, S: the sender's clock), and
    J += (|D| - J) / 16. Where the wire has no clock, S is how much audio came before. A difference of `RESTART_S` or
    more is a clock set anew or a sender that paused, and no jitter: what follows is compared with this packet.

    >>> meter = JitterMeter(8_000)
    >>> meter.push(10.000, None, 0.020)
    >>> meter.push(10.036, None, 0.020)
    >>> meter.jitter_ms
    1.0

    Raises:
        ValueError: no sample rate.
    """

    RESTART_S = 2.0
    _GAIN = 1.0 / 16.0  # RFC 3550's "noise reduction ratio"

    __slots__ = ("_jitter_s", "_next_s", "_rate_hz", "_transit_s")

    def __init__(self, sample_rate_hz: int) -> None:
        self._jitter_s: float | None = None
        self._transit_s: float | None = None
        self._next_s = 0.0
        self.restart(sample_rate_hz)

    @property
    def jitter_ms(self) -> float | None:
        """Milliseconds, one decimal; None until two packets could be compared."""
        return None if self._jitter_s is None else round(self._jitter_s * 1_000.0, 1)

    def push(self, arrived_s: float, position_samples: int | None, length_s: float) -> None:
        """Take a packet: its arrival, where it starts on the sender's clock (None: after the last), its length."""
        sent_s = self._next_s if position_samples is None else position_samples / self._rate_hz
        self._next_s = sent_s + length_s
        before, self._transit_s = self._transit_s, arrived_s - sent_s
        if before is None:
            return
        difference = abs(self._transit_s - before)
        if difference < self.RESTART_S:
            jitter = self._jitter_s or 0.0
            self._jitter_s = jitter + (difference - jitter) * self._GAIN

    def skip(self, samples: int) -> None:
        """The sender's clock moves on without audio."""
        self._next_s += samples / self._rate_hz

    def restart(self, sample_rate_hz: int) -> None:
        """The sender counts anew, perhaps at another rate; the jitter so far stands."""
        if sample_rate_hz < 1:
            raise ValueError(f"expected a sample rate of at least 1 Hz, got {sample_rate_hz}")
        self._rate_hz = sample_rate_hz
        self._next_s = 0.0
        self._transit_s = None
