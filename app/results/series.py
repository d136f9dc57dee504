"""Statistics as a dashboard draws them: buckets of a site's own clock, grouped, with means and shares.

A bucket is a stretch of local time: days of 23 or 25 hours where the clock changes, hours that happen twice are two.
Nothing here can name a person: customers are counted, by line, team, emotion and outcome.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from enum import StrEnum
from typing import Any
from zoneinfo import ZoneInfo

from app.results.statistics import SCORED
from app.results.store import STAT_BUCKET_S, StatBucket, StatKey, StatSums


class BucketSize(StrEnum):
    """How long the stretches of a series are."""

    M5 = "5m"
    M15 = "15m"
    H1 = "1h"
    D1 = "1d"
    TOTAL = "total"

    @property
    def max_days(self) -> int:
        """How much time one query may span."""
        return {BucketSize.M5: 31, BucketSize.M15: 93, BucketSize.H1: 93}.get(self, 400)


_MEANS = ("confidence", "arousal", "valence", "expected_cost")
_CLOCK_S = {BucketSize.M5: 300, BucketSize.M15: 900, BucketSize.H1: 3_600}


class Dimension(StrEnum):
    """What may be told apart. There is none for agents, and must never be."""

    LINE = "line"
    TEAM = "team"
    EMOTION = "emotion"
    OUTCOME = "outcome"


@dataclass(frozen=True, slots=True)
class StatFilter:
    """Which utterances to count; None does not filter."""

    line: str | None = None
    team: str | None = None
    emotion: str | None = None
    outcome: str | None = None

    def matches(self, key: StatKey) -> bool:
        """Whether these are counted."""
        wanted = ((self.line, key.line), (self.team, key.team), (self.emotion, key.emotion))
        return all(ask in (None, is_) for ask, is_ in (*wanted, (self.outcome, key.outcome)))


class TooManyRowsError(Exception):
    """The answer would be too long."""


@dataclass(frozen=True, slots=True)
class Stretch:
    """One bucket: [start, end) in epoch seconds."""

    start: float
    end: float


class LocalBuckets:
    """Buckets of one size on the clock of a zone; `total` is one bucket, `whole`."""

    def __init__(self, size: BucketSize, zone: ZoneInfo, whole: Stretch) -> None:
        self._size = size
        self._zone = zone
        self._whole = whole
        self._known: dict[float, Stretch] = {}

    def of(self, moment: float) -> Stretch:
        """The bucket that a time lies in."""
        if self._size is BucketSize.TOTAL:
            return self._whole
        found = self._known.get(moment)
        if found is None:
            found = self._day(moment) if self._size is BucketSize.D1 else self._part(moment)
            self._known[moment] = found
        return found

    def _day(self, moment: float) -> Stretch:
        day = datetime.fromtimestamp(moment, self._zone).date()
        return Stretch(self._midnight(day), self._midnight(day + timedelta(days=1)))

    def _midnight(self, day: date) -> float:
        """When a day begins. Where the clock jumps over midnight, that is the jump."""
        return datetime(day.year, day.month, day.day, tzinfo=self._zone).timestamp()

    def _part(self, moment: float) -> Stretch:
        """A stretch of the clock, cut where the clock changes inside of it."""
        seconds = _CLOCK_S[self._size]
        offset = self._offset(moment)
        start = (moment + offset) // seconds * seconds - offset
        end = start + seconds
        if self._offset(start) != offset:
            start = self._change(start, moment)
        if self._offset(end - 1) != offset:
            end = self._change(moment, end - 1)
        return Stretch(start, end)

    def _offset(self, moment: float) -> int:
        offset = datetime.fromtimestamp(moment, self._zone).utcoffset() or timedelta()
        return round(offset.total_seconds())

    def _change(self, before: float, after: float) -> float:
        """The first second of the offset that holds at `after`, which does not at `before`."""
        low, high = int(before), int(after)
        new = self._offset(after)
        while high - low > 1:
            middle = (low + high) // 2
            low, high = (low, middle) if self._offset(middle) == new else (middle, high)
        return float(high)


@dataclass(slots=True)
class _Row:
    """Sums of one group in one bucket, and how they divide by emotion and outcome."""

    sums: StatSums = field(default_factory=StatSums)
    emotions: dict[str, StatSums] = field(default_factory=dict)
    outcomes: dict[str, int] = field(default_factory=dict)

    def add(self, key: StatKey, sums: StatSums) -> None:
        self.sums += sums
        if key.emotion is not None:
            self.emotions[key.emotion] = self.emotions.get(key.emotion, StatSums()) + sums
        self.outcomes[key.outcome] = self.outcomes.get(key.outcome, 0) + sums.n


class Series:
    """Collects five-minute sums into rows of an answer.

    Args:
        buckets: where in time a sum belongs.
        dimensions: what is told apart.
        which: what is counted.
        min_group: rows and divisions of fewer utterances are withheld.
        max_rows: of an answer.
    """

    def __init__(
        self,
        buckets: LocalBuckets,
        dimensions: tuple[Dimension, ...],
        which: StatFilter,
        *,
        min_group: int = 1,
        max_rows: int = 20_000,
    ) -> None:
        self._buckets = buckets
        self._dimensions = dimensions
        self._which = which
        self._min_group = min_group
        self._max_rows = max_rows
        self._rows: dict[tuple[Stretch, tuple[str | None, ...]], _Row] = {}

    def add(self, found: Iterable[StatBucket]) -> None:
        """Takes in what a store found.

        Raises:
            TooManyRowsError: more rows than an answer may have.
        """
        for bucket in found:
            if not self._which.matches(bucket.key):
                continue
            group = tuple(getattr(bucket.key, dimension.value) for dimension in self._dimensions)
            row = self._rows.setdefault((self._buckets.of(bucket.start), group), _Row())
            row.add(bucket.key, bucket.sums)
            if len(self._rows) > self._max_rows:
                raise TooManyRowsError(f"more than {self._max_rows} rows")

    def rows(self, moment: Callable[[float], str]) -> tuple[list[dict[str, Any]], int]:
        """The rows by time and group as JSON objects, and how many were withheld. moment: writes a time."""
        shown = [(where, row) for where, row in self._rows.items() if row.sums.n >= self._min_group]
        shown.sort(key=lambda item: (item[0][0].start, tuple(part or "" for part in item[0][1])))
        items = [
            {
                "start": moment(stretch.start),
                "end": moment(stretch.end),
                **{dimension.value: part for dimension, part in zip(self._dimensions, group, strict=True)},
                **self._figures(row),
            }
            for (stretch, group), row in shown
        ]
        return items, len(self._rows) - len(shown)

    def _figures(self, row: _Row) -> dict[str, Any]:
        sums = row.sums
        scored = row.outcomes.get(SCORED, 0)
        return {
            "utterances": sums.n,
            "seconds": round(sums.seconds, 3),
            "scored": scored,
            "abstained_share": _ratio(sums.n - scored, sums.n),
            "abstained": self._divided({why: n for why, n in row.outcomes.items() if why != SCORED}),
            "emotions": self._emotions(row.emotions, scored),
            "measured": sums.scored,
            **{name: self._mean(getattr(sums, name), sums.scored) for name in _MEANS},
        }

    def _mean(self, total: float, n: int) -> float | None:
        return _ratio(total, n) if n >= self._min_group else None

    def _emotions(self, emotions: Mapping[str, StatSums], scored: int) -> dict[str, Any] | None:
        if self._divided({emotion: sums.n for emotion, sums in emotions.items()}) is None:
            return None
        return {
            emotion: {
                "utterances": sums.n,
                "seconds": round(sums.seconds, 3),
                "share": _ratio(sums.n, scored),
            }
            for emotion, sums in sorted(emotions.items())
        }

    def _divided(self, parts: Mapping[str, int]) -> dict[str, int] | None:
        """The parts by name; None where one is so small that all are withheld (one alone could be subtracted)."""
        if any(n < self._min_group for n in parts.values()):
            return None
        return dict(sorted(parts.items()))


def aligned(since: float, until: float) -> Stretch:
    """A span widened to whole stretches of five minutes, as statistics are kept."""
    start = since // STAT_BUCKET_S * STAT_BUCKET_S
    return Stretch(start, -(-until // STAT_BUCKET_S) * STAT_BUCKET_S)


def local_time(zone: ZoneInfo) -> Callable[[float], str]:
    """Writes epoch seconds as RFC 3339 on the clock of a zone, to the second."""

    def write(moment: float) -> str:
        text = datetime.fromtimestamp(moment, UTC).astimezone(zone).isoformat(timespec="seconds")
        # RFC 3339 has no seconds in an offset; none since 1972 has any.
        return text.replace("+00:00", "Z") if zone.key == "UTC" else text[:25]

    return write


def _ratio(part: float, whole: float) -> float | None:
    return round(part / whole, 4) if whole else None
