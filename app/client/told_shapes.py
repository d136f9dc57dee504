"""What the service answers about webhooks and alerts, as typed values; see `app.client.shapes`."""

from __future__ import annotations

from typing import Any

from app.client.shapes import Shape


class Endpoint(Shape):
    """A webhook endpoint."""

    id: str
    url: str
    enabled: bool
    disabled_reason: str | None
    description: str
    filter: dict[str, Any]
    created_at: str
    old_secrets_until: list[str]


class MadeEndpoint(Endpoint):
    """An endpoint with its new secret, shown once."""

    secret: str


class Ping(Shape):
    """What became of a `ping`."""

    delivered: bool
    outcome: str
    status: int | None
    detail: str | None
    seconds: float


class DeadLetter(Shape):
    """A delivery that was given up."""

    id: str
    state: str
    endpoint_id: str
    webhook_id: str
    type: str
    timestamp: str
    call_id: str | None
    tries: int
    reason: str
    status: int | None
    detail: str | None
    failed_at: str
    redrives: int


class Redriven(Shape):
    """Letters put back in the queue; more: there are others."""

    redriven: int
    more: bool


class AlertRule(Shape):
    """A rule on records; of the bounds, those of other kinds are None."""

    id: str
    kind: str
    emotion: str | None = None
    min_score: float | None = None
    above: float | None = None
    below: float | None = None
    for_s: float
    leg: str | None
    line: str | None
    team: str | None
    cooldown_s: float
    max_gap_s: float
    enabled: bool
    name: str


class Alert(Shape):
    """What a rule raised. position: in the tenant's feed."""

    position: int | None = None
    id: str
    rule_id: str
    rule_name: str
    kind: str
    emotion: str | None
    bound: float
    for_s: float
    call_id: str
    leg: str
    line: str
    team: str | None
    seq: int
    utterance_id: str
    at: str | None
    value: float
    started_s: float
    ended_s: float
    speech_s: float
    utterances: int
    abstained: int
