"""Plays a call through an emulator over a real connection: pace, trouble, answers, and an end within bounds."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from urllib.parse import urlsplit

import numpy as np

from app.audio.g711 import PcmArray
from app.emulators.base import FRAME_S, Emulator, Message
from app.emulators.links import Link, LinkClosedError, open_socket, open_tcp
from app.emulators.trouble import NO_TROUBLE, Network, Tally, Trouble
from app.playing import ClientError, Pace

Frames = Iterable[Sequence[PcmArray]]
"""20 ms of every leg each; the last one may be shorter."""

NewEmulator = Callable[[int], Emulator]
"""A fresh emulator for the n-th connection of a call, from 0; more than one only where it reconnects."""


@dataclass(frozen=True, slots=True)
class Playing:
    """How a call is played.

    stream: tells connections of one call apart, for chance. patience_s: the longest wait for anything that the service
    should do: accept, take audio, answer a farewell. on_message: called with whatever the service says. on_connected:
    called with each emulator once its opening is said.
    """

    pace: Pace = field(default_factory=Pace)
    trouble: Trouble = NO_TROUBLE
    stream: str = ""
    patience_s: float = 30.0
    on_message: Callable[[Message], None] | None = None
    on_connected: Callable[[Emulator], None] | None = None


@dataclass(frozen=True, slots=True)
class Played:
    """What was played. frames: of 20 ms that were handed to the carrier, so without those that a pause kept back.

    connections: how many it took. cut: it ended by the cut that was asked for.
    """

    frames: int
    connections: int
    cut: bool
    tally: Tally


async def play(new_emulator: NewEmulator, url: str, frames: Frames, playing: Playing | None = None) -> Played:
    """Play one call, over one connection or, where it is cut and taken up again, two.

    Args:
        new_emulator: gives the carrier's side of each connection.
        url: `ws://host[:port]`, `wss://…`, or `tcp://host:port` for a carrier on TCP. Any path is the emulator's.
        frames: the audio, from its beginning.
        playing: how; in real time without trouble when None.

    Raises:
        ClientError: no connection, a refusal, a service that ends the call before its time or breaks the carrier's
            protocol, or one that does nothing for too long.
    """
    playing = playing or Playing()
    score = _Score(frames, playing)
    connections = 0
    while True:
        cut = await _one_connection(new_emulator(connections), url, score)
        connections += 1
        if not (cut and score.more and playing.trouble.reconnect):
            return Played(score.played, connections, cut, score.network.tally)


def origin_of(url: str) -> str:
    """Scheme, host and port of a URL."""
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc}"


async def _one_connection(emulator: Emulator, url: str, score: _Score) -> bool:
    """Play as much as goes over one connection; whether it was cut, as asked for."""
    origin = origin_of(url)
    link: Link = await (open_tcp(origin) if emulator.tcp else open_socket(origin, emulator.handshake()))
    conversation = _Conversation(emulator, link, score)
    try:
        return await conversation.perform()
    except _OverError as over:
        raise ClientError(f"{origin}: the service {over}") from over
    finally:
        await conversation.end()


class _Score:
    """What is played over all connections of a call: the frames that are left, their time, what happens to them."""

    def __init__(self, frames: Frames, playing: Playing) -> None:
        self.playing = playing
        self.network = Network(playing.trouble, playing.stream)
        self.played = 0
        self.index = 0
        """Of the frame that comes next."""
        self._frames = whole_frames(frames)
        self._ahead = next(self._frames, None)
        self._started: float | None = None

    @property
    def more(self) -> bool:
        """Whether there is a frame left."""
        return self._ahead is not None

    def take(self) -> Sequence[PcmArray]:
        """The next frame."""
        assert self._ahead is not None  # noqa: S101 - for mypy: `more` was asked
        frame, self._ahead = self._ahead, next(self._frames, None)
        self.index += 1
        return frame

    async def its_time(self) -> None:
        """Return when the next frame leaves: when it was spoken, or later where the way delays it."""
        pace = self.playing.pace
        if self._started is None:
            self._started = pace.now()
        await pace.wait(self._started, self.index * FRAME_S + self.network.delay_s())


def whole_frames(frames: Frames) -> Iterator[Sequence[PcmArray]]:
    """The frames, a short one filled with silence: carriers send nothing but whole packets."""
    longest = 0
    for frame in frames:
        longest = max(longest, len(frame[0]))
        missing = longest - len(frame[0])
        yield frame if not missing else [np.pad(leg, (0, missing)) for leg in frame]


class _OverError(Exception):
    """The conversation cannot go on; says what the service did."""


class _Conversation:
    """One connection: what the emulator says goes out in the order it was said, what comes in is heard meanwhile.

    Answers and audio share a queue, so that neither the emulator's numbers get out of order nor the reading stops
    while the service takes nothing.
    """

    def __init__(self, emulator: Emulator, link: Link, score: _Score) -> None:
        self._emulator = emulator
        self._link = link
        self._score = score
        self._playing = score.playing
        self._outbox: asyncio.Queue[Message] = asyncio.Queue()
        self._changed = asyncio.Event()
        self._over = False
        self._waits_for_end = not emulator.ended
        self._fault: Exception | None = None
        self._tasks = [asyncio.create_task(self._listen()), asyncio.create_task(self._write())]

    async def perform(self) -> bool:
        """From the opening to the end of the connection; whether that was the cut that was asked for.

        Raises:
            _OverError: it ended otherwise than it should.
        """
        emulator = self._emulator
        self._say(emulator.opening())
        await self._sent()
        if self._playing.on_connected is not None:
            self._playing.on_connected(emulator)
        await self._until(lambda: emulator.ready or self._hung_up, "did not get ready for audio")
        if await self._speak():
            await self._link.cut()
            return True
        if self._hung_up:
            farewell = self._farewell()
            await self._part()
            raise _OverError(farewell)
        self._say([*self._score.network.flush(), *emulator.closing()])
        await self._sent()
        await self._finish()
        return False

    async def end(self) -> None:
        """Let go of everything."""
        self._link.abort()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    @property
    def _hung_up(self) -> bool:
        """Whether the service ended the call, by its own words, by leaving, or by what no carrier accepts."""
        return self._over or self._emulator.hung_up or self._emulator.problem is not None

    @property
    def _done(self) -> bool:
        """Whether the carrier has come to its end by itself, as a probe does that sends no audio."""
        return self._waits_for_end and self._emulator.ended

    async def _speak(self) -> bool:
        """Play until there is nothing left or nobody there; whether the connection is to be cut."""
        score, emulator = self._score, self._emulator
        pace, trouble = self._playing.pace, self._playing.trouble
        began_at = score.index
        began, kept_back = 0.0, 0
        while score.more and not self._hung_up and not self._done:
            await score.its_time()
            index = score.index
            if index == began_at:
                began = pace.now()
            elif trouble.cut_at(index):
                return True
            for digit in trouble.keys_at(index):
                self._say(emulator.dtmf(digit))
            # Played as fast as possible, a call takes no time; answers would come too late for a carrier's clock.
            self._say(emulator.elapse(pace.now() - began if pace.speed > 0 else 0.0))
            frame = score.take()
            if trouble.paused_at(index):
                if not kept_back:
                    self._say([*score.network.flush(), *emulator.pause()])
                kept_back += 1
            else:
                if kept_back:
                    self._say(emulator.resume(kept_back))
                kept_back = 0
                self._say(score.network.carry(emulator.audio(frame)))
                score.played += 1
            await self._sent()
        if kept_back:  # the recording ends within the pause, and the pause with it
            self._say(emulator.resume(kept_back))
        return False

    async def _finish(self) -> None:
        emulator = self._emulator
        if emulator.server_closes:
            await self._until(lambda: self._over, "did not close the connection")
        else:
            await self._until(lambda: emulator.ended or self._over, "did not answer the farewell")
            await self._link.close()
            await self._until(lambda: self._over, "did not close the connection")
        if emulator.problem is not None or not self._link.farewell()[0]:
            raise _OverError(self._farewell())

    async def _part(self) -> None:
        """Close what the service has ended in words only, once this side has answered them."""
        if not self._over:
            await self._sent()
            await self._until(
                lambda: self._emulator.ended or self._over, "ended the call, but not the connection"
            )
            await self._link.close()

    def _farewell(self) -> str:
        """How the service ended the call."""
        problem = "" if self._emulator.problem is None else f": {self._emulator.problem}"
        if self._fault is not None:
            return f"said what this carrier cannot read ({type(self._fault).__name__}){problem}"
        if not self._over:
            return ("ended the call" if self._emulator.hung_up else "did what this carrier refuses") + problem
        return f"ended the call {self._link.farewell()[1]}{problem}"

    def _say(self, messages: Sequence[Message]) -> None:
        for message in messages:
            self._outbox.put_nowait(message)

    async def _sent(self) -> None:
        """Return when everything that was said is on its way, or nobody is there to take it."""
        try:
            async with asyncio.timeout(self._playing.patience_s):
                await self._outbox.join()
        except TimeoutError:
            raise _OverError(f"took nothing for {self._playing.patience_s:g} s") from None

    async def _until(self, condition: Callable[[], bool], complaint: str) -> None:
        """Return when something has come about."""
        try:
            async with asyncio.timeout(self._playing.patience_s):
                while not condition():
                    self._changed.clear()
                    await self._changed.wait()
        except TimeoutError:
            raise _OverError(f"{complaint} within {self._playing.patience_s:g} s") from None

    async def _listen(self) -> None:
        try:
            async for message in self._link.messages():
                if self._playing.on_message is not None:
                    self._playing.on_message(message)
                self._say(self._emulator.receive(message))
                self._changed.set()
        except Exception as error:  # whatever the service sent: told as its fault, below
            self._fault = error
        self._over = True
        self._changed.set()

    async def _write(self) -> None:
        while True:
            message = await self._outbox.get()
            with suppress(LinkClosedError):  # the listening side says why
                await self._link.send(message)
            self._outbox.task_done()
