"""Where every sample of a call went: counted in whole samples at 8 kHz, turned into seconds at the end.

Seconds are multiples of 1/8000 s, so six decimals say them exactly and the four parts of a leg add up to its
length to the last digit.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from enum import Enum, auto
from typing import Any, Self

from app.domain import SAMPLE_RATE_HZ, Leg


class Kind(Enum):
    """What a sample was: sound that came, lost and silent, lost and concealed, sound dropped during a pause."""

    HEARD = auto()
    LOST = auto()
    CONCEALED = auto()
    PAUSED = auto()


@dataclass(slots=True)
class Counts:
    """Samples at 8 kHz by kind. concealed: those of the lost in whose place something is heard."""

    heard: int = 0
    lost: int = 0
    paused: int = 0
    concealed: int = 0

    def __iadd__(self, other: Counts) -> Self:
        self.heard += other.heard
        self.lost += other.lost
        self.paused += other.paused
        self.concealed += other.concealed
        return self

    def add(self, kind: Kind, samples: int) -> None:
        """Count samples of one kind."""
        if kind is Kind.HEARD:
            self.heard += samples
        elif kind is Kind.PAUSED:
            self.paused += samples
        else:
            self.lost += samples
            self.concealed += samples if kind is Kind.CONCEALED else 0


class Timeline:
    """The kind of each sample of a call at 8 kHz, from counts at the sender's rate.

    The resampler answers late, so kinds wait here in runs until its samples come out. n samples in are
    round(n · 8000 / rate) out, halves up, counted from the last `restart`: the resampler's own rule.
    """

    def __init__(self, in_hz: int) -> None:
        self._in_hz = in_hz
        self._base = 0
        self._in_samples = 0
        self._taken = 0
        self._runs: deque[tuple[int, Kind]] = deque()  # (one past its last sample, kind)

    def add(self, kind: Kind, in_samples: int) -> int:
        """Append samples at the sender's rate; returns how many they are at 8 kHz."""
        before = self._end()
        self._in_samples += in_samples
        end = self._end()
        if end > before:
            if self._runs and self._runs[-1][1] is kind:
                self._runs.pop()
            self._runs.append((end, kind))
        return end - before

    def restart(self, in_hz: int | None = None) -> None:
        """Count from here, as a flushed resampler does; in_hz: where the sender's rate changes."""
        self._base, self._in_samples = self._end(), 0
        self._in_hz = self._in_hz if in_hz is None else in_hz

    def take(self, samples: int) -> Counts:
        """The kinds of the next `samples` at 8 kHz."""
        counts = Counts()
        until = self._taken + samples
        while self._runs and self._taken < until:
            end, kind = self._runs[0]
            step = min(end, until) - self._taken
            counts.add(kind, step)
            self._taken += step
            if self._taken == end:
                self._runs.popleft()
        return counts

    def _end(self) -> int:
        return self._base + (2 * self._in_samples * SAMPLE_RATE_HZ + self._in_hz) // (2 * self._in_hz)


@dataclass(frozen=True, slots=True)
class AudioAccount:
    """Where the samples of one leg went (at 8 kHz): scored + silence + rejected + lost = the whole leg.

    scored_samples: inside utterances whose scores are published. silence_samples: outside utterances.
    rejected_samples: by reason: `paused`, `blip`, `failed`, an abstention's, or the kind of what is not speech
    (`music`, `tone`, `prompt`, `noise`). lost_samples: never arrived, filled.
    """

    scored_samples: int
    silence_samples: int
    rejected_samples: Mapping[str, int]
    lost_samples: int

    @property
    def total_samples(self) -> int:
        """The leg's length."""
        rejected = sum(self.rejected_samples.values())
        return self.scored_samples + self.silence_samples + rejected + self.lost_samples

    def outcomes(self) -> Iterator[tuple[str, str, int]]:
        """Every part: outcome, reason (empty but for what was rejected), samples."""
        yield "scored", "", self.scored_samples
        yield "silence", "", self.silence_samples
        yield "lost", "", self.lost_samples
        for reason, samples in self.rejected_samples.items():
            yield "rejected", reason, samples

    def body(self) -> dict[str, object]:
        """As JSON, in seconds."""
        return {
            "scored_s": seconds(self.scored_samples),
            "silence_s": seconds(self.silence_samples),
            "rejected_s": seconds(sum(self.rejected_samples.values())),
            "lost_s": seconds(self.lost_samples),
            "rejected": {reason: seconds(n) for reason, n in sorted(self.rejected_samples.items())},
        }


@dataclass(frozen=True, slots=True)
class LegSummary:
    """One leg at the end of a call. utterances: records made."""

    utterances: int
    audio: AudioAccount


@dataclass(frozen=True, slots=True)
class CallSummary:
    """The account of a call, so far or at its end.

    earlier: the body of the account of what came before, where the call broke off and was taken up again.
    """

    call_id: str
    legs: Mapping[Leg, LegSummary]
    earlier: Mapping[str, Any] | None = None

    @property
    def duration_s(self) -> float:
        """Length of the call: all legs are equally long."""
        return seconds(max(leg.audio.total_samples for leg in self.legs.values()))

    def body(self) -> dict[str, object]:
        """As JSON, the fields of the `summary` message; of the whole call."""
        earlier = self.earlier or {"duration_s": 0.0, "legs": {}}
        legs: dict[str, object] = {}
        for leg, summary in self.legs.items():
            before = earlier["legs"].get(leg.value, {"utterances": 0, "audio": {}})
            legs[leg.value] = {
                "utterances": before["utterances"] + summary.utterances,
                "audio": _sum(before["audio"], summary.audio.body()),
            }
        duration_s = round(earlier["duration_s"] + self.duration_s, 6)
        return {"call_id": self.call_id, "duration_s": duration_s, "legs": legs}


def _sum(one: Mapping[str, Any], other: Mapping[str, Any]) -> dict[str, object]:
    """Seconds by name, summed, those within objects too."""
    summed: dict[str, object] = {}
    for name in {**one, **other}:
        first, second = one.get(name), other.get(name)
        if isinstance(first, Mapping) or isinstance(second, Mapping):
            summed[name] = _sum(first or {}, second or {})
        else:
            summed[name] = round((first or 0.0) + (second or 0.0), 6)
    return summed


def seconds(samples: int) -> float:
    """Samples at 8 kHz in seconds, exact to the sixth decimal."""
    return round(samples / SAMPLE_RATE_HZ, 6)
