"""Plays recordings into `/v1/stream` at the pace of a telephone: a client of the native protocol."""

from __future__ import annotations

import asyncio
import itertools
import time
from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import orjson
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidHandshake, InvalidURI

from app.audio.g711 import PcmArray, encode, float_to_pcm, pcm_to_float
from app.audio.recording import Recording
from app.audio.resample import StreamingResampler
from app.domain import Encoding

MESSAGE_S = 0.02
"""A telephone system sends one packet every 20 ms."""

Message = dict[str, Any]


class ClientError(Exception):
    """The service could not be reached, refused the call, or ended it before its time."""


@dataclass(frozen=True, slots=True)
class Pace:
    """How fast to play: speed 1 is real time, 2 twice as fast, 0 as fast as the service takes it."""

    speed: float = 1.0
    now: Callable[[], float] = time.monotonic
    sleep: Callable[[float], Awaitable[None]] = asyncio.sleep

    async def wait(self, started: float, audio_s: float) -> None:
        """Return when a telephone that began at `started` would have come to `audio_s`."""
        if self.speed <= 0:
            return
        left = started + audio_s / self.speed - self.now()
        if left > 0:
            await self.sleep(left)


def telephone_frames(
    recordings: Sequence[Recording], sample_rate_hz: int | None = None
) -> Iterator[tuple[PcmArray, ...]]:
    """The audio of one recording, or of two side by side, in pieces of 20 ms: int16 [n] for every channel.

    sample_rate_hz: what the audio is resampled to; None keeps the recordings' rate, which must be one then. The
    shorter of two recordings is filled with silence; only the last piece may be shorter than 20 ms.

    Raises:
        RecordingError: damaged audio.
        ValueError: recordings of different rates, and none was asked for.
    """
    rates = {recording.sample_rate_hz for recording in recordings}
    if sample_rate_hz is None and len(rates) != 1:
        raise ValueError(f"expected recordings of one rate, got {sorted(rates)} Hz")
    rate_hz = sample_rate_hz or rates.pop()
    frame = round(MESSAGE_S * rate_hz)
    pieces = [_frames(_at_rate(recording, rate_hz), frame) for recording in recordings]
    for found in itertools.zip_longest(*pieces):
        longest = max(len(piece) for piece in found if piece is not None)
        filled = [_filled(piece, longest, r.channels) for piece, r in zip(found, recordings, strict=True)]
        yield tuple(np.concatenate(filled, axis=1).T)


def telephone_messages(recordings: Sequence[Recording], encoding: Encoding) -> Iterator[bytes]:
    """The audio of one recording, or of two side by side, as binary messages of 20 ms.

    Channels are interleaved in the order given; the shorter of two recordings is filled with silence.

    Raises:
        RecordingError: damaged audio.
        ValueError: recordings of different rates.
    """
    for legs in telephone_frames(recordings):
        yield encode(np.stack(legs, axis=1).reshape(-1), encoding)


async def play_call(
    url: str,
    start: Mapping[str, object],
    messages: Iterable[bytes],
    on_message: Callable[[Message], None],
    *,
    pace: Pace | None = None,
    api_key: str | None = None,
) -> Message | None:
    """One call from `start` to `stop`; every message of the service goes to `on_message` as it arrives.

    Args:
        url: of the socket, `ws://…/v1/stream`.
        start: fields of the `start` message.
        messages: the audio, one binary message each of `MESSAGE_S`.
        on_message: called in order; not for binary messages, of which the service has none.
        pace: how fast to play; real time when None.
        api_key: sent as a bearer token.

    Returns:
        The `summary`, or None where the service sent none.

    Raises:
        ClientError: no connection, or one that ended with another code than 1000.
    """
    headers = {} if api_key is None else {"Authorization": f"Bearer {api_key}"}
    try:
        async with connect(url, additional_headers=headers, compression=None) as socket:
            return await _converse(socket, start, messages, on_message, pace or Pace())
    except (InvalidURI, InvalidHandshake, OSError, TimeoutError) as error:
        raise ClientError(f"{url}: {_reason(error)}") from error


