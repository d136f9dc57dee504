"""The shapes of webhook endpoints and dead letters in REST."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from app.api.protocol import Body
from app.api.queries import NAME
from app.delivery.hooks import Filter, WebhookEndpoint
from app.delivery.letters import DeadLetter, LetterState
from app.delivery.sender import Attempt, Outcome
from app.delivery.targets import MAX_URL_CHARS
from app.domain import Leg
from app.policy import MAX_COST
from app.records import rfc3339

CATEGORY = r"^[A-Za-z0-9_. -]{1,64}$"
PRINTABLE = r"^[^\x00-\x1f\x7f]*$"
MAX_OVERLAP_S = 7 * 86_400
_MAX_LISTED = 100
_DESCRIPTION_CHARS = 200

Name = Annotated[str, Field(pattern=NAME)]
Category = Annotated[str, Field(pattern=CATEGORY)]
Side = Annotated[Leg, Field(strict=False)]
"""Answers are checked, too, and they hold text."""
EventType = Literal["call_started", "call_continued", "utterance", "call_ended", "call_erased", "alert"]
Url = Annotated[
    str,
    Field(
        min_length=1,
        max_length=MAX_URL_CHARS,
        examples=["https://crm.example.com/hooks/kowairo"],
        description="https, to a public address, without credentials; redirects are not followed.",
    ),
]
Description = Annotated[str, Field(max_length=_DESCRIPTION_CHARS, pattern=PRINTABLE, examples=["CRM"])]


class FilterBody(BaseModel):
    """What an endpoint is told. Null, or left out, does not filter.

    `types`, `lines` and `teams` choose among all events. `legs` chooses among utterances and alerts. `emotions`,
    `min_confidence` and `min_expected_cost` choose among utterances; one without the figure (an abstention) is not
    told.
    """

    model_config = ConfigDict(extra="forbid", strict=True)

    types: Annotated[list[EventType] | None, Field(min_length=1, max_length=6)] = None
    lines: Annotated[list[Name] | None, Field(min_length=1, max_length=_MAX_LISTED)] = None
    teams: Annotated[list[Name] | None, Field(min_length=1, max_length=_MAX_LISTED)] = None
    legs: Annotated[list[Side] | None, Field(min_length=1, max_length=3)] = None
    emotions: Annotated[list[Category] | None, Field(min_length=1, max_length=_MAX_LISTED)] = None
    min_confidence: Annotated[float | None, Field(ge=0, le=1, allow_inf_nan=False)] = None
    min_expected_cost: Annotated[float | None, Field(ge=0, le=MAX_COST, allow_inf_nan=False)] = None

    def filter(self) -> Filter:
        """As the service has it."""
        return Filter.from_body(self.model_dump(mode="json"))


class NewEndpoint(BaseModel):
    """An endpoint to be made."""

    model_config = ConfigDict(extra="forbid", strict=True)

    url: Url
    enabled: bool = True
    description: Description = ""
    filter: FilterBody = FilterBody()


class EndpointChange(BaseModel):
    """What is to change of an endpoint; what is left out stays. A filter is replaced whole."""

    model_config = ConfigDict(extra="forbid", strict=True)

    url: Url | None = None
    enabled: bool | None = None
    description: Description | None = None
    filter: FilterBody | None = None


class SecretRotation(BaseModel):
    """How a secret is replaced. `overlap_s`: how long the old one signs beside the new one; null: as the site says."""

    model_config = ConfigDict(extra="forbid", strict=True)

    overlap_s: Annotated[int | None, Field(ge=0, le=MAX_OVERLAP_S)] = None


class EndpointBody(Body):
    """An endpoint.

    `disabled_reason`: `gone` where it answered 410. `old_secrets_until`: until when replaced secrets sign, too.
    """

    id: str
    url: str
    enabled: bool
    disabled_reason: str | None
    description: str
    filter: FilterBody
    created_at: str
    old_secrets_until: list[str]


class MadeEndpointBody(EndpointBody):
    """An endpoint with its new secret, shown here and never again."""

    secret: str


class PingBody(Body):
    """What became of a `ping`. `seconds`: it took. `detail`: why it was not delivered."""

    delivered: bool
    outcome: Outcome
    status: int | None
    detail: str | None
    seconds: float


class LetterBody(Body):
    """A delivery that was given up.

    `state`: `queued` while it is being sent again. `type`, `timestamp`: of the event. `reason`: how the last attempt
    ended, or `disabled`. `redrives`: how often it was put back in the queue.
    """

    id: str
    state: Literal["dead", "queued"]
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


class LetterDetailBody(LetterBody):
    """The same with what was to be delivered."""

    payload: dict[str, Any]


class RedriveRequest(BaseModel):
    """Whose letters are to be sent again."""

    model_config = ConfigDict(extra="forbid", strict=True)

    endpoint_id: Annotated[str, Field(pattern=r"^we_[0-9a-f]{24}$")]


class RedriveBody(Body):
    """`redriven`: letters put back in the queue. `more`: there are others; ask again."""

    redriven: int
    more: bool


def endpoint_body(endpoint: WebhookEndpoint, now: float) -> dict[str, Any]:
    """An endpoint as an `EndpointBody`."""
    return {
        "id": endpoint.id,
        "url": endpoint.url,
        "enabled": endpoint.enabled,
        "disabled_reason": endpoint.disabled_reason,
        "description": endpoint.description,
        "filter": endpoint.filter.body(),
        "created_at": rfc3339(endpoint.created_at),
        "old_secrets_until": [rfc3339(old.until) for old in endpoint.old_secrets if old.until > now],
    }


def made_endpoint_body(endpoint: WebhookEndpoint, now: float) -> dict[str, Any]:
    """An endpoint as a `MadeEndpointBody`."""
    return {**endpoint_body(endpoint, now), "secret": endpoint.secret}


def ping_body(attempt: Attempt) -> dict[str, Any]:
    """An attempt as a `PingBody`."""
    return {
        "delivered": attempt.outcome is Outcome.DELIVERED,
        "outcome": attempt.outcome.value,
        "status": attempt.status,
        "detail": attempt.detail,
        "seconds": round(attempt.seconds, 3),
    }


def letter_body(letter: DeadLetter) -> dict[str, Any]:
    """A letter as a `LetterBody`."""
    message = letter.delivery.message
    return {
        "id": letter.id,
        "state": "queued" if letter.state is LetterState.QUEUED else "dead",
        "endpoint_id": letter.delivery.endpoint,
        "webhook_id": message.id,
        "type": message.type,
        "timestamp": message.timestamp,
        "call_id": letter.call_id,
        "tries": letter.delivery.tries,
        "reason": letter.failure.reason,
        "status": letter.failure.status,
        "detail": letter.failure.detail,
        "failed_at": rfc3339(letter.failed_at),
        "redrives": letter.redrives,
    }


def letter_detail_body(letter: DeadLetter) -> dict[str, Any]:
    """A letter as a `LetterDetailBody`."""
    message = letter.delivery.message
    payload = {"type": message.type, "timestamp": message.timestamp, "data": message.data}
    return {**letter_body(letter), "payload": payload}
