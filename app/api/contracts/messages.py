"""Every message that is not plain HTTP, as a model: what the documents are made of and the tests hold messages to."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, create_model

from app.api.live_bodies import (
    BODIES,
    DtmfBody,
    FeedResumedBody,
    KeepaliveMessage,
    LiveWarningBody,
    PauseBody,
    SpeechStartBody,
)
from app.api.protocol import Body, LineEventBody, ModelBody, UtteranceBody
from app.delivery.alerts import RuleKind
from app.delivery.hooks import EVENT_TYPES
from app.domain import Encoding, Leg
from app.wire.base import CloseCode

_NAME = r"^[A-Za-z0-9._~-]{1,64}$"
Speaker = Literal["customer", "agent"]
Side = Literal["customer", "agent", "mixed"]


class Asked(BaseModel):
    """A message of a client; members that the service does not know are ignored."""

    model_config = ConfigDict(extra="allow")


class Start(Asked):
    """The first message, once."""

    type: Literal["start"]
    encoding: Encoding
    sample_rate: Literal[8000, 16000, 24000, 48000]
    channels: (
        Annotated[list[Speaker], Field(min_length=1, max_length=2, json_schema_extra={"uniqueItems": True})]
        | Annotated[list[Literal["mixed"]], Field(min_length=1, max_length=1)]
    )
    call_id: str | None = Field(default=None, pattern=r"^[A-Za-z0-9._~-]{1,128}$")
    line: str | None = Field(default=None, pattern=_NAME)
    language: str | None = Field(default=None, pattern=r"^[A-Za-z0-9-]{1,35}$")
    interim: bool | None = None
    salience: bool | None = None
    consent: bool | None = None
    notice_given: bool | None = None
    metadata: dict[str, Any] | None = Field(default=None, description="At most 4096 bytes and 8 levels.")
    team: str | None = Field(default=None, pattern=_NAME)
    subject: str | None = Field(default=None, pattern=r"^[A-Za-z0-9._~:+@-]{1,128}$")
    resume: str | None = Field(default=None, description="The secret of `ready`, to go on with a call.")


class Mark(Asked):
    """Comes back after everything that the audio before it brought about."""

    type: Literal["mark"]
    name: str = Field(min_length=1, max_length=128)


class Flush(Asked):
    """The utterance in flight of each leg ends here."""

    type: Literal["flush"]


class Pause(Asked):
    """Audio is dropped unheard until `resume`."""

    type: Literal["pause"]


class Resume(Asked):
    """Listen again."""

    type: Literal["resume"]


class Stop(Asked):
    """The call is over."""

    type: Literal["stop"]


class LegState(Body):
    """Whether a leg is scored, and why not."""

    scored: bool
    reason: Literal["policy"] | None
    detail: str | None


class Ready(Body):
    """The call is accepted."""

    type: Literal["ready"]
    call_id: str
    model: ModelBody
    resume: str | None
    legs: dict[Side, LegState]


class SpeechStart(SpeechStartBody):
    """Someone began to speak."""

    type: Literal["speech_start"]


class UtteranceMessage(UtteranceBody):
    """An utterance has ended, and this is its record."""

    type: Literal["utterance"]


class Interim(UtteranceBody):
    """An utterance as far as it has been heard."""

    type: Literal["interim"]


class LineEventMessage(LineEventBody):
    """Something is on the line that is not speech."""

    type: Literal["line_event"]


class Warned(LiveWarningBody):
    """Something was wrong, the call goes on."""

    type: Literal["warning"]


class Dtmf(DtmfBody):
    """A key was pressed."""

    type: Literal["dtmf"]


class Paused(PauseBody):
    """Audio is dropped at the door from now on."""

    type: Literal["paused"]


class Resumed(PauseBody):
    """Audio is heard again."""

    type: Literal["resumed"]


class MarkReached(Body):
    """Everything before the client's mark has been answered."""

    type: Literal["mark"]
    call_id: str
    name: str


class Account(Body):
    """What became of a leg's seconds; `rejected`: by reason."""

    scored_s: float
    silence_s: float
    rejected_s: float
    lost_s: float
    rejected: dict[str, float]


