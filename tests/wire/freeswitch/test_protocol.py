"""FreeSWITCH: three senders, their first frames, glued texts, pauses, shutdown; every bad input with its answer."""

from __future__ import annotations

import json
from typing import Any

import pytest

from app.domain import AudioFormat, AudioPacket, CallStart, Encoding, Leg
from app.wire.base import (
    Audio,
    CloseCode,
    Dtmf,
    Gap,
    GapKind,
    Metadata,
    Notice,
    Pause,
    Resume,
    Start,
    Stop,
    WireError,
    WireEvent,
)
from app.wire.carrier import CarrierConfig, RefusedError, UpgradeRequest
from app.wire.envelope import MAX_TEXT_BYTES
from app.wire.freeswitch import (
    CARRIER,
    EARLY_MESSAGES,
    MAX_BINARY_BYTES,
    MAX_RESULT_BYTES,
    MAX_UPDATES,
    OPTIONS,
    FreeswitchProtocol,
    glued_objects,
)

JAMBONZ = (
    '{"sampleRate":8000,"mixType":"stereo","callSid":"11111111-1111-4111-8111-111111111111",'
    '"direction":"inbound","from":"+15550100","to":"+15550199","callId":"abc","callStatus":"in-progress",'
    '"accountSid":"22222222-2222-4222-8222-222222222222","tenant":"a"}'
)
FRAME = bytes(320)


def protocol(query: str = "", **config: Any) -> FreeswitchProtocol:
    """A connection of a site with this configuration."""
    return FreeswitchProtocol(CarrierConfig(**config), UpgradeRequest("/v1/freeswitch", query))


def started(text: str = '{"call":"c-1"}', query: str = "", **config: Any) -> FreeswitchProtocol:
    """A connection whose call has started."""
    made = protocol(query, **config)
    made.receive_text(text, 0.0)
    return made


def call(text: str, query: str = "", **config: Any) -> CallStart:
    """The call that a first text describes."""
    event = protocol(query, **config).receive_text(text, 0.0)[0]
    assert isinstance(event, Start)
    return event.call


def receive(made: FreeswitchProtocol, message: str | bytes, now_s: float = 0.0) -> list[WireEvent]:
    """Hand over a text or a binary message."""
    if isinstance(message, str):
        return made.receive_text(message, now_s)
    return made.receive_bytes(message, now_s)


def refused(made: FreeswitchProtocol, *messages: str | bytes) -> WireError:
    """The error that the last message raises; nothing is read after it."""
    for message in messages[:-1]:
        receive(made, message)
    with pytest.raises(WireError) as caught:
        receive(made, messages[-1])
    assert receive(made, FRAME) == receive(made, "{}") == made.lost() == []
    return caught.value


def codes(events: list[WireEvent]) -> list[str]:
    """The codes of the notices."""
    return [event.code for event in events if isinstance(event, Notice)]


def test_the_fork_vector() -> None:
    """Stereo at 8 kHz: metadata, 40 ms, two glued texts, a graceful shutdown, a result; the server closes."""
    made = protocol("rate=8000&ch=2")
    first = bytes.fromhex("e8030000") * 160
    second = bytes.fromhex("000018fc") * 160
    (event, notice) = made.receive_text('{"call":"c-1","leg":"a"}', 0.0)
    assert isinstance(event, Start)
    assert event.call.call_id == "c-1"
    assert event.call.format == AudioFormat(Encoding.PCM_S16LE, 8_000, (Leg.CUSTOMER, Leg.AGENT))
    assert isinstance(notice, Notice)  # `leg` names no leg
    assert made.receive_bytes(first, 0.02) == [Audio(AudioPacket(first))]
    assert made.receive_bytes(second, 0.04) == [Audio(AudioPacket(second))]
    assert made.receive_text('{"event":"dtmf","digit":"1"}{"event":"hold"}', 0.05) == [Dtmf("1")]
    assert made.receive_bytes(b"", 0.06) == [Stop()]
    assert made.result('{"kind":"emotion","utterance":"u1","final":true}') == [
        '{"type":"json","data":{"kind":"emotion","utterance":"u1","final":true}}'
    ]
    assert made.receive_bytes(b"", 0.07) == []
    assert made.farewell(None, draining=False) == []
    assert made.peer_closes is False


