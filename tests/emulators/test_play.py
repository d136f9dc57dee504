"""Playing through an emulator: a scripted carrier and a scripted service over real sockets on loopback."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Sequence

import pytest
from websockets.asyncio.server import ServerConnection

from app.audio.g711 import PcmArray, decode
from app.domain import Encoding, Leg
from app.emulators.audiosocket import AudiosocketEmulator
from app.emulators.base import EmulatedCall, Emulator, Handshake, Message
from app.emulators.native import NativeEmulator
from app.emulators.play import Played, Playing, play
from app.emulators.trouble import Key, Stretch, Trouble
from app.playing import ClientError, Pace
from app.wire.audiosocket import AudioSocketProtocol
from app.wire.base import Audio, Dtmf, Pause, Resume, Start, Stop, WireEvent
from app.wire.carrier import CarrierConfig, UpgradeRequest
from app.wire.native import NativeProtocol
from tests.emulators.scripted import CALL, Script, ScriptedEmulator, Service, audio, fast, run, tones


def test_a_call_is_played_from_its_opening_to_its_farewell() -> None:
    """Request as the emulator makes it, opening, audio in order, farewell, close code 1000."""
    service = Service()
    played = run(
        service.listen, lambda _: ScriptedEmulator(), tones(5, legs=2), fast(), subprotocols=["media"]
    )
    assert service.words() == ["open", *[f"audio {n}" for f in range(5) for n in (f, 1000 + f)], "close"]
    assert service.closed == [1000]
    request = service.requests[0]
    assert request.path == "/v1/ingest/scripted?q=1"
    assert request.headers["X-Signature"] == "s"
    assert request.headers["Sec-WebSocket-Protocol"] == "media, other"
    assert "User-Agent" not in request.headers
    assert "Sec-WebSocket-Extensions" not in request.headers
    assert (played.frames, played.connections, played.cut) == (5, 1, False)
    assert (played.tally.given, played.tally.sent) == (10, 10)


class FakeTime:
    """A clock that sleeping moves."""

    def __init__(self) -> None:
        self.time = 100.0

    def now(self) -> float:
        """Seconds."""
        return self.time

    async def sleep(self, seconds: float) -> None:
        """Move on at once."""
        self.time += seconds


@pytest.mark.parametrize("speed", [1.0, 4.0])
def test_the_pace_is_that_of_a_telephone(speed: float) -> None:
    """A frame every 20 ms divided by the speed; the emulator is told the time since its first audio."""
    time, emulator = FakeTime(), ScriptedEmulator()
    run(Service().listen, lambda _: emulator, tones(4), Playing(Pace(speed, time.now, time.sleep)))
    step = 0.02 / speed
    assert emulator.asked == [0.0, 0, round(step, 3), 1, round(2 * step, 3), 2, round(3 * step, 3), 3]


def test_jitter_delays_but_never_reorders() -> None:
    """Each frame leaves within the longest delay after its time, and after the one before it."""
    time, emulator, service = FakeTime(), ScriptedEmulator(), Service()
    playing = Playing(Pace(1.0, time.now, time.sleep), Trouble(jitter_s=0.1))
    run(service.listen, lambda _: emulator, tones(50), playing)
    assert service.words() == ["open", *audio(*range(50)), "close"]
    left = [asked for asked in emulator.asked if isinstance(asked, float)]
    assert left == sorted(left)
    assert len(set(left)) > 5
    # Times are told from the first frame's, which may itself be 0.1 s late.
    assert all(-0.101 <= at - 0.02 * frame <= 0.101 for frame, at in enumerate(left))


def test_answers_stand_between_the_frames_in_the_order_they_were_made() -> None:
    """Numbers rise by one over everything that is said, although both sides talk at once."""
    service = Service()

    async def chat(socket: ServerConnection) -> None:
        heard = []
        async for message in socket:
            heard.append(str(message))
            if "audio" in str(message):
                await socket.send("ping")
        service.heard.append(heard)

    run(chat, lambda _: ScriptedEmulator(), tones(40), fast())
    assert [int(message.split()[0]) for message in service.heard[0]] == list(
        range(1, len(service.heard[0]) + 1)
    )
    assert "echo ping" in service.words()


def test_audio_waits_until_the_carrier_may_send_it() -> None:
    """An emulator that is not ready is given no frame before the service's word."""
    emulator, service = ScriptedEmulator(), Service()
    emulator.ready = False

    async def hesitate(socket: ServerConnection) -> None:
        assert await socket.recv() == "1 open"
        await socket.send("ready")
        await service.listen(socket)

    run(hesitate, lambda _: emulator, tones(2), fast())
    assert service.words() == ["echo ready", *audio(0, 1), "close"]


