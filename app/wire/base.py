"""What every wire protocol shares: the events it yields, the one error it raises, the close codes."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum, IntEnum, auto
from typing import TypeAlias

from app.domain import AudioPacket, CallStart, Encoding


class CloseCode(IntEnum):
    """WebSocket close codes this service uses (RFC 6455 §7.4.1; 1012–1014 are in IANA's registry)."""

    DONE = 1000
    DRAINING = 1001
    UNSUPPORTED = 1003
    INVALID = 1007
    POLICY = 1008
    TOO_BIG = 1009
    SERVER = 1011
    OVERLOADED = 1013


class WireError(Exception):
    """A client broke the protocol: its stream ends, no other call is touched.

    code: stable identifier, the one to program against. title: the same for every occurrence of a code.
    detail: what was expected and what came, without repeating free text or identifiers of the client.
    retry_after_s: after how many seconds the same may be taken, None where it is not known.
    """

    def __init__(
        self,
        code: str,
        title: str,
        detail: str,
        close_code: CloseCode,
        retry_after_s: float | None = None,
    ) -> None:
        super().__init__(f"{code}: {detail}")
        self.code = code
        self.title = title
        self.detail = detail
        self.close_code = close_code
        self.retry_after_s = retry_after_s

    @property
    def reason(self) -> str:
        """What the close frame says: the code, and when trying again may help."""
        if self.retry_after_s is None:
            return self.code
        return f"{self.code}; retry-after={max(1, math.ceil(self.retry_after_s))}"


@dataclass(frozen=True, slots=True)
class Start:
    """The call begins; only once. Nothing of a call comes before it, but replies and notices may."""

    call: CallStart


@dataclass(frozen=True, slots=True)
class Audio:
    """Audio arrived."""

    packet: AudioPacket


class GapKind(Enum):
    """Why time was promised for which no audio comes."""

    LOST = auto()
    PAUSED = auto()


@dataclass(frozen=True, slots=True)
class Gap:
    """Time of a track for which no audio will come: its clock moves on, the utterance in flight ends.

    samples: how long, at the track's rate, counted from the end of the audio before it. until_samples: instead,
    the position on the sender's clock where it ends; nothing where the clock is there already.
    """

    kind: GapKind
    samples: int = 0
    until_samples: int | None = None
    track: int = 0


@dataclass(frozen=True, slots=True)
class Reformat:
    """The audio that follows is written otherwise; channels and tracks stay as they are."""

    encoding: Encoding
    sample_rate_hz: int


@dataclass(frozen=True, slots=True)
class Dtmf:
    """A key was pressed. digit: `0`-`9`, `*`, `#`, `A`-`D`. track: whose, None where the wire does not say."""

    digit: str
    track: int | None = None


@dataclass(frozen=True, slots=True)
class Metadata:
    """More about the call, learned after its start: members are added to its metadata."""

    values: Mapping[str, object]


@dataclass(frozen=True, slots=True)
class Notice:
    """Something was odd, and the call goes on: `code` is stable, `detail` holds nothing of the client's text."""

    code: str
    detail: str


@dataclass(frozen=True, slots=True)
class Reply:
    """A message to the peer, text or binary, to be sent in this order."""

    payload: str | bytes


@dataclass(frozen=True, slots=True)
class Mark:
    """Echo `name` once every utterance that ended before this point has been answered."""

    name: str


@dataclass(frozen=True, slots=True)
class Flush:
    """End the utterance in flight here, as if the speaker had fallen silent."""


@dataclass(frozen=True, slots=True)
class Pause:
    """Stop listening: audio is dropped at the door until each source that paused has resumed."""

    source: str = "client"


@dataclass(frozen=True, slots=True)
class Resume:
    """Listen again, as far as this source is concerned."""

    source: str = "client"


@dataclass(frozen=True, slots=True)
class Stop:
    """The call is over, or the connection where no call was started; always the last event but for replies."""


WireEvent: TypeAlias = (
    Start | Audio | Gap | Reformat | Dtmf | Metadata | Notice | Reply | Mark | Flush | Pause | Resume | Stop
)


class Notices:
    """The notices of one call, each said once. most: so many at all, None for any number."""

    def __init__(self, most: int | None = None) -> None:
        self._most = most
        self._said: set[str] = set()

    def once(self, code: str, detail: str, kind: str | None = None) -> list[WireEvent]:
        """The notice, or nothing where it was said already. kind: what is said once, the code unless given."""
        key = kind or code
        if key in self._said or len(self._said) == self._most:
            return []
        self._said.add(key)
        return [Notice(code, detail)]
