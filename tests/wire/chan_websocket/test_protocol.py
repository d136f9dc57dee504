"""chan_websocket: both kinds of control, formats, early audio, pauses; every bad input with its answer."""

from __future__ import annotations

import json
from typing import Any

import pytest

from app.domain import AudioFormat, AudioPacket, CallStart, Encoding, Leg
from app.wire.base import Audio, CloseCode, Dtmf, Gap, GapKind, Notice, Start, WireError, WireEvent
from app.wire.carrier import CarrierConfig, RefusedError, UpgradeRequest
from app.wire.chan_websocket import (
    CARRIER,
    FORMATS,
    MAX_BINARY_BYTES,
    MAX_EARLY_MESSAGES,
    OPTIONS,
    ChanWebsocketProtocol,
    parse_plain,
)
from app.wire.envelope import MAX_TEXT_BYTES

JSON_START = (
    '{"event":"MEDIA_START","connection_id":"kowairo","channel":"WebSocket/kowairo/0x7f10c4002a50",'
    '"channel_id":"1760000000.7","format":"ulaw","optimal_frame_size":160,"ptime":20,"channel_variables":'
    '{"MEDIA_WEBSOCKET_CONNECTION_ID":"kowairo","MEDIA_WEBSOCKET_OPTIMAL_FRAME_SIZE":"160"}}'
)
PLAIN_START_22_6 = (
    "MEDIA_START connection_id:kowairo channel:WebSocket/kowairo/0x7f10c4002a50 format:slin "
    "optimal_frame_size:320 ptime:20"
)
PLAIN_START_22_7 = (
    "MEDIA_START connection_id:kowairo channel:WebSocket/kowairo/0x7f10c4002a50 channel_id:1760000000.7 "
    "format:slin optimal_frame_size:320 ptime:20"
)
EXTRA = {
    "carrier": "chan_websocket",
    "channel": "WebSocket/kowairo/0x7f10c4002a50",
    "channel_id": "1760000000.7",
    "connection_id": "kowairo",
}


def protocol(query: str = "", **config: Any) -> ChanWebsocketProtocol:
    """A connection of a site with this configuration."""
    return ChanWebsocketProtocol(CarrierConfig(**config), UpgradeRequest("/v1/asterisk", query))


def started(text: str = JSON_START, query: str = "", **config: Any) -> ChanWebsocketProtocol:
    """A connection whose call has started."""
    made = protocol(query, **config)
    made.receive_text(text, 0.0)
    return made


def call(text: str, query: str = "", **config: Any) -> CallStart:
    """The call that a first text describes."""
    event = protocol(query, **config).receive_text(text, 0.0)[0]
    assert isinstance(event, Start)
    return event.call


def start(**fields: Any) -> str:
    """A JSON start with other fields; None leaves one out."""
    merged = json.loads(JSON_START) | fields
    return json.dumps({name: value for name, value in merged.items() if value is not None})


def refused(made: ChanWebsocketProtocol, message: str | bytes) -> WireError:
    """The error that a message raises; nothing is read after it."""
    with pytest.raises(WireError) as caught:
        receive(made, message)
    assert receive(made, b"\xff") == []
    assert receive(made, JSON_START) == []
    return caught.value


def receive(made: ChanWebsocketProtocol, message: str | bytes, now_s: float = 0.0) -> list[WireEvent]:
    """Hand over a text or a binary message."""
    if isinstance(message, str):
        return made.receive_text(message, now_s)
    return made.receive_bytes(message, now_s)


def codes(events: list[WireEvent]) -> list[str]:
    """The codes of the notices."""
    return [event.code for event in events if isinstance(event, Notice)]


def test_the_json_vector() -> None:
    """The page's call, as Asterisk tells it in JSON."""
    made = protocol("leg=customer")
    expected = CallStart(
        "1760000000.7", AudioFormat(Encoding.PCM_MULAW, 8_000, (Leg.CUSTOMER,)), metadata=EXTRA
    )
    assert made.receive_text(JSON_START, 0.0) == [Start(expected)]
    assert made.receive_bytes(b"\xff" * 160, 0.0) == [Audio(AudioPacket(b"\xff" * 160))]
    key = '{"event":"DTMF_END","channel_id":"1760000000.7","digit":"5"}'
    assert made.receive_text(key, 0.0) == [Dtmf("5", track=0)]
    status = (
        '{"event":"STATUS","channel_id":"1760000000.7","queue_length":0,"xon_level":800,"xoff_level":900,'
        '"queue_full":false,"bulk_media":false,"media_paused":false}'
    )
    assert made.receive_text(status, 0.0) == []
    assert made.lost() == []


