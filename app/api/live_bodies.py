"""The shapes of what the live feeds tell, for the published schemas and for the tests that hold the feeds to them.

Server-sent events carry a body as `data`, under the event's type; WebSocket messages are the same with `type`, `seq`
and `position` beside it (`LiveMessage`).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from app.api.protocol import Body, CallBody, LineEventBody, UtteranceBody
from app.domain import Leg
from app.results.live_event import KEPT, PASSING


class LiveBody(BaseModel):
    """A body to which members may be added within `/v1`."""

    model_config = ConfigDict(extra="allow")


class CallStartedBody(CallBody):
    """A call began; `call_continued`: it broke off, and goes on."""


class CallEndedBody(CallBody):
    """A call ended. `summary`: its account, null where its process was killed."""

    summary: dict[str, Any] | None


class CallErasedBody(Body):
    """A call was erased: whoever kept something of it should erase that too."""

    call_id: str


class SpeechStartBody(Body):
    """Someone began to speak."""

    call_id: str
    leg: Leg
    utterance_id: str
    start_s: float


class LiveWarningBody(Body):
    """Something is wrong with a call's audio; `docs/protocol.md` lists the codes."""

    call_id: str
    code: str
    detail: str


class DtmfBody(Body):
    """A telephone key. `digit` is null where what was pressed is not told."""

    call_id: str
    leg: Leg | None
    digit: str | None
    at_s: float


class PauseBody(Body):
    """Audio is dropped unheard from now on, or heard again. `source`: who asked for it."""

    call_id: str
    source: str
    at_s: float


class LiveAlertBody(LiveBody):
    """A rule raised an alert; `GET /v1/alerts` has the whole shape."""

    call_id: str
    rule_id: str


class SpanBody(Body):
    """Numbers, both included: of records in a call's feed, of positions in a tenant's."""

    first: int = Field(alias="from")
    last: int = Field(alias="to")


class GapEventBody(SpanBody):
    """What lies here is not held any more."""


class LaggedBody(Body):
    """The viewer was too slow: so many events were lost. `missed`: the numbers among them, null where none had one."""

    dropped: int
    missed: SpanBody | None


class CallResumedBody(Body):
    """The first event of a call's feed that is read from a number on.

    `next_seq`: of what is made from now on. `complete`: everything from `from_seq` up to it is held and follows;
    otherwise `gap` says, in its place, what is not.
    """

    call_id: str
    from_seq: int
    next_seq: int
    complete: bool


class FeedResumedBody(Body):
    """The first event of a tenant's feed that is read from a position on; as of a call.

    `reset`: the position was never reached. The feed began anew; what is known of the calls should be read again.
    """

    from_position: int
    next_position: int
    complete: bool
    reset: bool


class ResetBody(Body):
    """The feed began anew at this position: what is known of the calls should be read again."""

    next_position: int


class KeepaliveMessage(Body):
    """A WebSocket message: nothing happened. One of the two: the number up to which everything was told."""

    type: str
    seq: int | None = None
    position: int | None = None


class LiveMessage(LiveBody):
    """A WebSocket message: these, and the members of the body of its type."""

    type: str
    seq: int | None
    position: int | None


BODIES: Mapping[str, tuple[type[BaseModel], ...]] = {
    "call_started": (CallStartedBody,),
    "call_continued": (CallStartedBody,),
    "utterance": (UtteranceBody,),
    "interim": (UtteranceBody,),
    "speech_start": (SpeechStartBody,),
    "line_event": (LineEventBody,),
    "warning": (LiveWarningBody,),
    "dtmf": (DtmfBody,),
    "call_paused": (PauseBody,),
    "call_resumed": (PauseBody,),
    "call_ended": (CallEndedBody,),
    "call_erased": (CallErasedBody,),
    "alert": (LiveAlertBody,),
    "resumed": (CallResumedBody, FeedResumedBody),
    "gap": (GapEventBody,),
    "lagged": (LaggedBody,),
    "reset": (ResetBody,),
}
"""By type of event; two where the feeds differ."""

CONTROL = frozenset(BODIES) - KEPT - PASSING
"""What a feed says of itself, whatever the filter."""