def test_the_farewell_is_waited_for() -> None:
    """A carrier that wants an answer closes after it."""
    emulator, service = ScriptedEmulator(), Service()
    emulator.ended = False

    async def answer(socket: ServerConnection) -> None:
        async for message in socket:
            if str(message).endswith("close"):
                await socket.send("bye")
        service.closed.append(socket.close_code)

    run(answer, lambda _: emulator, tones(1), fast())
    assert service.closed == [1000]


def test_a_carrier_that_has_come_to_its_end_plays_no_more() -> None:
    """A probe opens and closes by itself: an endless recording is not played to its end."""
    emulator, service = ScriptedEmulator(), Service()
    emulator.ended = False

    async def answer(socket: ServerConnection) -> None:
        await socket.send("bye")
        await service.listen(socket)

    def endless() -> Iterator[Sequence[PcmArray]]:
        while True:
            yield from tones(50)

    played = run(answer, lambda _: emulator, endless(), Playing(Pace(50.0), patience_s=10.0))
    assert played.connections == 1
    assert service.words()[-1] == "close"
    assert service.closed == [1000]


def test_where_the_service_closes_it_is_waited_for() -> None:
    """Its close code 1000 is a good end, another is not."""

    class Patient(ScriptedEmulator):
        server_closes = True

    def closing(code: int) -> Script:
        async def close(socket: ServerConnection) -> None:
            async for message in socket:
                if str(message).endswith("close"):
                    await socket.close(code, "because")

        return close

    assert run(closing(1000), lambda _: Patient(), tones(1), fast()).frames == 1
    with pytest.raises(ClientError, match=r"ended the call with code 1011 \(because\)"):
        run(closing(1011), lambda _: Patient(), tones(1), fast())


def test_a_pause_keeps_audio_back() -> None:
    """Nothing is said between the words for pausing and resuming, and the carrier is told how long it was."""
    service = Service()
    trouble = Trouble(pauses=(Stretch(0.04, 0.06), Stretch(0.16, 9.0)), keys=(Key(0.1, "5"), Key(0.06, "#")))
    played = run(service.listen, lambda _: ScriptedEmulator(), tones(10), fast(trouble))
    assert service.words() == [
        "open",
        *audio(0, 1),
        "pause",
        "key #",
        "key 5",
        "resume 3",
        *audio(5, 6, 7),
        "pause",
        "resume 2",
        "close",
    ]
    assert played.frames == 5


def test_a_frame_that_waits_for_its_successor_does_not_wait_through_a_pause() -> None:
    """Nor beyond the end of the call."""
    service = Service()
    trouble = Trouble(reorder=1.0, pauses=(Stretch(0.02, 0.02),))
    run(service.listen, lambda _: ScriptedEmulator(), tones(5), fast(trouble))
    assert service.words() == ["open", *audio(0), "pause", "resume 1", *audio(3, 2, 4), "close"]


def test_lost_messages_were_still_made() -> None:
    """The numbers of what arrives have holes where something was lost."""
    service = Service()
    played = run(
        service.listen, lambda _: ScriptedEmulator(), tones(200), fast(Trouble(loss=0.2, duplicate=0.1))
    )
    numbers = [int(message.split()[0]) for message in service.heard[0]]
    assert numbers[-1] == 202
    assert 202 - len(set(numbers)) == played.tally.lost > 10
    assert len(numbers) - len(set(numbers)) == played.tally.duplicated > 5


def test_a_cut_says_no_farewell() -> None:
    """What was said before it arrives; the connection ends without a close frame."""
    service = Service()
    played = run(service.listen, lambda _: ScriptedEmulator(), tones(10), fast(Trouble(drop_at_s=0.1)))
    assert service.words() == ["open", *audio(*range(5))]
    assert service.closed == [1006]
    assert (played.frames, played.connections, played.cut) == (5, 1, True)


def test_the_rest_goes_over_a_second_connection() -> None:
    """With a fresh emulator, from the frame at which the first was cut."""
    service, made = Service(), []

    def fresh(number: int) -> Emulator:
        made.append(number)
        return ScriptedEmulator()

    trouble = Trouble(drop_at_s=0.1, reconnect=True)
    played = run(service.listen, fresh, tones(10), fast(trouble))
    assert service.words(0) == ["open", *audio(*range(5))]
    assert service.words(1) == ["open", *audio(*range(5, 10)), "close"]
    assert service.closed == [1006, 1000]
    assert made == [0, 1]
    assert (played.frames, played.connections, played.cut) == (10, 2, False)


