"""The shape of statistics."""

from __future__ import annotations

from app.api.protocol import Body
from app.domain import AbstainReason
from app.results.series import BucketSize, Dimension


class EmotionStatBody(Body):
    """Utterances with one emotion. `share`: of the row's scored utterances."""

    utterances: int
    seconds: float
    share: float | None


class StatRowBody(Body):
    """One group in one bucket, [start, end). Only what `group_by` names is there of line, team, emotion and outcome.

    `scored`: utterances with an emotion; `abstained_share`: of all; `abstained`: by reason; `measured`: utterances
    with a posterior, over which confidence, arousal, valence and expected cost are means. What would describe fewer
    than `min_group` utterances is null.
    """

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
    abstained: dict[AbstainReason, int] | None
    emotions: dict[str, EmotionStatBody] | None
    measured: int
    confidence: float | None
    arousal: float | None
    valence: float | None
    expected_cost: float | None


class StatsBody(Body):
    """Statistics of customers' utterances, by when they were scored.

    `since`, `until`: what was covered, whole stretches of five minutes. `items`: rows with anything in them, by time.
    `withheld`: rows of fewer than `min_group` utterances.
    """

    since: str
    until: str
    bucket: BucketSize
    tz: str
    group_by: list[Dimension]
    min_group: int
    withheld: int
    items: list[StatRowBody]
