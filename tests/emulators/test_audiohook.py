"""The AudioHook emulator against the parser in memory, and what it holds against a server."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import orjson
import pytest

from app.audio.g711 import PcmArray, decode_ulaw, encode_ulaw
from app.domain import Leg
from app.emulators.audiohook import AudiohookEmulator, signature_headers
from app.emulators.base import EmulatedCall, Message
from app.wire.audiohook import AudioHookProtocol
from app.wire.audiohook_auth import AudioHookAuthenticator
from app.wire.base import (
    Audio,
    Dtmf,
    Gap,
    GapKind,
    Notice,
    Pause,
    Reply,
    Resume,
    Start,
    Stop,
    WireError,
    WireEvent,
)
from app.wire.carrier import CarrierConfig, RefusedError, UpgradeRequest

CALL_ID = "44444444-4444-4444-8444-444444444444"
SECRET = "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8="
BOTH = (Leg.CUSTOMER, Leg.AGENT)
FRAME = 160


def speech(frames: int, seed: int) -> PcmArray:
    """Samples that µ-law keeps as they are, so that they can be compared."""
    noise = np.random.default_rng(seed).normal(0, 4_000, frames * FRAME)
    return decode_ulaw(encode_ulaw(noise.astype(np.int16)))


def request_of(emulator: AudiohookEmulator, host: str = "localhost") -> UpgradeRequest:
    """The emulator's handshake as the service gets it."""
    shaken = emulator.handshake()
    path, _, query = shaken.target.partition("?")
    headers = {name.lower(): value for name, value in shaken.headers.items()} | {"host": host}
    return UpgradeRequest(path=path, query=query, headers=headers)


class Line:
    """The emulator and the parser in memory: each hears at once what the other says."""

    def __init__(self, config: CarrierConfig | None = None, **call: Any) -> None:
        fields: dict[str, Any] = {"call_id": CALL_ID, "legs": BOTH, "path": "/v1/ingest/audiohook"}
        self.emulator = AudiohookEmulator(EmulatedCall(**(fields | call)))
        self.protocol = AudioHookProtocol(config or CarrierConfig(), request_of(self.emulator))
        self.events: list[WireEvent] = []
        self.sent: list[Message] = []
        self.deaf = False  # the server answers nothing

    def send(self, messages: Sequence[Message]) -> None:
        """Bring messages to the parser, its replies back, and so on."""
        for message in messages:
            self.sent.append(message)
            if isinstance(message, bytes):
                events = self.protocol.receive_bytes(message, 0.0)
            else:
                events = self.protocol.receive_text(message, 0.0)
            for event in events:
                if not isinstance(event, Reply):
                    self.events.append(event)
                elif not self.deaf:
                    self.send(self.emulator.receive(event.payload))

    def say(self, payloads: Sequence[Message]) -> None:
        """Bring the service's own words to the emulator."""
        for payload in payloads:
            self.send(self.emulator.receive(payload))

    def play(self, legs: Sequence[PcmArray]) -> None:
        """Every frame of the legs."""
        for start in range(0, len(legs[0]), FRAME):
            self.send(self.emulator.audio([leg[start : start + FRAME] for leg in legs]))

    def end(self) -> None:
        """The close of the client, and the farewell of the service."""
        self.send(self.emulator.closing())
        self.say(self.protocol.farewell(None, draining=False))

    def heard(self) -> tuple[bytes, list[int]]:
        """All audio, and where it starts."""
        packets = [event.packet for event in self.events if isinstance(event, Audio)]
        positions = [packet.position_samples for packet in packets]
        return b"".join(packet.payload for packet in packets), [at for at in positions if at is not None]

    def said(self, kind: str) -> list[dict[str, Any]]:
        """The emulator's messages of a type."""
        texts = [orjson.loads(message) for message in self.sent if isinstance(message, str)]
        return [text for text in texts if text["type"] == kind]

    def kinds(self) -> list[str]:
        """The events' kinds, runs of one kind once."""
        names = [type(event).__name__ for event in self.events]
        return [name for index, name in enumerate(names) if index == 0 or names[index - 1] != name]


