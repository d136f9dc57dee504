"""Holes of a wire without a clock, told from when its audio arrives.

AudioSocket, chan_websocket and FreeSWITCH send bare samples: a buffer thrown away, a silence suppressed or a pause
leave no trace but time. Time also passes when a network stalls, when a sender sleeps a little too long between packets
or when a file is played faster than it sounds; none of these loses audio. So a hole is believed only where
one packet comes more than half a second late, and where a second of arrivals after it brings no burst that makes up
for it. What is believed is stated once, about a second after it happened: the sum of time is right, the place is late.
"""

from __future__ import annotations

from app.domain import AudioPacket
from app.wire.base import Audio, Gap, GapKind, WireEvent

JUMP_S = 0.5
"""A packet that is later than this, beyond its own duration, makes a hole suspected."""

CONFIRM_S = 1.0
"""So long may the sender catch up before the hole is believed."""

_CATCHING_UP_S = 0.1  # a gain of this much within CONFIRM_S is a burst still under way: wait on
_ANNOUNCED_S = 0.1  # an announced silence is measured down to here; below, it is jitter


class ArrivalClock:
    """Compares when audio came with how much of it there was. sample_rate_hz: may change while the call goes on.

    announced: the silence now is on purpose (a pause), so `gap` states it at once, and as paused.
    """

    def __init__(self, sample_rate_hz: int) -> None:
        self.sample_rate_hz = sample_rate_hz
        self.announced = False
        self._last_s: float | None = None
        self._lag_s = 0.0  # how far audio is behind time, holes taken out; negative where it runs ahead
        self._floor_s: float | None = None  # the lag that is no hole; None while no hole is suspected
        self._lowest_s = 0.0  # the smallest lag since the suspicion
        self._mark_s = 0.0  # the smallest lag when the wait began
        self._since_s = 0.0  # when the wait began

    def push(self, now_s: float, samples: int) -> int:
        """Take note of samples (per channel) that arrived; the length of a hole to state before them, mostly 0."""
        late_s = self._late(now_s, samples)
        if late_s > JUMP_S:
            self._suspect(now_s, late_s)
            return 0
        if self._floor_s is None:
            return 0
        hole_s = self._lowest_s - self._floor_s
        if hole_s <= JUMP_S:  # caught up
            self._floor_s = None
        elif self._mark_s - self._lowest_s >= _CATCHING_UP_S:
            self._mark_s, self._since_s = self._lowest_s, now_s
        elif now_s - self._since_s >= CONFIRM_S:
            self._floor_s = None
            return self._stated(hole_s)
        return 0

    def push_announced(self, now_s: float, samples: int) -> int:
        """As `push`, where the sender had said that it would be silent: the silence is stated at once."""
        late_s = min(self._late(now_s, samples), self._lag_s)
        return self._stated(late_s) if late_s > _ANNOUNCED_S else 0

    def gap(self, now_s: float, samples: int) -> Gap | None:
        """Take note of samples that arrived; the hole to state before them, if any."""
        if self.announced:
            hole = self.push_announced(now_s, samples)
            return Gap(GapKind.PAUSED, hole) if hole else None
        hole = self.push(now_s, samples)
        return Gap(GapKind.LOST, hole) if hole else None

    def audio(self, now_s: float, payload: bytes, frame_bytes: int, paused: bool = False) -> list[WireEvent]:
        """Audio that arrived, behind the hole before it, if any. frame_bytes: of one sample instant.

        paused: the sender is still in its announced silence; the first audio after it ends what was announced.
        """
        gap = self.gap(now_s, len(payload) // frame_bytes)
        if self.announced and not paused:
            self.announced = False
        audio = Audio(AudioPacket(payload))
        return [audio] if gap is None else [gap, audio]

    def _late(self, now_s: float, samples: int) -> float:
        """How much later than its own duration this packet came on the one before."""
        last_s = self._last_s
        if last_s is None:
            self._last_s = now_s
            return 0.0
        late_s = max(now_s - last_s, 0.0) - samples / self.sample_rate_hz
        self._last_s = max(now_s, last_s)
        self._lag_s += late_s
        self._lowest_s = min(self._lowest_s, self._lag_s)
        return late_s

    def _suspect(self, now_s: float, late_s: float) -> None:
        if self._floor_s is None:
            known_s = 0.0
            # What was played ahead of time before is not missing now.
            self._floor_s = max(self._lag_s - late_s, 0.0)
        else:
            known_s = self._lowest_s - self._floor_s
            self._floor_s = max(self._lag_s - late_s - known_s, 0.0)
        self._lowest_s = self._mark_s = self._lag_s
        self._since_s = now_s

    def _stated(self, hole_s: float) -> int:
        samples = int(hole_s * self.sample_rate_hz)
        self._lag_s -= samples / self.sample_rate_hz
        return samples