def test_the_last_frame_is_filled_with_silence() -> None:
    """Carriers send whole packets."""
    emulator = ScriptedEmulator()
    sizes: list[int] = []

    class Measuring(ScriptedEmulator):
        def audio(self, frames: Sequence[PcmArray]) -> list[Message]:
            sizes.append(len(frames[0]))
            return super().audio(frames)

    emulator = Measuring()
    run(Service().listen, lambda _: emulator, [*tones(1), *tones(1, samples=7)], fast())
    assert sizes == [160, 160]


def test_everything_heard_and_every_connection_is_passed_on() -> None:
    """For those that show or count it."""
    heard: list[Message] = []
    connected: list[Emulator] = []

    async def greet(socket: ServerConnection) -> None:
        await socket.send("hello")
        await Service().listen(socket)

    emulator = ScriptedEmulator()
    playing = fast(on_message=heard.append, on_connected=connected.append)
    run(greet, lambda _: emulator, tones(3), playing)
    assert heard == ["hello"]
    assert connected == [emulator]


def test_a_native_call_arrives_as_it_was_played() -> None:
    """Through the real parser: start, audio of both legs, a pause that takes its time, stop."""
    events: list[WireEvent] = []

    async def serve_native(socket: ServerConnection) -> None:
        protocol = NativeProtocol()
        await socket.send('{"type":"ready","call_id":"given"}')
        async for message in socket:
            read = protocol.receive_text if isinstance(message, str) else protocol.receive_bytes
            events.extend(read(message))  # type: ignore[operator]
            if isinstance(events[-1], Stop):
                await socket.close(1000)

    call = EmulatedCall(
        "c-1",
        (Leg.CUSTOMER, Leg.AGENT),
        encoding=Encoding.PCM_S16LE,
        parameters={"line": "sales", "consent": "true", "order": "7"},
        secrets={"api_key": "k" * 16},
    )
    emulator = NativeEmulator(call)
    assert emulator.recorded_as == "c-1"
    assert emulator.handshake() == Handshake("/v1/stream", {"Authorization": "Bearer " + "k" * 16})
    frames = tones(10, legs=2)
    run(serve_native, lambda _: emulator, frames, fast(Trouble(pauses=(Stretch(0.1, 0.04),))))
    assert emulator.recorded_as == "given"
    start = events[0]
    assert isinstance(start, Start)
    assert start.call.line == "sales"
    assert start.call.consent
    assert start.call.metadata == {"order": "7"}
    assert [type(event) for event in events[1:]] == [Audio] * 5 + [Pause] + [Audio] * 2 + [Resume] + [
        Audio
    ] * 3 + [Stop]
    pcm = [
        decode(event.packet.payload, Encoding.PCM_S16LE).reshape(-1, 2)[0].tolist()
        for event in events
        if isinstance(event, Audio)
    ]
    silent = [[0, 0]] * 2
    kept = [[n, 1000 + n] for n in (0, 1, 2, 3, 4, 7, 8, 9)]
    assert pcm == kept[:5] + silent + kept[5:]


@pytest.mark.parametrize("drop_at_s", [None, 0.1])
def test_a_call_over_tcp(drop_at_s: float | None) -> None:
    """AudioSocket through the real parser; a cut and an end look the same, and what was sent arrives whole."""
    events: list[WireEvent] = []

    async def serve_audiosocket(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        protocol = AudioSocketProtocol(CarrierConfig(), UpgradeRequest(path=""))
        while data := await reader.read(100):
            events.extend(protocol.receive_bytes(data, 0.0))
        for farewell in protocol.farewell(None, False):
            writer.write(farewell if isinstance(farewell, bytes) else farewell.encode())
        writer.close()
        await writer.wait_closed()

    async def go() -> Played:
        server = await asyncio.start_server(serve_audiosocket, "127.0.0.1", 0)
        async with server:
            url = f"tcp://127.0.0.1:{server.sockets[0].getsockname()[1]}"
            trouble = Trouble(keys=(Key(0.04, "5"),), drop_at_s=drop_at_s)
            return await play(lambda _: AudiosocketEmulator(CALL), url, tones(10), fast(trouble))

    played = asyncio.run(go())
    count = 10 if drop_at_s is None else 5
    assert [type(event) for event in events] == [Start, Audio, Audio, Dtmf] + [Audio] * (count - 2)
    heard = [decode(e.packet.payload, Encoding.PCM_S16LE)[0] for e in events if isinstance(e, Audio)]
    assert heard == list(range(count))
    assert played.cut == (drop_at_s is not None)