def test_the_fork_vector_without_graceful_shutdown() -> None:
    """A last text that nobody knows, then the socket closes."""
    made = started()
    assert made.receive_text('{"event":"bye"}', 0.0) == []
    assert made.lost() == []


def test_the_jambonz_vector() -> None:
    """Its first frame says everything; a key has 200 ms."""
    made = protocol()
    (event,) = made.receive_text(JAMBONZ, 0.0)
    assert isinstance(event, Start)
    assert event.call.call_id == "11111111-1111-4111-8111-111111111111"
    assert event.call.format == AudioFormat(Encoding.PCM_S16LE, 8_000, (Leg.CUSTOMER, Leg.AGENT))
    assert event.call.metadata["tenant"] == "a"
    assert event.call.metadata["carrier"] == "freeswitch"
    assert made.receive_text('{"event":"dtmf","dtmf":"5","duration":"1600"}', 0.0) == [Dtmf("5")]
    for text in (
        '{"type":"playDone","data":{"id":"x"}}',
        '{"type":"mark","data":{"name":"m1","event":"playout"}}',
    ):
        assert made.receive_text(text, 0.0) == []


def test_the_stream_vector() -> None:
    """No metadata: after three frames the call starts with what the URL says, and nothing is lost."""
    made = protocol("rate=16000&ch=1")
    frame = bytes(640)
    for index in range(EARLY_MESSAGES - 1):
        assert made.receive_bytes(frame, index * 0.02) == []
    events = made.receive_bytes(frame, 0.04)
    assert isinstance(events[0], Start)
    assert events[0].call.format == AudioFormat(Encoding.PCM_S16LE, 16_000, (Leg.CUSTOMER,))
    assert events[1:] == [Audio(AudioPacket(frame))] * EARLY_MESSAGES
    assert made.receive_text('{"call":"late","queue":"sales"}', 0.1) == [
        Metadata({"call": "late", "queue": "sales"})
    ]


def test_audio_may_come_before_the_metadata() -> None:
    """mod_audio_stream: the text after one frame still names the call."""
    made = protocol()
    assert made.receive_bytes(FRAME, 0.0) == []
    events = made.receive_text('{"call":"c-1"}', 0.01)
    assert isinstance(events[0], Start)
    assert events[0].call.call_id == "c-1"
    assert events[1:] == [Audio(AudioPacket(FRAME))]


@pytest.mark.parametrize(
    ("text", "query", "options", "rate", "legs"),
    [
        ("{}", "", {}, 8_000, (Leg.CUSTOMER,)),
        ("{}", "", {"rate": "16k", "channels": "stereo"}, 16_000, (Leg.CUSTOMER, Leg.AGENT)),
        ("{}", "rate=24000&channels=mono", {"rate": "16k", "channels": "2"}, 24_000, (Leg.CUSTOMER,)),
        ('{"sampleRate":48000,"mixType":"mixed"}', "rate=16k&ch=2", {}, 48_000, (Leg.MIXED,)),
        ('{"rate":"8k","ch":2}', "rate=16k", {}, 8_000, (Leg.CUSTOMER, Leg.AGENT)),
        ('{"rate":8000,"channels":"1"}', "", {}, 8_000, (Leg.CUSTOMER,)),
        ('{"inbound_is":"agent","ch":"2"}', "", {}, 8_000, (Leg.AGENT, Leg.CUSTOMER)),
        ('{"leg":"agent"}', "leg=customer", {}, 8_000, (Leg.AGENT,)),
        ("{}", "leg=mixed", {}, 8_000, (Leg.MIXED,)),
        ("plain text", "rate=16000&mixType=stereo", {}, 16_000, (Leg.CUSTOMER, Leg.AGENT)),
        ("", "sampleRate=96000", {}, 96_000, (Leg.CUSTOMER,)),
        ('{"rate":"gold","channels":["web"]}', "rate=16k&ch=2", {}, 16_000, (Leg.CUSTOMER, Leg.AGENT)),
        ('{"rate":null,"ch":true}', "", {}, 8_000, (Leg.CUSTOMER,)),
    ],
)
def test_rate_and_channels_come_from_the_first_that_says_them(
    text: str, query: str, options: dict[str, str], rate: int, legs: tuple[Leg, ...]
) -> None:
    """The first frame, then the URL, then the options, then 8 kHz mono."""
    assert call(text, query, options=options).format == AudioFormat(Encoding.PCM_S16LE, rate, legs)


