"""What every wire protocol shares: the events it yields, the one error it raises, the close codes."""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum
from typing import TypeAlias

from app.domain import AudioPacket, CallStart


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
    """

    def __init__(self, code: str, title: str, detail: str, close_code: CloseCode) -> None:
        super().__init__(f"{code}: {detail}")
        self.code = code
        self.title = title
        self.detail = detail
        self.close_code = close_code


@dataclass(frozen=True, slots=True)
class Start:
    """The call begins; always the first event, and only once."""

    call: CallStart


@dataclass(frozen=True, slots=True)
class Audio:
    """Audio arrived."""

    packet: AudioPacket


@dataclass(frozen=True, slots=True)
class Mark:
    """Echo `name` once every utterance that ended before this point has been answered."""

    name: str


@dataclass(frozen=True, slots=True)
class Flush:
    """End the utterance in flight here, as if the speaker had fallen silent."""


@dataclass(frozen=True, slots=True)
class Pause:
    """Stop listening: audio is dropped at the door until `Resume`."""


@dataclass(frozen=True, slots=True)
class Resume:
    """Listen again."""


@dataclass(frozen=True, slots=True)
class Stop:
    """The call is over; always the last event."""


WireEvent: TypeAlias = Start | Audio | Mark | Flush | Pause | Resume | Stop