@pytest.mark.parametrize(
    ("text", "key", "call_id"),
    [
        (PLAIN_START_22_6, "DTMF_END digit:#", "WebSocket-kowairo-0x7f10c4002a50"),
        (PLAIN_START_22_7, "DTMF_END digit:# channel_id:1760000000.7", "1760000000.7"),
    ],
)
def test_the_plain_vectors(text: str, key: str, call_id: str) -> None:
    """The page's call in plain text, of two versions: with a channel id and without."""
    made = protocol()
    (event,) = made.receive_text(text, 0.0)
    assert isinstance(event, Start)
    assert event.call.call_id == call_id
    assert event.call.format == AudioFormat(Encoding.PCM_S16LE, 8_000, (Leg.CUSTOMER,))
    assert event.call.metadata["channel"] == "WebSocket/kowairo/0x7f10c4002a50"
    assert made.receive_text(key, 0.0) == [Dtmf("#", track=0)]
    assert made.paused(True) == []


def test_plain_text_is_read_to_its_first_colons() -> None:
    """Values hold colons, the error's text holds spaces, and a token without a colon is nothing."""
    assert parse_plain("MEDIA_START channel:SIP/a:b/c odd  format:ulaw :x") == {
        "event": "MEDIA_START",
        "channel": "SIP/a:b/c",
        "format": "ulaw",
    }
    assert parse_plain("ERROR channel_id:1.2 error_text:not supported in: x") == {
        "event": "ERROR",
        "channel_id": "1.2",
        "error_text": "not supported in: x",
    }
    assert parse_plain("MEDIA_XOFF") == {"event": "MEDIA_XOFF"}


@pytest.mark.parametrize("name", list(FORMATS))
def test_every_format_that_can_be_read(name: str) -> None:
    """G.711 and slin of every rate, in both kinds of control."""
    expected = AudioFormat(*FORMATS[name], (Leg.CUSTOMER,))
    assert call(start(format=name)).format == call(f"MEDIA_START format:{name}").format == expected


def test_parameters_come_from_the_query_and_from_channel_variables() -> None:
    """The query wins; Asterisk's own variables are left out; a token is asked for and not kept."""
    text = start(channel_variables={"leg": "customer", "queue": "a", "token": "s", "MEDIA_WEBSOCKET_X": "y"})
    made = call(text, "leg=agent&line=trunk-1&call=token%2042", message_secret="s")
    assert made.format.channels == (Leg.AGENT,)
    assert (made.line, made.call_id) == ("trunk-1", "token-42")
    assert made.metadata == EXTRA | {"queue": "a", "call": "token 42"}
    assert call(JSON_START, "call_id=c-1").call_id == "c-1"
    assert call(JSON_START, single=Leg.MIXED).format.channels == (Leg.MIXED,)


def test_the_dial_string_is_not_kept() -> None:
    """`Dial` puts it into a channel variable, with every option of `v()`: the token, too."""
    dialled = "kowairo/c(ulaw)f(json)d(in)v(leg=agent,token=s)"
    text = start(channel_variables={"DIALEDPEERNUMBER": dialled, "queue": "billing"})
    made = call(text, "leg=agent&token=s", message_secret="s")
    assert made.metadata == EXTRA | {"queue": "billing"}


def test_inherited_variables_lose_their_underscores() -> None:
    """`Set(__name=…)` arrives with them, `Set(_name=…)` without; to Asterisk, too, they are no part of the name."""
    variables = {"__leg": "agent", "__token": "s", "_queue": "billing", "__": "x", "__MEDIA_WEBSOCKET_X": "y"}
    made = call(start(channel_variables=variables), message_secret="s")
    assert made.format.channels == (Leg.AGENT,)
    assert made.metadata == EXTRA | {"queue": "billing"}


def test_a_call_without_any_id_gets_one() -> None:
    """Only `format` is needed."""
    first, second = call("MEDIA_START format:ulaw"), call('{"event":"MEDIA_START","format":"ulaw"}')
    assert len(first.call_id) == len(second.call_id) == 32
    assert first.call_id != second.call_id