def test_the_site_says_who_is_on_the_read_stream() -> None:
    """By configuration, for stereo and for mono."""
    assert call("{}", "ch=2", inbound=Leg.AGENT).format.channels == (Leg.AGENT, Leg.CUSTOMER)
    assert call("{}", single=Leg.AGENT).format.channels == (Leg.AGENT,)


@pytest.mark.parametrize(
    ("text", "query", "call_id"),
    [
        ('{"call":"a","call_id":"b","callSid":"c"}', "", "a"),
        ('{"call_id":"b","callSid":"c"}', "call=q", "q"),
        ('{"callSid":"c","callId":"d"}', "", "c"),
        ('{"callId":"d"}', "uuid=u", "d"),
        ("{}", "uuid=u%2F1", "u-1"),
    ],
)
def test_the_calls_id(text: str, query: str, call_id: str) -> None:
    """Whatever names it, the site's own name first; without any it gets one."""
    assert call(text, query).call_id == call_id
    assert len(call("{}").call_id) == 32


def test_texts_may_be_glued() -> None:
    """The metadata with the next one, and what is no object ends the reading of a text."""
    made = protocol()
    events = made.receive_text('{"call":"c-1"} {"event":"dtmf","digit":"#"}\n{"queue":"a"}', 0.0)
    assert isinstance(events[0], Start)
    assert events[1:] == [Dtmf("#"), Metadata({"queue": "a"})]
    assert list(glued_objects('{"a":1}[2]{"b":3}')) == [{"a": 1}, None, {"b": 3}]
    assert list(glued_objects('{"a":1}oops{"b":2}')) == [{"a": 1}, None]
    assert list(glued_objects(" ")) == []


def test_an_event_before_the_metadata_starts_the_call_without() -> None:
    """A key is no metadata; what comes later is added."""
    events = protocol().receive_text('{"event":"dtmf","digit":"1"}{"queue":"a"}', 0.0)
    assert isinstance(events[0], Start)
    assert events[1:] == [Dtmf("1"), Metadata({"queue": "a"})]
    events = protocol().receive_text('{"event":"pause"}', 0.0)
    assert events[1:] == [Pause("carrier")]


def test_metadata_may_hold_an_event_of_the_sites_own() -> None:
    """A first text is metadata unless it is one of the events that mean something here."""
    assert call('{"event":"start","call":"c-1"}').call_id == "c-1"


def test_a_pause_of_the_controller_is_paused_time() -> None:
    """By our own convention; told once, and the time without audio is no loss."""
    made = started()
    made.receive_bytes(FRAME, 0.0)
    assert made.receive_text('{"event":"pause"}', 0.01) == [Pause("carrier")]
    assert made.receive_text('{"event":"pause"}', 0.01) == []
    assert made.receive_bytes(FRAME, 0.02) == [Audio(AudioPacket(FRAME))]
    assert made.receive_text('{"event":"resume"}{"event":"resume"}', 4.0) == [Resume("carrier")]
    gap, _ = made.receive_bytes(FRAME, 4.04)
    assert gap == Gap(GapKind.PAUSED, pytest.approx(4 * 8_000, abs=2))
    assert made.receive_bytes(FRAME, 4.06) == [Audio(AudioPacket(FRAME))]


