"""What the service answers, as typed values.

Members are as `docs/rest.md` and `docs/protocol.md` name them. Those that a newer service adds are kept and ignored.
Closed sets (legs, reasons, states) are plain text, so that a new value of a newer service is not an error.
"""

from __future__ import annotations

from typing import Any, Generic, TypeVar

from pydantic import BaseModel, ConfigDict

T = TypeVar("T")


class Shape(BaseModel):
    """A JSON object of the service."""

    model_config = ConfigDict(frozen=True, extra="allow")


class Page(Shape, Generic[T]):
    """A page of a list. next: for the page after; None on the last."""

    items: list[T]
    next: str | None


class Model(Shape):
    """Which bundle and head made a score."""

    bundle: str
    version: str
    head: str


class LineRef(Shape):
    """Which line profile, and how many utterances it held."""

    id: str
    n: int


class AudioQuality(Shape):
    """How good the sound was."""

    snr_db: float | None
    clipped: float
    packet_loss: float
    level_dbfs: float | None
    concealed: float
    codec: str | None
    jitter_ms: float | None


class Utterance(Shape):
    """One record."""

    call_id: str
    seq: int | None
    leg: str
    utterance_id: str
    start_s: float
    end_s: float
    scores: dict[str, float] | None
    emotion: str | None
    event: str | None
    event_score: float | None
    abstained: bool
    reason: str | None
    detail: str | None
    not_speech_kind: str | None
    not_speech_name: str | None
    confidence: float | None
    arousal: float | None
    valence: float | None
    expected_cost: float | None
    salience: list[float] | None
    model: Model
    line_profile: LineRef
    audio_quality: AudioQuality
    latency_ms: float | None
    created_at: str | None
    durable: bool


class UtteranceDetail(Utterance):
    """One record, and where its call came from."""

    line: str
    team: str | None


class Gap(Shape):
    """Records that are not held any more: both numbers included."""

    from_seq: int
    to_seq: int


class Records(Page[Utterance]):
    """A page of a call's records."""

    first_seq: int
    last_seq: int
    gaps: list[Gap]


class Call(Shape):
    """A call as lists show it."""

    call_id: str
    line: str
    team: str | None
    language: str | None
    legs: list[str]
    state: str
    outcome: str | None
    started_at: str
    ended_at: str | None
    utterances: int
    dropped: int


class TimelinePoint(Shape):
    """One utterance, as little as a chart needs."""

    utterance_id: str
    leg: str
    start_s: float
    end_s: float
    emotion: str | None
    event: str | None
    reason: str | None
    arousal: float | None
    valence: float | None


class LineEvent(Shape):
    """Something on the line that is not speech."""

    call_id: str
    leg: str
    kind: str
    name: str | None
    start_s: float
    end_s: float


class Share(Shape):
    """Utterances, and their share of all."""

    utterances: int
    share: float


class Peak(Shape):
    """Where an emotion's posterior was largest."""

    score: float
    at_s: float
    utterance_id: str


class Sound(Shape):
    """How a leg sounded."""

    arousal: float | None
    valence: float | None
    emotion_seconds: dict[str, float]
    peaks: dict[str, Peak]


class LegSummary(Shape):
    """What the records of a leg come to. sound: None for an agent who was not scored."""

    utterances: int
    seconds: float
    abstained_share: float
    abstained: dict[str, Share]
    sound: Sound | None


class CallReport(Call):
    """A call with everything but its full records."""

    metadata: dict[str, Any]
    summary: dict[str, Any] | None
    timeline: list[TimelinePoint]
    line_events: list[LineEvent]
    by_leg: dict[str, LegSummary]


class Feedback(Shape):
    """A label, with a copy of the record it is about."""

    utterance_id: str
    call_id: str
    label: str
    confidence: float | None
    note: str | None
    labeller: str
    labelled_at: str
    version: int
    line: str
    team: str | None
    language: str | None
    record: Utterance


class EmotionStat(Shape):
    """Utterances with one emotion."""

    utterances: int
    seconds: float
    share: float | None


class StatRow(Shape):
    """One group in one bucket; only what `group_by` names is there of line, team, emotion and outcome."""

    start: str
    end: str
    line: str | None = None
    team: str | None = None
    emotion: str | None = None
    outcome: str | None = None
    utterances: int
    seconds: float
    scored: int
    abstained_share: float | None
    abstained: dict[str, int] | None
    emotions: dict[str, EmotionStat] | None
    measured: int
    confidence: float | None
    arousal: float | None
    valence: float | None
    expected_cost: float | None


class Stats(Shape):
    """Statistics of customers' utterances."""

    since: str
    until: str
    bucket: str
    tz: str
    group_by: list[str]
    min_group: int
    withheld: int
    items: list[StatRow]


class Line(Shape):
    """A line profile, in short."""

    id: str
    n: int
    frozen: bool
    drift: float


class ServedModel(Shape):
    """A bundle in service."""

    bundle: str
    version: str
    head: str
    categories: list[str]
    events: list[str]
    variant: str
    provider: str


class Ready(Shape):
    """How the service stands; status: ready, degraded or draining."""

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


class Erasure(Shape):
    """An erasure. receipt: signed, once it is done (`python -m app receipt verify`)."""

    id: str
    status: str
    waits_for: str | None
    of: str
    object: str
    requested_at: str
    requested_by: dict[str, str]
    calls_erased: int
    calls_waiting: int
    receipt: dict[str, Any] | None


class ReceiptKey(Shape):
    """What checks receipts."""

    algorithm: str
    key: str
    public_key: str
