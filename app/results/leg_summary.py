"""What the records of one side of a call come to."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from typing import Any

from app.domain import Leg, UtteranceRecord


def leg_summaries(records: Iterable[UtteranceRecord]) -> dict[str, dict[str, Any]]:
    """By leg: how much was said, what was abstained on, and how it sounded.

    How it sounded is null for an agent's leg that was not scored (policy): the account of its time is no statement
    about a person.
    """
    by_leg: dict[Leg, list[UtteranceRecord]] = defaultdict(list)
    for record in records:
        by_leg[record.leg].append(record)
    return {leg.value: _summary(leg, by_leg[leg]) for leg in sorted(by_leg)}


def _summary(leg: Leg, records: Sequence[UtteranceRecord]) -> dict[str, Any]:
    reasons = Counter(record.reason.value for record in records if record.reason is not None)
    n = len(records)
    shown = leg is not Leg.AGENT or any(record.scores is not None for record in records)
    return {
        "utterances": n,
        "seconds": round(sum(_seconds(record) for record in records), 3),
        "abstained_share": round(sum(reasons.values()) / n, 4),
        "abstained": {
            reason: {"utterances": count, "share": round(count / n, 4)}
            for reason, count in sorted(reasons.items())
        },
        "sound": _sound(records) if shown else None,
    }


def _sound(records: Sequence[UtteranceRecord]) -> dict[str, Any]:
    seconds: dict[str, float] = defaultdict(float)
    peaks: dict[str, tuple[float, UtteranceRecord]] = {}
    for record in records:
        if record.emotion is not None:
            seconds[record.emotion] += _seconds(record)
        for emotion, score in (record.scores or {}).items():
            if emotion not in peaks or score > peaks[emotion][0]:
                peaks[emotion] = (score, record)
    return {
        "arousal": _weighted([(record.arousal, _seconds(record)) for record in records]),
        "valence": _weighted([(record.valence, _seconds(record)) for record in records]),
        "emotion_seconds": {emotion: round(total, 3) for emotion, total in sorted(seconds.items())},
        "peaks": {
            emotion: {"score": score, "at_s": record.start_s, "utterance_id": record.utterance_id}
            for emotion, (score, record) in sorted(peaks.items())
        },
    }


def _weighted(values: Sequence[tuple[float | None, float]]) -> float | None:
    """The mean of what is known, weighted; None where nothing is."""
    known = [(value, weight) for value, weight in values if value is not None]
    total = sum(weight for _, weight in known)
    return round(sum(value * weight for value, weight in known) / total, 4) if total > 0 else None


def _seconds(record: UtteranceRecord) -> float:
    return record.end_s - record.start_s