def test_audio_that_overtakes_the_start_waits_for_it() -> None:
    """In its order, up to a second."""
    made = protocol()
    for index in range(MAX_EARLY_MESSAGES):
        assert made.receive_bytes(bytes([index]) * 160, index * 0.02) == []
    events = made.receive_text(JSON_START, 1.0)
    assert events[1:] == [Audio(AudioPacket(bytes([index]) * 160)) for index in range(MAX_EARLY_MESSAGES)]


@pytest.mark.parametrize(("size", "count"), [(160, MAX_EARLY_MESSAGES + 1), (32_001, 3), (96_001, 1)])
def test_more_than_a_second_before_the_start_is_refused(size: int, count: int) -> None:
    """By messages or by bytes."""
    made = protocol()
    for _ in range(count - 1):
        assert made.receive_bytes(bytes(size), 0.0) == []
    error = refused(made, bytes(size))
    assert (error.code, error.close_code) == ("out_of_order", CloseCode.POLICY)


def test_a_pause_of_ours_is_asked_for_and_its_time_is_paused() -> None:
    """SET_MEDIA_DIRECTION, and what Asterisk kept back meanwhile is no loss."""
    made = started()
    assert protocol().paused(True) == []
    made.receive_bytes(bytes(160), 0.0)
    assert made.paused(True) == ['{"command":"SET_MEDIA_DIRECTION","direction":"out"}']
    assert made.receive_bytes(bytes(160), 0.02) == [Audio(AudioPacket(bytes(160)))]
    assert made.paused(False) == ['{"command":"SET_MEDIA_DIRECTION","direction":"both"}']
    gap, audio = made.receive_bytes(bytes(160), 5.04)
    assert gap == Gap(GapKind.PAUSED, pytest.approx(5 * 8_000, abs=2))
    assert isinstance(audio, Audio)
    assert len(made.receive_bytes(bytes(160), 9.0)) == 1


def test_a_hole_in_the_arrivals_is_lost_audio() -> None:
    """Three seconds without audio."""
    made = started(start(format="slin16"))
    times = [index * 0.02 for index in range(50)] + [4 + index * 0.02 for index in range(100)]
    events = [event for now_s in times for event in made.receive_bytes(bytes(640), now_s)]
    (gap,) = [event for event in events if isinstance(event, Gap)]
    assert gap.kind is GapKind.LOST
    assert gap.samples == pytest.approx(3 * 16_000, abs=2)


def test_hanging_up_is_the_sites_choice() -> None:
    """HANGUP only where it is configured, after an error or when draining, in the call's own kind of control."""
    error = WireError("x", "x", "x", CloseCode.SERVER)
    on = {"options": {"hangup": "true"}}
    assert started().farewell(error, draining=True) == []
    assert started(**on).farewell(None, draining=False) == []
    assert started(**on).farewell(error, draining=False) == ['{"command":"HANGUP"}']
    assert started(PLAIN_START_22_6, **on).farewell(None, draining=True) == ["HANGUP"]
    assert protocol(**on).farewell(error, draining=False) == []


BAD: list[tuple[str | bytes, str, CloseCode]] = [
    ("{", "invalid_json", CloseCode.INVALID),
    ("{not json", "invalid_json", CloseCode.INVALID),
    ('{"event":NaN}', "invalid_json", CloseCode.INVALID),
    ("MEDIA_START format:ulaw channel:\ud800", "invalid_json", CloseCode.INVALID),
    ("x" * (MAX_TEXT_BYTES + 1), "message_too_big", CloseCode.TOO_BIG),
    (bytes(MAX_BINARY_BYTES + 1), "message_too_big", CloseCode.TOO_BIG),
    (start(format=None), "invalid_field", CloseCode.INVALID),
    (start(format=8), "invalid_field", CloseCode.INVALID),
    (start(format=""), "invalid_field", CloseCode.INVALID),
    (start(format="x" * 65), "invalid_field", CloseCode.INVALID),
    (start(format="opus"), "unsupported", CloseCode.UNSUPPORTED),
    (start(format="g722"), "unsupported", CloseCode.UNSUPPORTED),
    (start(format="ULAW"), "unsupported", CloseCode.UNSUPPORTED),
    ("MEDIA_START", "invalid_field", CloseCode.INVALID),
    ("MEDIA_START format:g729", "unsupported", CloseCode.UNSUPPORTED),
]


