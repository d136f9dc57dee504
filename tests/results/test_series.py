"""Statistics fall into the stretches of a site's own clock, whatever the clock does."""

from __future__ import annotations

from collections import Counter
from datetime import UTC, datetime
from itertools import pairwise
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from app.results.series import (
    BucketSize,
    Dimension,
    LocalBuckets,
    Series,
    StatFilter,
    Stretch,
    TooManyRowsError,
    aligned,
    local_time,
)
from app.results.store import STAT_BUCKET_S, StatBucket, StatKey, StatSums

HOUR_S, DAY_S = 3_600.0, 86_400.0
WHOLE = Stretch(0.0, 2e9)
ODD_ZONES = (
    "UTC",
    "Europe/Paris",
    "America/Havana",  # the clock goes back at midnight
    "America/Santiago",  # it jumps over midnight
    "Australia/Lord_Howe",  # by half an hour
    "Asia/Kathmandu",  # 5:45 ahead
    "Pacific/Apia",  # a day was left out
    "Africa/Casablanca",  # the clock changes for Ramadan
    "Antarctica/Troll",  # by two hours
    "Africa/Monrovia",  # 44:30 behind until 1972
)
zones = st.sampled_from(ODD_ZONES)
clock_sizes = st.sampled_from([BucketSize.M5, BucketSize.M15, BucketSize.H1, BucketSize.D1])
starts = st.integers(0, 2_000_000_000 // STAT_BUCKET_S).map(lambda n: float(n * STAT_BUCKET_S))


def at(text: str) -> float:
    """A time as epoch seconds."""
    return datetime.fromisoformat(text).timestamp()


def five_minutes(since: float, until: float) -> list[float]:
    """The starts of the store's buckets in a span."""
    return [since + n * STAT_BUCKET_S for n in range(int((until - since) // STAT_BUCKET_S))]


def stat(start: float = 0.0, n: int = 1, **key: Any) -> StatBucket:
    """Some utterances of half a second, with a posterior."""
    parts = {"line": "sales", "team": None, "emotion": "anger", "outcome": "scored"} | key
    return StatBucket(start, StatKey(**parts), StatSums(n, n * 0.5, n, n * 0.8, n * 0.2, n * -0.4, n * 0.1))


def rows_of(
    found: list[StatBucket],
    *dimensions: Dimension,
    which: StatFilter | None = None,
    min_group: int = 1,
    size: BucketSize = BucketSize.TOTAL,
) -> tuple[list[dict[str, Any]], int]:
    """The rows that these come to."""
    buckets = LocalBuckets(size, ZoneInfo("UTC"), WHOLE)
    series = Series(buckets, dimensions, which or StatFilter(), min_group=min_group)
    series.add(found)
    return series.rows(local_time(ZoneInfo("UTC")))


@settings(max_examples=200)
@given(zones, clock_sizes, starts)
@example("Europe/Paris", BucketSize.H1, at("2026-10-25T01:00:00+00:00"))
@example("America/Santiago", BucketSize.D1, at("2026-09-06T04:00:00+00:00"))
@example("Pacific/Apia", BucketSize.D1, at("2011-12-30T10:00:00+00:00"))
def test_a_moment_has_one_stretch_and_so_has_all_of_it(name: str, size: BucketSize, start: float) -> None:
    """A stretch holds what it was found by; every moment of it finds it again; it ends where the next begins."""
    buckets = LocalBuckets(size, ZoneInfo(name), WHOLE)
    found = buckets.of(start)
    assert found.start <= start < found.end
    step = max(1.0, (found.end - found.start) // 7)
    moments = [found.start + n * step for n in range(7)] + [found.end - 1]
    assert {buckets.of(moment) for moment in moments} == {found}
    assert buckets.of(found.end).start == found.end
    assert buckets.of(found.start - 1).end == found.start


@settings(max_examples=25)
@given(zones, clock_sizes, st.integers(0, 20_000))
@example("Europe/Paris", BucketSize.D1, 20_541)
def test_every_five_minutes_fall_into_exactly_one_bucket(name: str, size: BucketSize, day: int) -> None:
    """Nothing of a day and a half is lost and nothing counted twice."""
    since = day * DAY_S
    found = [stat(start) for start in five_minutes(since, since + 1.5 * DAY_S)]
    series = Series(LocalBuckets(size, ZoneInfo(name), WHOLE), (), StatFilter())
    series.add(found)
    rows, withheld = series.rows(str)
    assert sum(row["utterances"] for row in rows) == len(found)
    assert withheld == 0
    for row, after in pairwise(rows):
        assert row["end"] == after["start"]


@pytest.mark.parametrize(
    ("zone", "day", "hours"),
    [
        ("Europe/Paris", "2026-03-29", 23),
        ("Europe/Paris", "2026-10-25", 25),
        ("Europe/Paris", "2026-06-01", 24),
        ("America/Santiago", "2026-09-06", 23),
        ("America/Santiago", "2026-04-04", 25),
        ("America/Havana", "2026-11-01", 25),
        ("Australia/Lord_Howe", "2026-10-04", 23.5),
        ("Australia/Lord_Howe", "2026-04-05", 24.5),
        ("Antarctica/Troll", "2026-03-29", 22),
    ],
)
def test_days_are_as_long_as_their_clock_says(zone: str, day: str, hours: float) -> None:
    """23 or 25 hours, or stranger, where the clock changes."""
    noon = datetime.fromisoformat(f"{day}T12:00:00").replace(tzinfo=ZoneInfo(zone)).timestamp()
    found = LocalBuckets(BucketSize.D1, ZoneInfo(zone), WHOLE).of(noon)
    assert (found.end - found.start) / HOUR_S == hours
    write = local_time(ZoneInfo(zone))
    assert write(found.start).startswith(day)
    assert write(found.end - 1).startswith(day)


def test_an_hour_that_happens_twice_is_two() -> None:
    """The day the clock goes back has 25 hours, of which two are called 02:00; their zones tell them apart."""
    zone = ZoneInfo("Europe/Paris")
    day = LocalBuckets(BucketSize.D1, zone, WHOLE).of(at("2026-10-25T12:00:00+01:00"))
    hours = LocalBuckets(BucketSize.H1, zone, WHOLE)
    starts = [hours.of(moment).start for moment in five_minutes(day.start, day.end)]
    counted = Counter(local_time(zone)(start) for start in starts)
    assert len(counted) == 25
    assert set(counted.values()) == {12}
    assert {"2026-10-25T02:00:00+02:00", "2026-10-25T02:00:00+01:00"} <= set(counted)


def test_a_total_is_one_bucket_of_the_whole_span() -> None:
    """Whatever the clock."""
    buckets = LocalBuckets(BucketSize.TOTAL, ZoneInfo("Europe/Paris"), WHOLE)
    assert buckets.of(5.0) == buckets.of(9e8) == WHOLE


@given(st.floats(0, 4e9), st.floats(0, 1e6))
def test_a_span_is_widened_to_what_is_kept(since: float, length: float) -> None:
    """To whole stretches of five minutes, by at most one on each side."""
    found = aligned(since, since + length)
    assert found.start % STAT_BUCKET_S == 0
    assert found.end % STAT_BUCKET_S == 0
    assert 0 <= since - found.start <= STAT_BUCKET_S
    assert 0 <= found.end - (since + length) <= STAT_BUCKET_S


def test_a_row_has_sums_means_and_shares() -> None:
    """Shares of emotions are of what was scored, the share of abstentions of everything."""
    found = [
        stat(n=3),
        stat(n=1, emotion="neutral"),
        stat(n=2, emotion=None, outcome="uncertain"),
        StatBucket(0.0, StatKey("sales", None, None, "too_short"), StatSums(2, 0.2)),
    ]
    ((row,), withheld) = rows_of(found)
    assert withheld == 0
    assert (row["utterances"], row["seconds"], row["scored"], row["measured"]) == (8, 3.2, 4, 6)
    assert row["abstained_share"] == 0.5
    assert row["abstained"] == {"too_short": 2, "uncertain": 2}
    assert row["emotions"] == {
        "anger": {"utterances": 3, "seconds": 1.5, "share": 0.75},
        "neutral": {"utterances": 1, "seconds": 0.5, "share": 0.25},
    }
    assert [row[name] for name in ("confidence", "arousal", "valence", "expected_cost")] == [
        0.8, 0.2, -0.4, 0.1
    ]  # fmt: skip


def test_a_row_of_silence_has_no_means() -> None:
    """Null, not zero, where nothing was measured."""
    ((row,), _) = rows_of([StatBucket(0.0, StatKey("a", None, None, "too_short"), StatSums(1, 0.1))])
    assert (row["confidence"], row["emotions"], row["abstained_share"]) == (None, {}, 1.0)


def test_rows_are_told_apart_as_asked() -> None:
    """By time, then by group; a call without a team is a group of its own."""
    found = [stat(team="b"), stat(team="a"), stat(), stat(600.0, team="a"), stat(line="support", team="a")]
    rows, _ = rows_of(found, Dimension.TEAM, size=BucketSize.M5)
    assert [(row["start"][11:16], row["team"], row["utterances"]) for row in rows] == [
        ("00:00", None, 1), ("00:00", "a", 2), ("00:00", "b", 1), ("00:10", "a", 1)
    ]  # fmt: skip
    rows, _ = rows_of(found, Dimension.LINE, Dimension.TEAM)
    assert len(rows) == 4
    assert "emotion" not in rows[0]


@pytest.mark.parametrize(
    ("which", "n"),
    [
        (StatFilter(), 15),
        (StatFilter(line="sales"), 7),
        (StatFilter(team="a"), 2),
        (StatFilter(emotion="calm"), 4),
        (StatFilter(outcome="uncertain"), 8),
        (StatFilter(line="sales", emotion="calm"), 4),
        (StatFilter(line="none"), 0),
    ],
)
def test_utterances_are_filtered(which: StatFilter, n: int) -> None:
    """By each member of a key, and by several."""
    found = [stat(n=1), stat(n=2, team="a"), stat(n=4, emotion="calm")]
    found += [stat(n=8, line="support", emotion=None, outcome="uncertain")]
    rows, _ = rows_of(found, which=which)
    assert sum(row["utterances"] for row in rows) == n


def test_small_groups_are_withheld() -> None:
    """Rows of few utterances are left out and counted; so is every division that would show few."""
    found = [
        stat(n=5, team="a"),
        stat(n=4, team="b"),
        stat(n=6, team="c"),
        stat(n=1, team="c", emotion="joy"),
    ]
    rows, withheld = rows_of(found, Dimension.TEAM, min_group=5)
    assert [row["team"] for row in rows] == ["a", "c"]
    assert withheld == 1
    assert rows[0]["emotions"] is not None
    assert rows[1]["emotions"] is None
    few = [StatBucket(0.0, StatKey("a", None, None, "too_short"), StatSums(9, 1.0)), stat(n=1, line="a")]
    ((row,), _) = rows_of(few, min_group=5)
    assert (row["measured"], row["arousal"]) == (1, None)


def test_an_answer_has_an_end() -> None:
    """Too many rows are refused before they fill the memory."""
    series = Series(LocalBuckets(BucketSize.M5, ZoneInfo("UTC"), WHOLE), (), StatFilter(), max_rows=10)
    with pytest.raises(TooManyRowsError, match="10"):
        series.add([stat(start) for start in five_minutes(0.0, DAY_S)])


def test_no_dimension_names_an_agent() -> None:
    """What may be told apart is this and no more."""
    assert {dimension.value for dimension in Dimension} == {"line", "team", "emotion", "outcome"}
    assert set(StatKey.__dataclass_fields__) == {"line", "team", "emotion", "outcome"}


def test_times_are_written_on_the_zones_clock() -> None:
    """With its offset; UTC as Z."""
    moment = datetime(2026, 7, 1, 12, tzinfo=UTC).timestamp()
    assert local_time(ZoneInfo("UTC"))(moment) == "2026-07-01T12:00:00Z"
    assert local_time(ZoneInfo("Asia/Kathmandu"))(moment) == "2026-07-01T17:45:00+05:45"
