"""The client of the native protocol against a real socket on loopback."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import numpy as np
import orjson
import pytest
import soundfile
from websockets.asyncio.server import ServerConnection, serve

from app.audio.g711 import decode, float_to_pcm, pcm_to_float
from app.audio.recording import RecordingError, open_recording
from app.audio.resample import resample_whole
from app.domain import Encoding
from app.playing import ClientError, Message, Pace, play_call, telephone_frames, telephone_messages

Script = Callable[[ServerConnection], Awaitable[None]]
START = {"encoding": "pcm_s16le", "sample_rate": 8000, "channels": ["customer"]}


class FakeTime:
    """A clock that sleeping moves."""

    def __init__(self) -> None:
        self.time = 100.0
        self.slept: list[float] = []

    def now(self) -> float:
        """Seconds."""
        return self.time

    async def sleep(self, seconds: float) -> None:
        """Move on at once."""
        self.slept.append(seconds)
        self.time += seconds


class Service:
    """What a scripted service heard."""

    def __init__(self) -> None:
        self.texts: list[Message] = []
        self.audio: list[bytes] = []
        self.authorization: str | None = None

    async def polite(self, socket: ServerConnection) -> None:
        """Answer as the real one does."""
        assert socket.request is not None
        self.authorization = socket.request.headers.get("authorization")
        self.texts.append(orjson.loads(await socket.recv()))
        await socket.send('{"type":"ready","call_id":"c"}')
        async for message in socket:
            if isinstance(message, bytes):
                self.audio.append(message)
                continue
            self.texts.append(orjson.loads(message))
            await socket.send('{"type":"summary","call_id":"c"}')
            await socket.close(1000, "done")


async def converse(
    script: Script, messages: list[bytes] | Iterator[bytes], pace: Pace, api_key: str | None = None
) -> tuple[Message | None, list[Message]]:
    """Play `messages` to a service that follows `script`; the summary and all it said."""
    heard: list[Message] = []
    async with serve(script, "127.0.0.1", 0) as server:
        port = next(iter(server.sockets)).getsockname()[1]
        url = f"ws://127.0.0.1:{port}/v1/stream"
        summary = await play_call(url, START, messages, heard.append, pace=pace, api_key=api_key)
    return summary, heard


def test_a_call_is_played_from_start_to_stop() -> None:
    """`start` first, then the audio in order, then `stop`; the summary comes back."""
    service = Service()
    pieces = [bytes([n]) * 320 for n in range(5)]
    summary, heard = asyncio.run(converse(service.polite, pieces, Pace(0), api_key="k" * 16))
    assert summary == {"type": "summary", "call_id": "c"}
    assert [message["type"] for message in heard] == ["ready", "summary"]
    assert service.texts == [{"type": "start", **START}, {"type": "stop"}]
    assert service.audio == pieces
    assert service.authorization == "Bearer " + "k" * 16


def test_the_pace_is_that_of_a_telephone() -> None:
    """Each message leaves 20 ms after the one before, divided by the speed, however long sending takes."""
    time = FakeTime()
    pace = Pace(2.0, now=time.now, sleep=time.sleep)
    asyncio.run(converse(Service().polite, [b"\0" * 320] * 6, pace))
    assert time.slept == pytest.approx([0.01] * 5)


def test_an_error_of_the_service_is_told() -> None:
    """Code and detail of the service's `error` are in the exception."""

    async def refuse(socket: ServerConnection) -> None:
        await socket.recv()
        await socket.send('{"type":"error","code":"call_exists","detail":"expected a new call_id"}')
        await socket.close(1008, "call_exists")

    with pytest.raises(ClientError, match="code 1008: call_exists: expected a new call_id"):
        asyncio.run(converse(refuse, [b"\0" * 320], Pace(0)))


def test_a_service_that_goes_away_in_the_middle_is_told() -> None:
    """A close with another code than 1000, without an `error`, is an error all the same."""

    async def leave(socket: ServerConnection) -> None:
        await socket.recv()
        await socket.send('{"type":"ready"}')
        await socket.recv()
        await socket.close(1001, "draining")

    with pytest.raises(ClientError, match=r"code 1001 \(draining\)"):
        asyncio.run(converse(leave, [b"\0" * 320] * 3, Pace(0)))


def test_a_vanished_service_is_told() -> None:
    """A connection that breaks without a close frame is told as such."""

    async def vanish(socket: ServerConnection) -> None:
        await socket.recv()
        socket.transport.abort()

    with pytest.raises(ClientError, match=r"code 1006|without a close frame"):
        asyncio.run(converse(vanish, [b"\0" * 320], Pace(0)))