def test_an_overrun_of_the_module_is_lost_audio() -> None:
    """Three seconds of stereo that were thrown away: counted by channel."""
    made = started('{"ch":2}')
    times = [index * 0.02 for index in range(50)] + [4 + index * 0.02 for index in range(100)]
    events = [event for now_s in times for event in made.receive_bytes(bytes(640), now_s)]
    (gap,) = [event for event in events if isinstance(event, Gap)]
    assert gap.kind is GapKind.LOST
    assert gap.samples == pytest.approx(3 * 8_000, abs=2)


def test_a_shutdown_before_the_call_has_started() -> None:
    """With audio that waited: the call, then its end; without: only the end."""
    made = protocol()
    made.receive_bytes(FRAME, 0.0)
    events = made.receive_bytes(b"", 0.1)
    assert isinstance(events[0], Start)
    assert events[1:] == [Audio(AudioPacket(FRAME)), Stop()]
    assert protocol().receive_bytes(b"", 0.0) == [Stop()]


def test_a_lost_connection_lets_out_what_waited() -> None:
    """A call of two frames; one that may not start stays silent."""
    made = protocol()
    made.receive_bytes(FRAME, 0.0)
    assert [type(event) for event in made.lost()] == [Start, Audio]
    assert made.lost() == []
    kept = protocol(message_secret="s")
    kept.receive_bytes(FRAME, 0.0)
    assert kept.lost() == []


def test_results_are_the_sites_choice_and_bounded() -> None:
    """On unless configured otherwise, not before the start, not beyond what the modules take."""
    assert protocol().result("{}") == []
    assert started(options={"results": "false"}).result("{}") == []
    assert started().result(json.dumps({"x": "é" * MAX_RESULT_BYTES})) == []


def test_an_error_is_told_as_a_result() -> None:
    """So that the application hears why."""
    (text,) = started().farewell(WireError("bad", "Bad", "it was bad", CloseCode.INVALID), draining=False)
    assert isinstance(text, str)
    assert json.loads(text)["data"]["code"] == "bad"
    assert started().farewell(None, draining=True) == []


BAD: list[tuple[str, tuple[str | bytes, ...], str, CloseCode]] = [
    ("", ('{"sampleRate":11025}',), "unsupported", CloseCode.UNSUPPORTED),
    ("", ('{"rate":"44100"}',), "unsupported", CloseCode.UNSUPPORTED),
    ("", ('{"rate":-8000}',), "unsupported", CloseCode.UNSUPPORTED),
    ("", ('{"ch":3}',), "unsupported", CloseCode.UNSUPPORTED),
    ("rate=22050", ("{}",), "unsupported", CloseCode.UNSUPPORTED),
    ("ch=0", (FRAME, FRAME, FRAME), "unsupported", CloseCode.UNSUPPORTED),
    ("", ("x" * (MAX_TEXT_BYTES + 1),), "message_too_big", CloseCode.TOO_BIG),
    ("", (bytes(MAX_BINARY_BYTES + 1),), "message_too_big", CloseCode.TOO_BIG),
    ("", ("{}", bytes(MAX_BINARY_BYTES + 1)), "message_too_big", CloseCode.TOO_BIG),
]


@pytest.mark.parametrize(("query", "messages", "code", "close"), BAD)
def test_what_is_bad_is_refused(
    query: str, messages: tuple[str | bytes, ...], code: str, close: CloseCode
) -> None:
    """Each has its code and close code."""
    error = refused(protocol(query), *messages)
    assert (error.code, error.close_code) == (code, close)


