"""Playing to services that refuse, leave, say nonsense or do nothing."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Sequence

import pytest
from websockets.asyncio.server import ServerConnection, serve
from websockets.datastructures import Headers
from websockets.http11 import Request, Response

from app.audio.g711 import PcmArray
from app.audio.recording import RecordingError
from app.domain import Leg
from app.emulators.audiosocket import AudiosocketEmulator
from app.emulators.base import EmulatedCall, Message
from app.emulators.native import NativeEmulator
from app.emulators.play import Playing, play
from app.playing import ClientError, Pace
from tests.emulators.scripted import BRIEF, CALL, Script, ScriptedEmulator, Service, fast, run, tones


def saying(*words: str, then: int | None = None) -> Script:
    """A service that says words once audio has come, and closes with a code, or listens on."""

    async def script(socket: ServerConnection) -> None:
        async for message in socket:
            if "audio 2" in str(message):
                for word in words:
                    await socket.send(word)
                if then is not None:
                    await socket.close(then, "no more")

    return script


@pytest.mark.parametrize(
    ("script", "message"),
    [
        (saying("hang up"), "the service ended the call$"),
        (saying("binary"), "did what this carrier refuses: 31950: something else"),
        (saying("nonsense"), r"said what this carrier cannot read \(ValueError\)"),
        (saying(then=1008), r"ended the call with code 1008 \(no more\)"),
        (saying("binary", then=1008), r"31950"),
        (saying(then=1000), r"ended the call with code 1000 \(no more\)"),
    ],
)
def test_a_service_that_ends_the_call_is_told(script: Script, message: str) -> None:
    """In its own words, by leaving, or by what the carrier does not take; the rest is not played."""
    emulator = ScriptedEmulator()

    def endless() -> Iterator[Sequence[PcmArray]]:
        while True:
            yield from tones(50)

    with pytest.raises(ClientError, match=message):
        run(script, lambda _: emulator, endless(), Playing(Pace(50.0), patience_s=10.0))


def test_a_problem_seen_at_the_end_is_told() -> None:
    """What the service answers to the farewell is looked at too."""

    async def script(socket: ServerConnection) -> None:
        async for message in socket:
            if str(message).endswith("close"):
                await socket.send("binary")
                await socket.send("bye")

    emulator = ScriptedEmulator()
    emulator.ended = False
    with pytest.raises(ClientError, match="31950"):
        run(script, lambda _: emulator, tones(1), fast())


def test_waits_are_bounded() -> None:
    """A service that does not answer is named for what it did not do."""
    for attribute, complaint in (("ready", "did not get ready"), ("ended", "did not answer the farewell")):
        emulator = ScriptedEmulator()
        setattr(emulator, attribute, False)
        with pytest.raises(ClientError, match=f"the service {complaint}.* within 0.2 s"):
            run(Service().listen, lambda _, emulator=emulator: emulator, tones(1), fast(patience_s=BRIEF))


def test_a_service_that_takes_nothing_is_told() -> None:
    """Sending is bounded too."""
    release = []

    async def deaf(socket: ServerConnection) -> None:
        socket.transport.pause_reading()
        release.append(asyncio.Event())
        await release[0].wait()

    class Loud(ScriptedEmulator):
        def audio(self, frames: Sequence[PcmArray]) -> list[Message]:
            return [bytes(1 << 20)]

    async def go() -> None:
        async with serve(deaf, "127.0.0.1", 0, close_timeout=0.1) as listening:
            port = next(iter(listening.sockets)).getsockname()[1]
            try:
                await play(lambda _: Loud(), f"ws://127.0.0.1:{port}", tones(100), fast(patience_s=BRIEF))
            finally:
                release[0].set()

    with pytest.raises(ClientError, match=r"took nothing for 0.2 s"):
        asyncio.run(go())


@pytest.mark.parametrize(
    ("status", "body", "message"),
    [
        (401, b"", "refused with HTTP 401$"),
        (
            403,
            b'{"code":"wrong_path","detail":"the path is wrong"}',
            "HTTP 403: wrong_path: the path is wrong",
        ),
        (404, b"<html>", "refused with HTTP 404$"),
        (503, b"[1]", "refused with HTTP 503$"),
    ],
)
def test_a_refused_request_is_one_line(status: int, body: bytes, message: str) -> None:
    """Status, and what the answer says, without the path, which may be a secret."""

    def refuse(connection: ServerConnection, _: Request) -> Response:
        return Response(status, "", Headers({"Content-Length": str(len(body))}), body)

    with pytest.raises(ClientError, match=message) as refused:
        run(Service().listen, lambda _: ScriptedEmulator(), tones(1), fast(), process_request=refuse)
    assert "/v1" not in str(refused.value)


@pytest.mark.parametrize("url", ["ws://127.0.0.1:9", "tcp://127.0.0.1:9"])
def test_nobody_there_is_told(url: str) -> None:
    """Address and reason."""
    call = EmulatedCall("c", (Leg.CUSTOMER,), path="/x")
    emulator = AudiosocketEmulator(call) if url.startswith("tcp") else ScriptedEmulator(call)
    with pytest.raises(ClientError, match=f"^{url}: .*(refused|failed)"):
        asyncio.run(play(lambda _: emulator, url, tones(1)))


@pytest.mark.parametrize(
    ("url", "tcp"),
    [("http://h", False), ("x", False), ("ws://h:1", True), ("tcp://h", True), ("tcp://h:x", True)],
)
def test_an_address_of_another_kind_is_told(url: str, tcp: bool) -> None:
    """Before anything is sent."""
    emulator = AudiosocketEmulator(CALL) if tcp else ScriptedEmulator()
    with pytest.raises(ClientError, match=r"expected (ws|tcp)://HOST|Port could not"):
        asyncio.run(play(lambda _: emulator, url, tones(1)))


def test_damaged_audio_ends_the_connection() -> None:
    """It comes out as its own error, and the socket does not stay."""
    service = Service()

    def broken() -> Iterator[Sequence[PcmArray]]:
        yield from tones(3)
        raise RecordingError("unreadable", "the audio is damaged")

    with pytest.raises(RecordingError, match="damaged"):
        run(service.listen, lambda _: ScriptedEmulator(), broken(), fast())
    assert service.closed == [1006]


def test_a_native_error_is_told() -> None:
    """Code and detail of the service's `error`."""

    async def refuse(socket: ServerConnection) -> None:
        await socket.recv()
        await socket.send('{"type":"error","code":"call_exists","detail":"expected a new call_id"}')
        await socket.close(1008, "call_exists")

    with pytest.raises(ClientError, match="call_exists: expected a new call_id"):
        run(refuse, lambda _: NativeEmulator(CALL), tones(9), fast())


def test_a_tcp_service_that_hangs_up_is_told() -> None:
    """With its word for it, or without."""

    async def go(words: bytes) -> None:
        async def leave(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await reader.readexactly(19)
            writer.write(words)
            writer.close()
            await writer.wait_closed()

        server = await asyncio.start_server(leave, "127.0.0.1", 0)
        async with server:
            url = f"tcp://127.0.0.1:{server.sockets[0].getsockname()[1]}"
            await play(
                lambda _: AudiosocketEmulator(CALL), url, tones(500), Playing(Pace(50.0), patience_s=10)
            )

    for words in (b"\0\0\0", b""):
        with pytest.raises(ClientError, match="the service ended the call"):
            asyncio.run(go(words))