def test_no_service_is_told() -> None:
    """Nobody listening gives the address and the reason."""

    async def call() -> None:
        async with serve(Service().polite, "127.0.0.1", 0) as server:
            port = next(iter(server.sockets)).getsockname()[1]
        await play_call(f"ws://127.0.0.1:{port}/v1/stream", START, [], lambda message: None)

    with pytest.raises(ClientError, match=r"ws://127.0.0.1:\d+/v1/stream: "):
        asyncio.run(call())


@pytest.mark.parametrize("url", ["http://127.0.0.1/v1/stream", "nonsense"])
def test_a_url_that_is_no_socket_is_told(url: str) -> None:
    """A URL of another kind is refused before anything is sent."""
    with pytest.raises(ClientError, match="isn't a valid"):
        asyncio.run(play_call(url, START, [], lambda message: None))


def test_damaged_audio_ends_the_call() -> None:
    """A recording that breaks off in the middle ends the call and comes out as its own error."""

    def broken() -> Iterator[bytes]:
        yield b"\0" * 320
        raise RecordingError("unreadable", "the audio is damaged after 160 samples")

    with pytest.raises(RecordingError, match="damaged after 160"):
        asyncio.run(converse(Service().polite, broken(), Pace(0)))


def write(path: Path, samples: np.ndarray, rate: int = 8000) -> Path:
    """An int16 WAV file."""
    soundfile.write(path, samples, rate, subtype="PCM_16")
    return path


@pytest.mark.parametrize("rate", [8000, 16000])
def test_messages_hold_twenty_milliseconds_of_every_channel(tmp_path: Path, rate: int) -> None:
    """Put together, the messages are the recording, interleaved; only the last one may be shorter."""
    rng = np.random.default_rng(0)
    samples = rng.integers(-20_000, 20_000, (rate + 123, 2), dtype=np.int16)
    with open_recording(write(tmp_path / "two.wav", samples, rate)) as recording:
        messages = list(telephone_messages([recording], Encoding.PCM_S16LE))
    assert {len(message) for message in messages[:-1]} == {rate // 50 * 2 * 2}
    assert b"".join(messages) == samples.astype("<i2").tobytes()


def test_two_recordings_are_customer_and_agent(tmp_path: Path) -> None:
    """Two files are interleaved in order, and the shorter is filled with silence."""
    long, short = np.full(500, 1000, np.int16), np.full(200, -1000, np.int16)
    with ExitStack() as stack:
        files = [write(tmp_path / "a.wav", long), write(tmp_path / "b.wav", short)]
        recordings = [stack.enter_context(open_recording(file)) for file in files]
        audio = b"".join(telephone_messages(recordings, Encoding.PCM_MULAW))
    legs = decode(audio, Encoding.PCM_MULAW).reshape(-1, 2)
    assert legs.shape == (500, 2)
    assert set(legs[:, 0]) == {988}
    assert set(legs[:200, 1]) == {-988}
    assert not legs[200:, 1].any()


def test_recordings_of_different_rates_are_refused(tmp_path: Path) -> None:
    """Two legs of one call share one rate."""
    with ExitStack() as stack:
        files = [write(tmp_path / f"{rate}.wav", np.ones(99, np.int16), rate) for rate in (8000, 16000)]
        recordings = [stack.enter_context(open_recording(file)) for file in files]
        with pytest.raises(ValueError, match="one rate"):
            next(telephone_messages(recordings, Encoding.PCM_S16LE))


@pytest.mark.parametrize("rate", [8000, 16000, 22050])
def test_frames_are_resampled_to_the_rate_asked_for(tmp_path: Path, rate: int) -> None:
    """Put together they are the recording at that rate, channel by channel; each has 20 ms but the last."""
    samples = np.random.default_rng(0).integers(-9_000, 9_000, (rate + 123, 2), dtype=np.int16)
    file = write(tmp_path / "two.wav", samples, rate)
    with open_recording(file) as recording:
        frames = list(telephone_frames([recording], 8000))
    assert {len(leg) for frame in frames[:-1] for leg in frame} == {160}
    legs = [np.concatenate([frame[channel] for frame in frames]) for channel in (0, 1)]
    with open_recording(file) as recording:
        kept, rate_hz = np.concatenate(list(recording.blocks())), recording.sample_rate_hz
    for leg, column in zip(legs, kept.T, strict=True):
        assert leg.tolist() == float_to_pcm(resample_whole(pcm_to_float(column), rate_hz)).tolist()


def test_recordings_of_different_rates_meet_at_the_rate_asked_for(tmp_path: Path) -> None:
    """The shorter one is filled with silence."""
    with ExitStack() as stack:
        files = [write(tmp_path / f"{rate}.wav", np.full(400, 99, np.int16), rate) for rate in (8000, 16000)]
        recordings = [stack.enter_context(open_recording(file)) for file in files]
        frames = list(telephone_frames(recordings, 8000))
    assert [[len(leg) for leg in frame] for frame in frames] == [[160, 160], [160, 160], [80, 80]]
    assert not frames[1][1][40:].any()