def test_the_audio_comes_out_as_it_went_in() -> None:
    """Both legs, in messages of 100 ms, the customer first; the rest before `close`."""
    line = Line(legs=(Leg.AGENT, Leg.CUSTOMER))
    assert not line.emulator.ready
    line.send(line.emulator.opening())
    assert line.emulator.ready
    agent, customer = speech(23, 1), speech(23, 2)
    line.play([agent, customer])
    assert not line.emulator.ended
    line.end()
    assert line.emulator.ended
    assert line.emulator.problem is None
    payload, positions = line.heard()
    decoded = decode_ulaw(np.frombuffer(payload, dtype=np.uint8)).reshape(-1, 2)
    assert np.array_equal(decoded[:, 0], customer)
    assert np.array_equal(decoded[:, 1], agent)
    assert positions == [0, 800, 1_600, 2_400, 3_200]
    assert line.kinds() == ["Start", "Audio", "Stop"]
    start = line.events[0]
    assert isinstance(start, Start)
    assert start.call.call_id == line.emulator.recorded_as == CALL_ID
    assert start.call.format.channels == (Leg.CUSTOMER, Leg.AGENT)


@pytest.mark.parametrize("leg", BOTH)
def test_one_leg_alone(leg: Leg) -> None:
    """A mono session says whose side it is."""
    line = Line(legs=(leg,))
    line.send(line.emulator.opening())
    samples = speech(7, 3)
    line.play([samples])
    line.end()
    start = line.events[0]
    assert isinstance(start, Start)
    assert start.call.format.channels == (leg,)
    assert np.array_equal(decode_ulaw(np.frombuffer(line.heard()[0], dtype=np.uint8)), samples)
    assert line.emulator.problem is None


def test_parameters_are_custom_config() -> None:
    """What the site adds, the token, the language; `inbound_is` turns the sides on both ends."""
    parameters = {"language": "de-AT", "desk": "7", "inbound_is": "agent"}
    line = Line(CarrierConfig(message_secret="t0k"), parameters=parameters, message_secret="t0k")
    line.send(line.emulator.opening())
    (opening,) = line.said("open")
    assert opening["parameters"]["customConfig"] == {"desk": "7", "inbound_is": "agent", "token": "t0k"}
    start = line.events[0]
    assert isinstance(start, Start)
    assert (start.call.language, start.call.metadata["desk"]) == ("de-AT", "7")
    assert start.call.format.channels == (Leg.AGENT, Leg.CUSTOMER)
    agent, customer = speech(5, 1), speech(5, 2)
    line.play([customer, agent])
    decoded = decode_ulaw(np.frombuffer(line.heard()[0], dtype=np.uint8)).reshape(-1, 2)
    assert np.array_equal(decoded[:, 0], agent)


def test_an_id_that_is_no_uuid_becomes_one() -> None:
    """The same for the same id, so that the call can be asked for."""
    one, same, other = (Line(call_id=name).emulator.recorded_as for name in ("call-1", "call-1", "call-2"))
    assert one == same != other


def test_the_probe() -> None:
    """Null ids, no audio, `close` at once: nothing is started, nothing stays open."""
    line = Line(parameters={"probe": "true"})
    line.send(line.emulator.opening())
    (opening,) = line.said("open")
    assert opening["parameters"]["conversationId"] == "00000000-0000-0000-0000-000000000000"
    assert opening["parameters"]["participant"]["ani"] == ""
    assert "customConfig" not in opening["parameters"]
    assert line.events == [Stop()]
    line.say(line.protocol.farewell(None, draining=False))
    assert line.emulator.ready
    assert line.emulator.ended
    line.play([speech(5, 1), speech(5, 2)])
    assert line.emulator.closing() == []
    assert [orjson.loads(text)["type"] for text in line.sent] == ["open", "close"]
    assert line.emulator.problem is None


def test_pings_are_answered() -> None:
    """The first after 1 s, the second right after its pong, then every 5 s from the first."""
    line = Line()
    line.send(line.emulator.opening())
    times = []
    for frame in range(600):
        before = len(line.said("ping"))
        line.send(line.emulator.elapse(frame * 0.02))
        times += [frame * 0.02] * (len(line.said("ping")) - before)
    assert times == [1.0, 1.0, 6.0, 11.0]
    pings = line.said("ping")
    assert pings[0]["parameters"] == {}
    assert pings[1]["parameters"] == {"rtt": "PT0.01S"}
    line.end()
    assert line.emulator.elapse(60.0) == []
    assert line.emulator.problem is None


