"""The shapes of REST answers, for the OpenAPI document and for the tests that hold the answers to it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Generic, TypeVar

from pydantic import BaseModel, ConfigDict

from app.domain import AbstainReason, Leg, UtteranceRecord
from app.records import line_event_body, rfc3339
from app.results.store import CallInfo, CallState

T = TypeVar("T")


class Body(BaseModel):
    """A JSON object; additions within `/v1` are only ever new members."""

    model_config = ConfigDict(extra="forbid")


class Listing(Body, Generic[T]):
    """A page of a list. `next`: pass it as `cursor` for the page after; null on the last."""

    items: list[T]
    next: str | None


class Problem(Body):
    """Problem details, RFC 9457. Program against `code`."""

    type: str
    title: str
    status: int
    detail: str
    code: str
    errors: list[dict[str, str]] | None = None


class ModelBody(Body):
    """Which bundle and head made a score."""

    bundle: str
    version: str
    head: str


class LineRefBody(Body):
    """Which line profile, and how many utterances it held."""

    id: str
    n: int


class AudioQualityBody(Body):
    """How good the sound was."""

    snr_db: float | None
    clipped: float
    packet_loss: float
    level_dbfs: float | None
    concealed: float
    codec: str | None
    jitter_ms: float | None


class UtteranceBody(Body):
    """One record; `docs/protocol.md` gives every field."""

    call_id: str
    seq: int | None
    leg: Leg
    utterance_id: str
    start_s: float
    end_s: float
    scores: dict[str, float] | None
    emotion: str | None
    event: str | None
    event_score: float | None
    abstained: bool
    reason: AbstainReason | None
    detail: str | None
    not_speech_kind: str | None
    not_speech_name: str | None
    confidence: float | None
    arousal: float | None
    valence: float | None
    expected_cost: float | None
    salience: list[float] | None
    model: ModelBody
    line_profile: LineRefBody
    audio_quality: AudioQualityBody
    latency_ms: float | None
    created_at: str | None
    durable: bool


class CallBody(Body):
    """A call as lists show it. Times are RFC 3339; `dropped` records are no longer held."""

    call_id: str
    line: str
    team: str | None
    language: str | None
    legs: list[Leg]
    state: CallState
    outcome: str | None
    started_at: str
    ended_at: str | None
    utterances: int
    dropped: int


class TimelinePoint(Body):
    """One utterance, as little as a chart needs."""

    utterance_id: str
    leg: Leg
    start_s: float
    end_s: float
    emotion: str | None
    event: str | None
    reason: AbstainReason | None
    arousal: float | None
    valence: float | None


class LineEventBody(Body):
    """Something on the line that is not speech. `name`: which tone."""

    call_id: str
    leg: Leg
    kind: str
    name: str | None
    start_s: float
    end_s: float


class CallDetailBody(CallBody):
    """A call with everything but its full records. `summary` is null while it is live."""

    metadata: dict[str, Any]
    summary: dict[str, Any] | None
    timeline: list[TimelinePoint]
    line_events: list[LineEventBody]


class WarningBody(Body):
    """Something was wrong with the audio; `docs/protocol.md` lists the codes."""

    code: str
    detail: str


class ScoreBody(Body):
    """An uploaded recording's records, and the summary of the call it was treated as (null for `whole`)."""

    items: list[UtteranceBody]
    summary: dict[str, Any] | None
    warnings: list[WarningBody]


class ServedModelBody(Body):
    """A bundle in service. `events`: what it may name in a record's `event`."""

    bundle: str
    version: str
    head: str
    categories: list[str]
    events: list[str]
    variant: str
    provider: str


class LineBody(Body):
    """A line profile: how many utterances it holds, whether it is frozen, how far from the population."""

    id: str
    n: int
    frozen: bool
    drift: float


class ReadyBody(Body):
    """`status`: ready, degraded (the store is not up to date; scoring goes on) or draining.

    `store`: ok, away, or replaying what waited. `waiting`: changes in the spool.
    """

    status: str
    bundle: str
    version: str
    variant: str
    provider: str
    store: str
    waiting: int
    waiting_bytes: int
    oldest_waiting_s: float | None
    calls_active: int


def call_body(call: CallInfo) -> dict[str, Any]:
    """A call as a `CallBody`."""
    return {
        "call_id": call.call_id,
        "line": call.line,
        "team": call.team,
        "language": call.language,
        "legs": [leg.value for leg in call.legs],
        "state": call.state.value,
        "outcome": call.outcome,
        "started_at": rfc3339(call.started_at),
        "ended_at": None if call.ended_at is None else rfc3339(call.ended_at),
        "utterances": call.utterances,
        "dropped": call.dropped,
    }


def call_detail_body(call: CallInfo, records: tuple[UtteranceRecord, ...]) -> dict[str, Any]:
    """A call as a `CallDetailBody`."""
    return {
        **call_body(call),
        "metadata": dict(call.metadata),
        "summary": None if call.summary is None else dict(call.summary),
        "timeline": [timeline_point(record) for record in records],
        "line_events": [
            line_event_body(event) for record in records if (event := record.line_event) is not None
        ],
    }


def timeline_point(record: UtteranceRecord) -> Mapping[str, Any]:
    """A record as a `TimelinePoint`."""
    return {
        "utterance_id": record.utterance_id,
        "leg": record.leg.value,
        "start_s": record.start_s,
        "end_s": record.end_s,
        "emotion": record.emotion,
        "event": record.event,
        "reason": None if record.reason is None else record.reason.value,
        "arousal": record.arousal,
        "valence": record.valence,
    }