@pytest.mark.parametrize("text", ["{}", '{"token":"wrong"}', '{"token":5}', "nonsense"])
def test_a_missing_token_is_refused(text: str) -> None:
    """Where the site asks for one, in the metadata or in the URL."""
    error = refused(protocol(message_secret="secret"), text)
    assert (error.code, error.close_code) == ("unauthorized", CloseCode.POLICY)
    made = call('{"token":"secret"}', message_secret="secret")
    assert made.metadata == call("{}", "token=secret", message_secret="secret").metadata
    assert refused(protocol(message_secret="secret"), FRAME, FRAME, FRAME).code == "unauthorized"


ODD: list[tuple[str, list[str]]] = [
    ("not json", ["text_not_json"]),
    ("[1,2]", ["text_not_json"]),
    ("5", ["text_not_json"]),
    ('{"a":NaN}', ["text_not_json"]),
    ('{"a":"\ud800"}', ["text_not_json"]),
    ('{"a":"\\ud800"}', ["text_not_json"]),
    ("[" * 60_000, ["text_not_json"]),
    ("1" * 60_000, ["text_not_json"]),
    ('{"event":"dtmf"}', ["invalid_dtmf"]),
    ('{"event":"dtmf","dtmf":"55"}', ["invalid_dtmf"]),
    ('{"event":"dtmf","digit":[1]}', ["invalid_dtmf"]),
    ('{"event":"unknown","digit":"1"}', []),
    ('{"event":"resume"}', []),
    ('{"headers":{"a":"b"}}', ["parameters_dropped"]),
    ("{}", []),
    ("", []),
]


@pytest.mark.parametrize(("text", "expected"), ODD)
def test_what_is_odd_is_noticed_once_and_the_call_goes_on(text: str, expected: list[str]) -> None:
    """As a later text, twice; as the first text, the call starts all the same."""
    made = started()
    events = made.receive_text(text, 0.0) + made.receive_text(text, 0.0)
    assert codes(events) == expected == [event.code for event in events if isinstance(event, Notice)]
    assert len(events) == len(expected)
    assert made.receive_bytes(FRAME, 0.0) == [Audio(AudioPacket(FRAME))]
    assert isinstance(protocol().receive_text(text, 0.0)[0], Start)


def test_later_metadata_is_bounded() -> None:
    """So many texts, then one notice."""
    made = started()
    events = [event for index in range(100) for event in made.receive_text(f'{{"k{index}":"v"}}', 0.0)]
    assert sum(isinstance(event, Metadata) for event in events) == MAX_UPDATES
    assert codes(events) == ["metadata_dropped"]


def test_a_later_token_is_not_kept() -> None:
    """What has a meaning at the start has none later, and is no metadata either."""
    assert started().receive_text('{"token":"s","line":"x"}', 0.0) == []


@pytest.mark.parametrize(
    "options", [{"x": "y"}, {"rate": "11025"}, {"channels": "3"}, {"results": "yes"}, {"rate": ""}]
)
def test_unknown_options_are_refused(options: dict[str, str]) -> None:
    """By the protocol and by the authenticator."""
    with pytest.raises(ValueError, match="option"):
        protocol(options=options)
    with pytest.raises(ValueError, match="option"):
        CARRIER.new_authenticator(CarrierConfig(options=options))
    assert sorted(OPTIONS) == ["channels", "rate", "results"]


def test_credentials_are_basic_or_bearer() -> None:
    """As the channel variables or STREAM_EXTRA_HEADERS send them; both sub-protocols are echoed."""
    authenticator = CARRIER.new_authenticator(CarrierConfig(secrets={"tenant-a": "secret", "bearer": "t"}))
    for header in ("Basic dGVuYW50LWE6c2VjcmV0", "Bearer t"):
        authenticator.check(UpgradeRequest("/", headers={"authorization": header}), 0.0)
    with pytest.raises(RefusedError):
        authenticator.check(UpgradeRequest("/"), 0.0)
    assert CARRIER.subprotocols == ("audio.drachtio.org", "audio.jambonz.org")