def test_a_pong_that_does_not_come_is_a_problem() -> None:
    """When the next ping falls due: error 408, and the session is closed."""
    line = Line()
    line.send(line.emulator.opening())
    line.deaf = True
    line.send(line.emulator.elapse(1.0))
    assert line.emulator.elapse(5.9) == []
    line.send(line.emulator.elapse(6.0))
    assert line.emulator.problem == "408: a ping was not answered before the next"
    assert line.said("error")[0]["parameters"]["code"] == 408
    assert line.said("close")[0]["parameters"] == {"reason": "error"}
    assert line.emulator.closing() == []


def test_a_pause_of_the_carrier() -> None:
    """`resumed` states what was left out, and the audio after it starts there."""
    line = Line()
    line.send(line.emulator.opening())
    line.play([speech(7, 1), speech(7, 2)])
    line.send(line.emulator.pause())
    assert line.emulator.pause() == []
    line.send(line.emulator.resume(50))
    line.play([speech(5, 1), speech(5, 2)])
    line.end()
    assert line.said("paused")[0]["position"] == "PT0.14S"
    assert line.said("resumed")[0]["parameters"] == {"start": "PT0.14S", "discarded": "PT1S"}
    assert line.kinds() == ["Start", "Audio", "Pause", "Gap", "Resume", "Audio", "Stop"]
    assert Gap(GapKind.PAUSED, until_samples=57 * FRAME) in line.events
    assert line.heard()[1] == [0, 800, 57 * FRAME]
    assert line.emulator.problem is None


def test_a_pause_of_the_service() -> None:
    """Nothing is sent until it resumes; time passes. The carrier's own pause outlives it."""
    line = Line()
    line.send(line.emulator.opening())
    line.play([speech(5, 1), speech(5, 2)])
    line.say(line.protocol.paused(True))
    line.say(line.protocol.paused(True))
    line.play([speech(25, 1), speech(25, 2)])
    line.send(line.emulator.pause())
    line.say(line.protocol.paused(False))
    assert line.said("resumed") == []
    line.send(line.emulator.resume(10))
    line.play([speech(5, 1), speech(5, 2)])
    assert len(line.said("paused")) == 3
    assert line.said("resumed")[0]["parameters"] == {"start": "PT0.1S", "discarded": "PT0.7S"}
    assert [event for event in line.events if isinstance(event, Pause | Resume)] == [
        Pause("carrier"),
        Resume("carrier"),
    ]
    assert line.heard()[1] == [0, 40 * FRAME]
    line.say(line.protocol.paused(False))  # not needed, and answered
    assert line.said("resumed")[1]["parameters"] == {"start": "PT0.9S", "discarded": "PT0S"}
    line.say(line.protocol.paused(True))
    line.play([speech(5, 1), speech(5, 2)])
    line.end()
    assert line.events[-2:] == [Gap(GapKind.PAUSED, until_samples=50 * FRAME), Stop()]
    assert line.emulator.problem is None


def test_a_pause_of_both_ends_with_the_service() -> None:
    """The carrier goes on, the service not yet."""
    line = Line()
    line.send(line.emulator.opening())
    line.send(line.emulator.pause())
    line.say(line.protocol.paused(True))
    assert line.emulator.resume(5) == []
    assert line.emulator.resume(0) == []
    line.say(line.protocol.paused(False))
    assert line.said("resumed")[0]["parameters"] == {"start": "PT0S", "discarded": "PT0.1S"}


def test_keys_are_told_by_the_connector_only() -> None:
    """The Monitor has no message for them."""
    assert Line().emulator.dtmf("1") == []
    line = Line(parameters={"connector": "true"})
    line.send(line.emulator.opening())
    line.play([speech(2, 1), speech(2, 2)])
    line.send(line.emulator.dtmf("1"))
    assert line.kinds() == ["Start", "Audio", "Dtmf"]
    assert line.events[-1] == Dtmf("1")


def test_results_come_as_events() -> None:
    """Where the site asks for them; the emulator takes any entity."""
    line = Line(CarrierConfig(options={"entity": "kowairo.emotion"}))
    line.send(line.emulator.opening())
    line.say(line.protocol.result('{"type":"utterance","emotion":"joy"}'))
    line.end()
    assert line.emulator.problem is None


