"""Calls over real sockets."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from contextlib import suppress
from functools import cache
from typing import Any

from websockets.exceptions import ConnectionClosed
from websockets.sync.client import ClientConnection, connect

from app.audio.recording import open_recording
from app.cli.demo import sample_call

Record = dict[str, Any]
RATE_HZ = 8000


@cache
def sample_audio() -> bytes:
    """The sample call as s16le, customer and agent interleaved."""
    with open_recording(sample_call()) as recording:
        return b"".join(block.astype("<i2").tobytes() for block in recording.blocks())


@cache
def customer_audio(seconds: float) -> bytes:
    """The beginning of the customer's leg alone, s16le."""
    frames = memoryview(sample_audio()[: round(seconds * RATE_HZ) * 4]).cast("h")
    return bytes(frames[::2].tobytes())


def start_message(channels: Sequence[str] = ("customer",), **fields: Any) -> str:
    """`start` for s16le at 8 kHz."""
    start = {"type": "start", "encoding": "pcm_s16le", "sample_rate": RATE_HZ, "channels": list(channels)}
    return json.dumps(start | fields)


def pieces(audio: bytes, size: int) -> Iterator[bytes]:
    """Audio in messages of so many bytes."""
    for begin in range(0, len(audio), size):
        yield audio[begin : begin + size]


def stream(
    url: str, audio: bytes, size: int, channels: Sequence[str] = ("customer",), **fields: Any
) -> list[Record]:
    """One whole call in messages of `size` bytes; everything the service said."""
    with connect(url, compression=None, max_size=None, ping_interval=None) as socket:
        socket.send(start_message(channels, **fields))
        assert json.loads(socket.recv())["type"] == "ready"
        for piece in pieces(audio, size):
            socket.send(piece)
        socket.send('{"type":"stop"}')
        return listen(socket)


def listen(socket: ClientConnection) -> list[Record]:
    """Everything until the service closes; how it did is in the socket's close code and reason."""
    messages = []
    with suppress(ConnectionClosed):
        while True:
            messages.append(json.loads(socket.recv()))
    return messages


def utterances(messages: Sequence[Record]) -> list[Record]:
    """The records among the messages."""
    return [message for message in messages if message["type"] == "utterance"]


def comparable(records: Sequence[Record]) -> list[Record]:
    """Records without what differs from call to call: ids, latency, jitter, the line's name, the file's."""
    kept = []
    for record in records:
        own = {"type", "file", "call_id", "latency_ms", "seq", "created_at", "durable"}
        rest = {name: value for name, value in record.items() if name not in own}
        leg_and_index = record["utterance_id"].rsplit(".", 2)[1:]
        rest["audio_quality"] = record["audio_quality"] | {"jitter_ms": None}
        kept.append(rest | {"utterance_id": leg_and_index, "line_profile": record["line_profile"]["n"]})
    return kept


def by_leg(records: Sequence[Record]) -> dict[str, list[Record]]:
    """Records sorted into legs, each in order."""
    legs: dict[str, list[Record]] = {}
    for record in records:
        legs.setdefault(record["leg"], []).append(record)
    return legs