async def _converse(
    socket: ClientConnection,
    start: Mapping[str, object],
    messages: Iterable[bytes],
    on_message: Callable[[Message], None],
    pace: Pace,
) -> Message | None:
    await socket.send(orjson.dumps({"type": "start", **start}).decode())
    speaker = _Speaker(socket, messages, pace)
    failure: Message | None = None
    summary: Message | None = None
    try:
        async for text in socket:
            message: Message = orjson.loads(text)
            on_message(message)
            if message["type"] == "ready":
                speaker.begin()
            failure = message if message["type"] == "error" else failure
            summary = message if message["type"] == "summary" else summary
    except ConnectionClosed:
        pass  # told apart below, by the code
    finally:
        await speaker.end()
    if socket.close_code != 1000:
        raise ClientError(_farewell(socket, failure))
    return summary


class _Speaker:
    """The side that sends audio, while the other one listens."""

    def __init__(self, socket: ClientConnection, messages: Iterable[bytes], pace: Pace) -> None:
        self._socket = socket
        self._messages = messages
        self._pace = pace
        self._task: asyncio.Task[None] | None = None
        self._fault: Exception | None = None

    def begin(self) -> None:
        """Speak from now on; once."""
        if self._task is None:
            self._task = asyncio.create_task(self._speak())

    async def end(self) -> None:
        """Fall silent; a fault of the recording comes out here."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait([self._task])
        if self._fault is not None:
            raise self._fault

    async def _speak(self) -> None:
        started = self._pace.now()
        try:
            for index, message in enumerate(self._messages):
                await self._pace.wait(started, index * MESSAGE_S)
                await self._socket.send(message)
            await self._socket.send('{"type":"stop"}')
        except ConnectionClosed:
            return  # the listening side says why
        except Exception as error:
            self._fault = error
            await self._socket.close()  # a recording that breaks off in the middle: the call must not hang


def _at_rate(recording: Recording, rate_hz: int) -> Iterator[PcmArray]:
    """The recording's blocks at another rate: int16 [n, channels]."""
    if recording.sample_rate_hz == rate_hz:
        yield from recording.blocks()
        return
    legs = [StreamingResampler(recording.sample_rate_hz, rate_hz) for _ in range(recording.channels)]
    for block in recording.blocks():
        ready = [leg.push(pcm_to_float(column)) for leg, column in zip(legs, block.T, strict=True)]
        yield float_to_pcm(np.stack(ready, axis=1))
    yield float_to_pcm(np.stack([leg.flush() for leg in legs], axis=1))


def _frames(blocks: Iterable[PcmArray], frame: int) -> Iterator[PcmArray]:
    """The blocks cut into pieces of `frame` samples, the last one may be shorter: int16 [n, channels]."""
    rest: PcmArray | None = None
    for block in blocks:
        rest = block if rest is None else np.concatenate([rest, block])
        whole = len(rest) // frame * frame
        for begin in range(0, whole, frame):
            yield rest[begin : begin + frame]
        rest = rest[whole:]
    if rest is not None and len(rest):
        yield rest


def _filled(leg: PcmArray | None, samples: int, channels: int) -> PcmArray:
    filled = np.zeros((samples, channels), dtype=np.int16)
    if leg is not None:
        filled[: len(leg)] = leg
    return filled


def _farewell(socket: ClientConnection, failure: Message | None) -> str:
    code = "without a close frame" if socket.close_code is None else f"with code {socket.close_code}"
    if failure is not None:
        return f"the service ended the call {code}: {failure.get('code')}: {failure.get('detail')}"
    return f"the service ended the call {code}" + (f" ({socket.close_reason})" if socket.close_reason else "")


def _reason(error: Exception) -> str:
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    return str(error) or type(error).__name__
