"""A record goes into JSON and comes back as it was."""

from __future__ import annotations

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.domain import AbstainReason, AudioQuality, Leg, LineRef, ModelRef, UtteranceRecord
from app.records import epoch_s, record_body, record_from_body, rfc3339

SHARES = st.floats(0, 1, allow_nan=False)
TEXTS = st.text(max_size=20)


def optional(values: st.SearchStrategy[object]) -> st.SearchStrategy[object]:
    """Those, or nothing."""
    return st.none() | values


RECORDS = st.builds(
    UtteranceRecord,
    call_id=TEXTS,
    leg=st.sampled_from(Leg),
    utterance_id=TEXTS,
    start_s=st.floats(0, 1e5),
    end_s=st.floats(0, 1e5),
    scores=optional(st.dictionaries(TEXTS, SHARES, max_size=4)),
    emotion=optional(TEXTS),
    abstained=st.booleans(),
    reason=optional(st.sampled_from(AbstainReason)),
    detail=optional(TEXTS),
    confidence=optional(SHARES),
    arousal=optional(SHARES),
    valence=optional(SHARES),
    expected_cost=optional(SHARES),
    salience=optional(st.lists(SHARES, max_size=4).map(tuple)),
    model=st.builds(ModelRef, TEXTS, TEXTS, TEXTS),
    line_profile=st.builds(LineRef, TEXTS, st.integers(0, 2**40)),
    audio_quality=st.builds(
        AudioQuality,
        optional(SHARES),
        SHARES,
        SHARES,
        optional(SHARES),
        SHARES,
        optional(TEXTS),
        optional(SHARES),
    ),
    latency_ms=optional(SHARES),
    event=optional(TEXTS),
    event_score=optional(SHARES),
    not_speech_kind=optional(TEXTS),
    not_speech_name=optional(TEXTS),
    seq=optional(st.integers(1, 2**40)),
    created_at=optional(st.integers(0, 4_000_000_000_000).map(lambda ms: ms / 1000)),
    durable=st.booleans(),
)


@given(record=RECORDS)
def test_there_and_back(record: UtteranceRecord) -> None:
    """Through JSON text, to the last field."""
    assert record_from_body(orjson.loads(orjson.dumps(record_body(record)))) == record


@given(ms=st.integers(0, 4_000_000_000_000))
def test_times_are_exact_to_the_millisecond(ms: int) -> None:
    """What is written is what is read."""
    assert round(epoch_s(rfc3339(ms / 1000)) * 1000) == ms


def test_a_time_without_a_zone_is_refused() -> None:
    """Nobody guesses where it was that late."""
    with pytest.raises(ValueError, match="zone"):
        epoch_s("2026-11-28T10:00:00")
