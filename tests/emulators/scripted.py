"""A scripted carrier and a scripted service over real sockets on loopback."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np
from websockets.asyncio.server import ServerConnection, serve
from websockets.exceptions import ConnectionClosed
from websockets.http11 import Request

from app.audio.g711 import PcmArray
from app.domain import Leg
from app.emulators.base import EmulatedCall, Emulator, Handshake, Message
from app.emulators.play import Played, Playing, play
from app.emulators.trouble import Trouble
from app.playing import Pace

CALL = EmulatedCall("c-1", (Leg.CUSTOMER,), path="/v1/ingest/scripted")
BRIEF = 0.2
"""Patience where a test waits for it to end."""

Script = Callable[[ServerConnection], Awaitable[None]]


def tones(frames: int, legs: int = 1, samples: int = 160) -> list[tuple[PcmArray, ...]]:
    """Frames that say their number and leg."""
    return [
        tuple(np.full(samples, 1000 * leg + frame, dtype=np.int16) for leg in range(legs))
        for frame in range(frames)
    ]


class ScriptedEmulator(Emulator):
    """Sends frame numbers as text, numbered over all it says; notes what it is asked."""

    carrier = "scripted"

    def __init__(self, call: EmulatedCall = CALL) -> None:
        super().__init__(call)
        self.asked: list[object] = []
        self._number = 0

    def handshake(self) -> Handshake:
        """With a header, a query and sub-protocols."""
        return Handshake(f"{self.call.path}?q=1", {"X-Signature": "s"}, ("media", "other"))

    def opening(self) -> list[Message]:
        """One message."""
        return [self._text("open")]

    def audio(self, frames: Sequence[PcmArray]) -> list[Message]:
        """One message for each leg."""
        self.asked.append(int(frames[0][0]))
        return [self._text(f"audio {leg[0]}") for leg in frames]

    def closing(self) -> list[Message]:
        """One message."""
        return [self._text("close")]

    def receive(self, message: Message) -> list[Message]:
        """Echo; a few words mean something."""
        if message == "ready":
            self.ready = True
        elif message == "bye":
            self.ended = True
        elif message == "hang up":
            self.hung_up = True
        elif message == "binary":
            self.problem = "31950: something else was expected"
        elif message == "nonsense":
            raise ValueError(message)
        return [self._text(f"echo {message!s}")]

    def elapse(self, now_s: float) -> list[Message]:
        """Note the time."""
        self.asked.append(round(now_s, 3))
        return []

    def dtmf(self, digit: str) -> list[Message]:
        """One message."""
        return [self._text(f"key {digit}")]

    def pause(self) -> list[Message]:
        """One message."""
        return [self._text("pause")]

    def resume(self, skipped_frames: int) -> list[Message]:
        """One message."""
        return [self._text(f"resume {skipped_frames}")]

    def _text(self, text: str) -> str:
        self._number += 1
        return f"{self._number} {text}"


@dataclass
class Service:
    """Keeps what each connection said, in order, and how it closed."""

    heard: list[list[str]] = field(default_factory=list)
    closed: list[int | None] = field(default_factory=list)
    requests: list[Request] = field(default_factory=list)

    async def listen(self, socket: ServerConnection) -> None:
        """Hear one connection to its end, saying nothing."""
        assert socket.request is not None
        self.requests.append(socket.request)
        heard: list[str] = []
        self.heard.append(heard)
        try:
            async for message in socket:
                heard.append(str(message))
        except ConnectionClosed:
            pass
        self.closed.append(socket.close_code)

    def words(self, connection: int = 0) -> list[str]:
        """What was said, without numbers."""
        return [message.partition(" ")[2] for message in self.heard[connection]]


def run(
    script: Script,
    new_emulator: Callable[[int], Emulator],
    frames: Sequence[Sequence[PcmArray]] | Iterator[Sequence[PcmArray]],
    playing: Playing,
    **server: object,
) -> Played:
    """Play against a service that follows `script`."""

    async def go() -> Played:
        async with serve(script, "127.0.0.1", 0, **server) as listening:  # type: ignore[arg-type]
            port = next(iter(listening.sockets)).getsockname()[1]
            return await play(new_emulator, f"ws://127.0.0.1:{port}/ignored", frames, playing)

    return asyncio.run(go())


def fast(trouble: Trouble | None = None, patience_s: float = 10.0, **fields: object) -> Playing:
    """As fast as it goes."""
    return Playing(Pace(0), trouble or Trouble(), patience_s=patience_s, **fields)  # type: ignore[arg-type]


def audio(*numbers: int) -> list[str]:
    """What the emulator says for frames."""
    return [f"audio {number}" for number in numbers]