@pytest.mark.parametrize(("message", "code", "close"), BAD)
def test_what_is_bad_is_refused(message: str | bytes, code: str, close: CloseCode) -> None:
    """Each bad first message has its code and close code."""
    error = refused(protocol(), message)
    assert (error.code, error.close_code) == (code, close)


@pytest.mark.parametrize("text", ["HELLO", "[1]", '{"event":"MEDIA_START"}x', "MEDIA_START format:ulaw"])
def test_a_call_in_json_is_told_in_json(text: str) -> None:
    """The kind of control is the first text's; another one is an error."""
    assert refused(started(), text).code == "invalid_json"


def test_a_second_start_is_refused() -> None:
    """A connection is one call."""
    for text in (JSON_START, PLAIN_START_22_6):
        assert refused(started(text), text).code == "out_of_order"


@pytest.mark.parametrize("query", ["", "token=", "token=wrong", "token=secret&token=x"])
def test_a_missing_token_is_refused(query: str) -> None:
    """Where the site asks for one."""
    error = refused(protocol(query, message_secret="secret"), JSON_START)
    assert (error.code, error.close_code) == ("unauthorized", CloseCode.POLICY)


IGNORED = [
    '{"event":"MEDIA_XOFF","channel_id":"1"}',
    '{"event":"QUEUE_DRAINED"}',
    '{"event":"MEDIA_BUFFERING_COMPLETED","correlation_id":""}',
    '{"event":"SOMETHING_NEW","a":[1]}',
    '{"event":5}',
    '{"event":["MEDIA_START"]}',
    "{}",
]


@pytest.mark.parametrize("text", IGNORED)
def test_what_is_unknown_is_ignored(text: str) -> None:
    """Before the start and after it."""
    assert started().receive_text(text, 0.0) == []
    made = protocol()
    assert made.receive_text(text, 0.0) == []
    assert isinstance(made.receive_text(JSON_START, 0.0)[0], Start)


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ('{"event":"DTMF_END"}', "invalid_dtmf"),
        ('{"event":"DTMF_END","digit":"12"}', "invalid_dtmf"),
        ('{"event":"DTMF_END","digit":["1"]}', "invalid_dtmf"),
        ('{"event":"ERROR","error_text":"+15550100"}', "peer_error"),
    ],
)
def test_what_is_odd_is_noticed_once(text: str, code: str) -> None:
    """Without repeating what it said, and the call goes on."""
    made = started()
    (notice,) = made.receive_text(text, 0.0) + made.receive_text(text, 0.0)
    assert isinstance(notice, Notice)
    assert notice.code == code
    assert "555" not in notice.detail
    assert made.receive_bytes(b"\xff", 0.0) == [Audio(AudioPacket(b"\xff"))]


def test_a_key_before_the_start_is_left_out() -> None:
    """And noticed."""
    assert codes(protocol().receive_text("DTMF_END digit:1", 0.0)) == ["early_event"]


def test_an_empty_message_is_nothing() -> None:
    """Before the start and after it."""
    assert protocol().receive_bytes(b"", 0.0) == started().receive_bytes(b"", 0.0) == []


@pytest.mark.parametrize("options", [{"x": "y"}, {"hangup": "yes"}])
def test_unknown_options_are_refused(options: dict[str, str]) -> None:
    """By the protocol and by the authenticator."""
    with pytest.raises(ValueError, match="option"):
        protocol(options=options)
    with pytest.raises(ValueError, match="option"):
        CARRIER.new_authenticator(CarrierConfig(options=options))
    assert sorted(OPTIONS) == ["hangup"]


def test_the_vectors_credentials() -> None:
    """HTTP Basic, as websocket_client.conf sends it; the sub-protocol is `media`."""
    authenticator = CARRIER.new_authenticator(CarrierConfig(secrets={"tenant-a": "secret"}))
    headers = {"authorization": "Basic dGVuYW50LWE6c2VjcmV0"}
    authenticator.check(UpgradeRequest("/", headers=headers), 0.0)
    with pytest.raises(RefusedError):
        authenticator.check(UpgradeRequest("/"), 0.0)
    assert CARRIER.subprotocols == ("media",)