def test_a_drained_session_is_closed() -> None:
    """`disconnect`, `close`, `closed`: the call is over, without a fault."""
    line = Line()
    line.send(line.emulator.opening())
    line.say(line.protocol.farewell(None, draining=True))
    assert line.said("close")[0]["parameters"] == {"reason": "disconnect"}
    assert line.emulator.hung_up
    assert line.emulator.ended
    assert line.emulator.problem is None
    assert line.emulator.audio([speech(1, 1), speech(1, 2)]) == []
    assert line.emulator.closing() == line.emulator.receive(line_message(line, "pause")) == []


def test_a_refusal_is_a_problem() -> None:
    """`disconnect` with its reason, and what the server says of it."""
    line = Line(CarrierConfig(message_secret="t0k"))
    with pytest.raises(WireError) as caught:
        line.send(line.emulator.opening())
    line.say(line.protocol.farewell(caught.value, draining=False))
    assert line.emulator.problem == "disconnect, unauthorized: unauthorized"
    assert line.emulator.ended


def line_message(line: Line, kind: str, **fields: Any) -> str:
    """A message of a server; a field of None is left out."""
    opening = orjson.loads(line.emulator.opening()[0]) if not line.sent else orjson.loads(line.sent[0])
    message = {
        "version": "2",
        "type": kind,
        "id": opening["id"],
        "seq": line.emulator._server_seq + 1,
        "clientseq": line.emulator._seq,
        "parameters": {},
    } | fields
    return orjson.dumps({name: value for name, value in message.items() if value is not None}).decode()


@pytest.mark.parametrize(
    ("said", "problem"),
    [
        (b"\xff", "415: a binary message was sent"),
        ("{", "400: a message is not JSON"),
        (" " * 65_536, "413: a message is too large"),
        ("[]", "400: a message lacks the version or the session's id"),
        ({"version": "1"}, "400: a message lacks the version or the session's id"),
        ({"id": "x"}, "400: a message lacks the version or the session's id"),
        ({"parameters": None}, "400: a message lacks type or parameters"),
        ({"type": 1}, "400: a message lacks type or parameters"),
        ({"seq": 3}, "400: seq is not the number after that of the message before"),
        ({"clientseq": 2}, "400: clientseq is not a number that was sent"),
        ({"clientseq": None}, "400: clientseq is not a number that was sent"),
        ({"type": "paused"}, "400: a message has a type that is unknown"),
        ({"type": "opened"}, "409: 'opened' came twice"),
        ({"type": "pong"}, "409: a pong came without a ping"),
        ({"type": "closed"}, "409: 'closed' came before 'close'"),
        ({"type": "event"}, "400: an event lacks its entities"),
        ({"type": "event", "parameters": {"entities": [{"type": "x"}]}}, "400: an event lacks its entities"),
        ({"type": "disconnect"}, "400: a disconnect lacks its reason"),
    ],
)
def test_what_the_carrier_does_not_take(said: Any, problem: str) -> None:
    """The first problem is kept; the session is closed with the reference client's error."""
    line = Line()
    line.send(line.emulator.opening())
    message = line_message(line, "pong", **said) if isinstance(said, dict) else said
    answers = [orjson.loads(text) for text in line.emulator.receive(message)]
    assert line.emulator.problem == problem
    assert [answer["type"] for answer in answers] == ["error", "close"]
    assert answers[0]["parameters"]["code"] == int(problem[:3])
    assert line.emulator.receive(b"again") == []
    assert line.emulator.problem == problem


@pytest.mark.parametrize(
    ("parameters", "problem"),
    [
        ({}, "400: more than one media was selected, or none stated"),
        ({"media": [1, 2]}, "400: more than one media was selected, or none stated"),
        ({"media": [{"type": "audio"}]}, "400: the selected media is not one of those offered"),
    ],
)
def test_an_answer_that_picks_nothing_of_the_offer(parameters: Any, problem: str) -> None:
    """`opened` must copy one element."""
    line = Line()
    opening = line.emulator.opening()
    line.sent += opening
    line.emulator.receive(line_message(line, "opened", parameters=parameters))
    assert line.emulator.problem == problem


