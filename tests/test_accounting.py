"""The account of a call: exact at every rate, however samples were added and taken."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from app.accounting import AudioAccount, CallSummary, Counts, Kind, LegSummary, Timeline, seconds
from app.domain import Leg

RUNS = st.lists(st.tuples(st.sampled_from(list(Kind)), st.integers(0, 5_000)), max_size=12)


@given(runs=RUNS, takes=st.lists(st.integers(0, 700), max_size=60))
def test_at_8_khz_every_sample_keeps_its_kind(runs: list[tuple[Kind, int]], takes: list[int]) -> None:
    """What is taken piece by piece is what was added, in order."""
    timeline, expected = Timeline(8_000), list[Kind]()
    for kind, samples in runs:
        assert timeline.add(kind, samples) == samples
        expected += [kind] * samples
    at = 0
    for take in takes:
        counts = timeline.take(take)
        piece = expected[at : at + take]
        at += take
        assert (counts.heard, counts.concealed, counts.paused) == tuple(
            piece.count(kind) for kind in (Kind.HEARD, Kind.CONCEALED, Kind.PAUSED)
        )
        assert counts.lost == piece.count(Kind.LOST) + piece.count(Kind.CONCEALED)


@given(runs=RUNS, rate_hz=st.sampled_from([16_000, 24_000, 48_000, 44_100]))
def test_at_other_rates_lengths_round_as_the_resampler_does(
    runs: list[tuple[Kind, int]], rate_hz: int
) -> None:
    """All runs of a stretch together are round(n · 8000 / rate), halves up, and restarts add stretches up."""
    timeline, total = Timeline(rate_hz), 0
    for _ in range(2):
        n = sum(samples for _, samples in runs)
        added = sum(timeline.add(kind, samples) for kind, samples in runs)
        assert added == (2 * n * 8_000 + rate_hz) // (2 * rate_hz)
        total += added
        timeline.restart()
    counts = timeline.take(total)
    assert counts.heard + counts.lost + counts.paused == total


def test_counts_add_up() -> None:
    """Counts of two stretches are the counts of both."""
    counts = Counts(1, 4, 3, 2)
    counts += Counts(10, 40, 30, 20)
    assert counts == Counts(11, 44, 33, 22)


def test_the_body_of_a_summary() -> None:
    """The published account: seconds with six exact decimals, reasons in alphabetical order."""
    audio = AudioAccount(8_001, 3, {"policy": 5, "blip": 8}, 1)
    summary = CallSummary("c", {Leg.CUSTOMER: LegSummary(2, audio)})
    assert audio.total_samples == 8_018
    assert list(audio.outcomes()) == [
        ("scored", "", 8_001),
        ("silence", "", 3),
        ("lost", "", 1),
        ("rejected", "policy", 5),
        ("rejected", "blip", 8),
    ]
    assert summary.body() == {
        "call_id": "c",
        "duration_s": 1.00225,
        "legs": {
            "customer": {
                "utterances": 2,
                "audio": {
                    "scored_s": 1.000125,
                    "silence_s": 0.000375,
                    "rejected_s": 0.001625,
                    "lost_s": 0.000125,
                    "rejected": {"blip": 0.001, "policy": 0.000625},
                },
            }
        },
    }


@given(st.integers(0, 10**9))
def test_seconds_are_exact(samples: int) -> None:
    """Six decimals say any number of samples exactly."""
    assert round(seconds(samples) * 1_000_000) == samples * 125