class LegAccount(Body):
    """A leg at the end of a call."""

    utterances: int
    audio: Account


class Summary(Body):
    """The last message of a call."""

    type: Literal["summary"]
    call_id: str
    duration_s: float
    legs: dict[Side, LegAccount]


class ErrorMessage(Body):
    """The call cannot go on; the socket closes with `close_code` right after it."""

    type: Literal["error"]
    call_id: str | None
    code: str
    title: str
    detail: str
    close_code: CloseCode


class RaisedAlertBody(Body):
    """A rule raised an alert (`docs/webhooks.md`)."""

    id: str
    rule_id: str
    rule_name: str
    kind: RuleKind
    emotion: str | None
    bound: float
    for_s: float
    call_id: str
    leg: Leg
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


class PingData(Body):
    """An administrator tries an endpoint."""

    endpoint_id: str


ASKED: Mapping[str, type[BaseModel]] = {
    "start": Start,
    "mark": Mark,
    "flush": Flush,
    "pause": Pause,
    "resume": Resume,
    "stop": Stop,
}
"""Of the native protocol's client."""

SAID: Mapping[str, type[BaseModel]] = {
    "ready": Ready,
    "speech_start": SpeechStart,
    "utterance": UtteranceMessage,
    "interim": Interim,
    "line_event": LineEventMessage,
    "warning": Warned,
    "dtmf": Dtmf,
    "paused": Paused,
    "resumed": Resumed,
    "mark": MarkReached,
    "summary": Summary,
    "error": ErrorMessage,
}
"""Of the native protocol's service."""


def event_bodies(of_call: bool) -> dict[str, type[BaseModel]]:
    """What a live event of each type says: of one call's feed, or of a tenant's."""
    bodies = {kind: bodies[0 if of_call else -1] for kind, bodies in BODIES.items()}
    bodies["alert"] = RaisedAlertBody
    if of_call:
        del bodies["reset"]
    return bodies


def on_socket(kind: str, body: type[BaseModel]) -> type[BaseModel]:
    """An event as a message of a WebSocket: its body, its type and its numbers."""
    seq: Any = (int, ...) if kind in ("utterance", "alert") else (int | None, ...)
    fields: dict[str, Any] = {"type": (Literal[kind], ...), "seq": seq, "position": (int | None, ...)}
    name = "LiveFeedResumed" if body is FeedResumedBody else f"Live{camel(kind)}"
    made: type[BaseModel] = create_model(name, __base__=body, __doc__=body.__doc__, **fields)
    return made


def delivered(kind: str, body: type[BaseModel]) -> type[BaseModel]:
    """An event as a webhook is told it."""
    fields: dict[str, Any] = {
        "type": (Literal[kind], ...),
        "timestamp": (Annotated[str, Field(description="When it happened, RFC 3339.")], ...),
        "data": (body, ...),
    }
    made: type[BaseModel] = create_model(
        f"Webhook{camel(kind)}", __base__=Body, __doc__=body.__doc__, **fields
    )
    return made


def camel(kind: str) -> str:
    """`call_started` as `CallStarted`."""
    return "".join(part.capitalize() for part in kind.split("_"))


TENANT_EVENTS = event_bodies(of_call=False)
CALL_EVENTS = event_bodies(of_call=True)
_SAME = {kind: on_socket(kind, body) for kind, body in CALL_EVENTS.items()}
CALL_MESSAGES: Mapping[str, type[BaseModel]] = {**_SAME, "keepalive": KeepaliveMessage}
"""Of `/v1/calls/{call_id}/events` as a WebSocket."""
TENANT_MESSAGES: Mapping[str, type[BaseModel]] = {
    **CALL_MESSAGES,
    **{kind: on_socket(kind, TENANT_EVENTS[kind]) for kind in ("resumed", "reset")},
}
"""Of `/v1/events` as a WebSocket."""

WEBHOOKS: Mapping[str, type[BaseModel]] = {
    kind: delivered(kind, PingData if kind == "ping" else TENANT_EVENTS[kind])
    for kind in (*EVENT_TYPES, "ping")
}
"""What webhooks deliver."""
