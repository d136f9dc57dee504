"""Calls over a socket to `/v1/stream`."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from functools import cache
from pathlib import Path
from typing import Any

from websockets.exceptions import ConnectionClosed
from websockets.sync.client import ClientConnection, connect

from app.audio.recording import open_recording

Message = dict[str, Any]
RATE_HZ = 8000
SAMPLE = Path(__file__).resolve().parents[2] / "app" / "samples" / "two_legs.flac"
TIMEOUT_S = 60.0


@cache
def customer_audio(seconds: float) -> bytes:
    """The beginning of the sample call's customer, s16le at 8 kHz. It speaks from 0.4 s to 6.0 s."""
    with open_recording(SAMPLE) as recording:
        both = b"".join(block.astype("<i2").tobytes() for block in recording.blocks())
    return bytes(memoryview(both[: round(seconds * RATE_HZ) * 4]).cast("h")[::2].tobytes())


def start_message(**fields: Any) -> str:
    """`start` for one customer in s16le at 8 kHz."""
    start = {"type": "start", "encoding": "pcm_s16le", "sample_rate": RATE_HZ, "channels": ["customer"]}
    return json.dumps(start | fields)


def pieces(audio: bytes, size: int) -> Iterator[bytes]:
    """Audio in messages of so many bytes."""
    for begin in range(0, len(audio), size):
        yield audio[begin : begin + size]


@contextmanager
def opened(url: str, **options: Any) -> Iterator[ClientConnection]:
    """A socket that neither compresses nor pings nor uses a proxy."""
    defaults = {"compression": None, "max_size": None, "ping_interval": None, "proxy": None}
    with connect(url, **(defaults | options)) as socket:
        yield socket


@contextmanager
def started(url: str, *, headers: dict[str, str] | None = None, **fields: Any) -> Iterator[ClientConnection]:
    """A socket whose call was accepted."""
    with opened(url, additional_headers=headers) as socket:
        socket.send(start_message(**fields))
        assert receive(socket)["type"] == "ready"
        yield socket


def receive(socket: ClientConnection) -> Message:
    """The next message."""
    message: Message = json.loads(socket.recv(TIMEOUT_S))
    return message


def listen(socket: ClientConnection) -> list[Message]:
    """Everything until the service closes; the close code is on the socket then."""
    messages = []
    with suppress(ConnectionClosed):
        while True:
            messages.append(receive(socket))
    return messages


def say(socket: ClientConnection, messages: Iterable[str | bytes]) -> list[Message]:
    """Sends, then listens to the end; a service that closes meanwhile is not an error."""
    with suppress(ConnectionClosed):
        for message in messages:
            socket.send(message)
    return listen(socket)


def play(url: str, audio: bytes, size: int = 320, **fields: Any) -> list[Message]:
    """One whole call in messages of `size` bytes; everything the service said after `ready`."""
    with started(url, **fields) as socket:
        messages = say(socket, [*pieces(audio, size), '{"type":"stop"}'])
        assert socket.close_code == 1000
        return messages


def of_type(messages: Sequence[Message], kind: str) -> list[Message]:
    """The messages of one type."""
    return [message for message in messages if message["type"] == kind]


def comparable(messages: Sequence[Message]) -> list[Message]:
    """The records among the messages, without what differs from call to call."""
    own = ("call_id", "utterance_id", "latency_ms", "line_profile", "seq", "created_at", "durable")
    return [
        {name: value for name, value in message.items() if name not in own}
        | {"audio_quality": message["audio_quality"] | {"jitter_ms": None}}
        for message in of_type(messages, "utterance")
    ]