def test_a_pong_with_another_number() -> None:
    """Its `clientseq` must be the ping's `seq`."""
    line = Line()
    line.send(line.emulator.opening())
    line.deaf = True
    line.send(line.emulator.elapse(1.0))
    line.emulator.receive(line_message(line, "pong", clientseq=1))
    assert line.emulator.problem == "400: clientseq of a pong is not the ping's seq"


def test_a_session_that_starts_paused() -> None:
    """`startPaused` is answered by `paused`; other words of a server are taken."""
    line = Line()
    line.sent += line.emulator.opening()
    media = orjson.loads(line.sent[0])["parameters"]["media"]
    opened = {"media": media[:1], "startPaused": True}
    (paused,) = line.emulator.receive(line_message(line, "opened", parameters=opened))
    assert orjson.loads(paused)["type"] == "paused"
    for kind in ("updated", "reconnect"):
        assert line.emulator.receive(line_message(line, kind)) == []
    assert line.emulator.problem is None


@pytest.mark.parametrize("origin", [None, "wss://Kowairo.example", "wss://kowairo.example:8443"])
def test_the_handshake_is_signed(origin: str | None) -> None:
    """The authenticator admits it, once; with another secret it does not."""
    config = CarrierConfig(secrets={"k+y/1=": SECRET}, public_origin=origin)
    call = EmulatedCall(
        CALL_ID, BOTH, path="/v1/ingest/audiohook/s3cret", query="line=a", host="localhost:8000",
        public_origin=origin, secrets=config.secrets, now_s=1_760_000_000.7,
    )  # fmt: skip
    door = AudioHookAuthenticator(config)
    request = request_of(AudiohookEmulator(call), "localhost:8000")
    door.check(request, 1_760_000_001.0)
    with pytest.raises(RefusedError, match="signature_replayed"):
        door.check(request, 1_760_000_001.0)
    wrong = AudioHookAuthenticator(CarrierConfig(secrets={"k+y/1=": "AAAA"}, public_origin=origin))
    with pytest.raises(RefusedError, match="signature_invalid"):
        wrong.check(request, 1_760_000_001.0)


def test_a_key_without_secret_signs_nothing() -> None:
    """It shows the key."""
    call = EmulatedCall(CALL_ID, BOTH, path="/p", secrets={"key": ""})
    request = request_of(AudiohookEmulator(call))
    assert "signature" not in request.headers
    AudioHookAuthenticator(CarrierConfig(secrets={"key": ""})).check(request, 0.0)


def test_the_vector_of_the_protocol_page() -> None:
    """The signature is that of the page."""
    values = {
        "@request-target": "/v1/audiohook?tenant=a",
        "@authority": "kowairo.example:8443",
        "audiohook-organization-id": "11111111-1111-4111-8111-111111111111",
        "audiohook-session-id": "22222222-2222-4222-8222-222222222222",
        "audiohook-correlation-id": "33333333-3333-4333-8333-333333333333",
        "x-api-key": "kowairo-test-key",
    }
    headers = signature_headers(
        values, "kowairo-test-key", bytes(range(32)), 1_760_000_000, "a293YWlyby1ub25jZS0wMDAx"
    )
    assert headers["Signature"] == "sig1=:vJ7uGUc2nHZY2BlDygHo9/0zQjFrVB/0QfXfPrVucns=:"


@pytest.mark.parametrize(
    "call", [{"sample_rate_hz": 16_000}, {"legs": (Leg.MIXED,)}, {"legs": (Leg.AGENT, Leg.AGENT)}]
)
def test_what_the_carrier_cannot_send(call: dict[str, Any]) -> None:
    """8 kHz, sides apart."""
    with pytest.raises(ValueError, match="audiohook sends"):
        Line(**call)


def test_lost_audio_is_lost() -> None:
    """A message that trouble kept back shows in the position of `close`."""
    line = Line()
    line.send(line.emulator.opening())
    line.play([speech(5, 1), speech(5, 2)])
    for _ in range(5):
        line.emulator.audio([speech(1, 1), speech(1, 2)])
    line.end()
    assert line.events[-2:] == [Gap(GapKind.LOST, until_samples=1_600), Stop()]
    assert not any(isinstance(event, Notice) for event in line.events)
