"""What every emulator is: a carrier's side of one call, sans I/O. `app.emulators.play` gives it a socket and a clock.

An emulator is one file in this package that defines a subclass; `app.emulators.carriers` lists them.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import ClassVar

import orjson

from app.audio.g711 import PcmArray
from app.domain import Encoding, Leg
from app.wire.parameters import safe_call_id

FRAME_S = 0.02
"""A carrier sends one packet of each track every 20 ms."""

Message = str | bytes


def json_text(message: Mapping[str, object]) -> str:
    """A message as compact JSON."""
    return orjson.dumps(message).decode()


@dataclass(frozen=True, slots=True)
class EmulatedCall:
    """The call that is played.

    legs: whose audio comes, by channel. sample_rate_hz: of the frames. encoding: asked for; a carrier with one codec
    ignores it. parameters: what the site would put into custom parameters, headers or metadata. path: of the
    endpoint, `/v1/ingest/…` with the path secret where there is one; query without `?`. host: as in the Host
    header. public_origin: what signatures cover instead, `wss://host`. secrets, path_secret, message_secret: as in
    `CarrierConfig`.
    now_s: seconds since the epoch, for signatures.
    """

    call_id: str
    legs: tuple[Leg, ...]
    sample_rate_hz: int = 8_000
    encoding: Encoding = Encoding.PCM_MULAW
    parameters: Mapping[str, str] = field(default_factory=dict)
    path: str = ""
    query: str = ""
    host: str = "localhost"
    public_origin: str | None = None
    secrets: Mapping[str, str] = field(default_factory=dict)
    path_secret: str | None = None
    message_secret: str | None = None
    now_s: float = 0.0


@dataclass(frozen=True, slots=True)
class Handshake:
    """How the carrier opens the connection: path with query, headers, sub-protocols offered."""

    target: str
    headers: Mapping[str, str] = field(default_factory=dict)
    subprotocols: Sequence[str] = ()


class Emulator(ABC):
    """One call. Order: `handshake`, `opening`, `audio` for each frame once `ready`, `closing`, until `ended`.

    Whatever the server says goes to `receive` at any time. Lists of messages are sent in order.
    """

    carrier: ClassVar[str]
    tcp: ClassVar[bool] = False
    """Raw TCP instead of a WebSocket; `handshake` is not asked then, and the bytes of a message may arrive cut."""
    server_closes: ClassVar[bool] = False
    """After `closing` the server closes the connection; otherwise the carrier does, once `ended`."""

    def __init__(self, call: EmulatedCall) -> None:
        self.call = call
        self.ready = True
        """Whether audio may be sent; those that wait for an answer set it in `receive`."""
        self.ended = True
        """Whether the connection may be closed after `closing`; those that wait for an answer clear it."""
        self.problem: str | None = None
        """What the server did that this carrier would not accept; None while all is well."""
        self.hung_up = False
        """Whether the server ended the call by this wire's own words; nothing more is played then."""

    @property
    def recorded_as(self) -> str:
        """The call's id at the service, unless that one was taken; known once `opening` was said."""
        return safe_call_id(self.call.call_id)

    @abstractmethod
    def handshake(self) -> Handshake:
        """The request that opens the connection, signed as the vendor signs it."""

    @abstractmethod
    def opening(self) -> list[Message]:
        """What is said before the first audio."""

    @abstractmethod
    def audio(self, frames: Sequence[PcmArray]) -> list[Message]:
        """20 ms of every leg, int16 [n] each at the call's rate, in the order of `call.legs`.

        Clocks and numbers advance even where trouble then keeps a message from being sent.
        """

    @abstractmethod
    def closing(self) -> list[Message]:
        """What is said after the last audio."""

    def receive(self, message: Message) -> list[Message]:
        """Hear what the server says; the answers to it."""
        return []

    def elapse(self, now_s: float) -> list[Message]:
        """What this carrier says by the clock (pings). now_s: since the first audio, asked before every frame."""
        return []

    def dtmf(self, digit: str) -> list[Message]:
        """A key is pressed; nothing where the carrier does not tell."""
        return []

    def pause(self) -> list[Message]:
        """The carrier stops the audio for a payment; nothing is sent until `resume`."""
        return []

    def resume(self, skipped_frames: int) -> list[Message]:
        """Audio goes on after so many frames were kept back."""
        return []
