"""The native protocol's reading side: events for good messages, one error for everything else."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.domain import AudioFormat, AudioPacket, CallStart, Encoding, Leg
from app.wire.base import (
    Audio,
    CloseCode,
    Flush,
    Mark,
    Pause,
    Resume,
    Start,
    Stop,
    WireError,
    WireEvent,
)
from app.wire.native import (
    MAX_METADATA_BYTES,
    SAMPLE_RATES_HZ,
    NativeProtocol,
    NativeState,
    random_call_id,
)

START: dict[str, Any] = {
    "type": "start",
    "encoding": "pcm_mulaw",
    "sample_rate": 8000,
    "channels": ["customer", "agent"],
}


def started(**fields: Any) -> NativeProtocol:
    """A protocol that has accepted a start message."""
    protocol = NativeProtocol()
    protocol.receive_text(json.dumps(START | fields))
    return protocol


def start_call(**fields: Any) -> CallStart:
    """The call that a start message with these fields describes."""
    (event,) = NativeProtocol(new_call_id=lambda: "made-up").receive_text(json.dumps(START | fields))
    assert isinstance(event, Start)
    return event.call


def receive(protocol: NativeProtocol, message: str | bytes) -> list[WireEvent]:
    """Hand over a text or a binary message."""
    if isinstance(message, str):
        return protocol.receive_text(message)
    return protocol.receive_bytes(message)


def refused(protocol: NativeProtocol, message: str | bytes) -> WireError:
    """The error a message raises."""
    with pytest.raises(WireError) as caught:
        receive(protocol, message)
    return caught.value


def test_a_start_message_describes_the_call() -> None:
    """Every field of a full start message reaches the CallStart."""
    fields = {"call_id": "a.B_9~-", "line": "tenant.trunk-1", "language": "de-AT", "interim": True}
    fields |= {"salience": True, "consent": True, "notice_given": True, "metadata": {"queue": ["x", 1, None]}}
    assert start_call(**fields) == CallStart(
        call_id="a.B_9~-",
        format=AudioFormat(Encoding.PCM_MULAW, 8_000, (Leg.CUSTOMER, Leg.AGENT)),
        line="tenant.trunk-1",
        language="de-AT",
        interim=True,
        salience=True,
        consent=True,
        notice_given=True,
        metadata={"queue": ["x", 1, None]},
    )


def test_optional_fields_have_defaults_and_null_is_absent() -> None:
    """A minimal start gets a made-up call id and defaults; explicit nulls mean the same."""
    nulls = dict.fromkeys(["call_id", "line", "language", "interim", "salience", "consent", "metadata"])
    expected = CallStart("made-up", AudioFormat(Encoding.PCM_MULAW, 8_000, (Leg.CUSTOMER, Leg.AGENT)))
    assert start_call() == start_call(**nulls) == expected


def test_unknown_fields_are_ignored() -> None:
    """Fields of a later version do not break this one, in start and in controls."""
    assert start_call(colour="blue") == start_call()
    assert started().receive_text('{"type":"flush","hard":true}') == [Flush()]


@pytest.mark.parametrize("encoding", list(Encoding))
@pytest.mark.parametrize("rate", SAMPLE_RATES_HZ)
@pytest.mark.parametrize("channels", [["customer"], ["agent"], ["agent", "customer"]])
def test_every_supported_format_is_accepted(encoding: Encoding, rate: int, channels: list[str]) -> None:
    """All encodings, rates and leg orders start a call."""
    made = start_call(encoding=encoding.value, sample_rate=rate, channels=channels).format
    assert made == AudioFormat(encoding, rate, tuple(Leg(leg) for leg in channels))


def test_made_up_call_ids_differ_and_are_valid() -> None:
    """The default ids are unique and match the documented pattern."""
    first, second = random_call_id(), random_call_id()
    assert first != second
    assert start_call(call_id=first).call_id == first


def test_controls_and_audio_become_events_in_order() -> None:
    """After start, audio and controls pass through as events."""
    protocol = started()
    events: list[WireEvent] = []
    events += protocol.receive_bytes(b"\x01")
    events += protocol.receive_text('{"type":"mark","name":"café"}')
    events += protocol.receive_text('{"type":"pause"}')
    events += protocol.receive_bytes(b"\x02\x03")
    events += protocol.receive_text('{"type":"resume"}')
    events += protocol.receive_text('{"type":"flush"}')
    events += protocol.receive_text('{"type":"stop"}')
    assert events == [
        Audio(AudioPacket(b"\x01")),
        Mark("café"),
        Pause(),
        Audio(AudioPacket(b"\x02\x03")),
        Resume(),
        Flush(),
        Stop(),
    ]
    assert protocol.state is NativeState.STOPPED


def test_an_empty_binary_message_is_nothing() -> None:
    """An empty message yields no event, but still needs a start."""
    assert started().receive_bytes(b"") == []
    assert refused(NativeProtocol(), b"").code == "audio_before_start"


@pytest.mark.parametrize(
    ("fields", "code", "close"),
    [
        ({"encoding": "mp3"}, "unsupported_encoding", CloseCode.UNSUPPORTED),
        ({"encoding": None}, "invalid_field", CloseCode.INVALID),
        ({"encoding": 7}, "invalid_field", CloseCode.INVALID),
        ({"sample_rate": 44_100}, "unsupported_sample_rate", CloseCode.UNSUPPORTED),
        ({"sample_rate": 8000.0}, "invalid_field", CloseCode.INVALID),
        ({"sample_rate": True}, "invalid_field", CloseCode.INVALID),
        ({"sample_rate": None}, "invalid_field", CloseCode.INVALID),
        ({"sample_rate": -8000}, "unsupported_sample_rate", CloseCode.UNSUPPORTED),
        ({"channels": None}, "invalid_field", CloseCode.INVALID),
        ({"channels": "customer"}, "invalid_field", CloseCode.INVALID),
        ({"channels": []}, "unsupported_channels", CloseCode.UNSUPPORTED),
        ({"channels": ["customer", "customer"]}, "unsupported_channels", CloseCode.UNSUPPORTED),
        ({"channels": ["customer", "agent", "customer"]}, "unsupported_channels", CloseCode.UNSUPPORTED),
        ({"channels": ["supervisor"]}, "unsupported_channels", CloseCode.UNSUPPORTED),
        ({"channels": [["customer"]]}, "unsupported_channels", CloseCode.UNSUPPORTED),
        ({"call_id": ""}, "invalid_field", CloseCode.INVALID),
        ({"call_id": "a b"}, "invalid_field", CloseCode.INVALID),
        ({"call_id": "a\n"}, "invalid_field", CloseCode.INVALID),
        ({"call_id": "x" * 129}, "invalid_field", CloseCode.INVALID),
        ({"call_id": 12}, "invalid_field", CloseCode.INVALID),
        ({"line": "a/b"}, "invalid_field", CloseCode.INVALID),
        ({"line": "x" * 65}, "invalid_field", CloseCode.INVALID),
        ({"language": "de_AT"}, "invalid_field", CloseCode.INVALID),
        ({"interim": "yes"}, "invalid_field", CloseCode.INVALID),
        ({"salience": 1}, "invalid_field", CloseCode.INVALID),
        ({"consent": []}, "invalid_field", CloseCode.INVALID),
        ({"notice_given": {}}, "invalid_field", CloseCode.INVALID),
        ({"metadata": ["a"]}, "invalid_field", CloseCode.INVALID),
        ({"metadata": {"a": "x" * MAX_METADATA_BYTES}}, "metadata_too_big", CloseCode.TOO_BIG),
        ({"metadata": {"a": [[[[[[[[1]]]]]]]]}}, "invalid_field", CloseCode.INVALID),
        ({"type": "Start"}, "unknown_type", CloseCode.UNSUPPORTED),
        ({"type": None}, "invalid_field", CloseCode.INVALID),
        ({"type": 3.5}, "invalid_field", CloseCode.INVALID),
    ],
)
def test_a_bad_start_is_refused_with_its_code(fields: dict[str, Any], code: str, close: CloseCode) -> None:
    """Each bad field has a documented code and close code, and leaves the stream failed."""
    protocol = NativeProtocol()
    error = refused(protocol, json.dumps(START | fields))
    assert (error.code, error.close_code) == (code, close)
    assert protocol.state is NativeState.FAILED


def test_metadata_may_be_as_deep_and_as_big_as_documented() -> None:
    """The limits themselves are allowed."""
    deep = {"a": [[[[[[[1]]]]]]]}
    assert start_call(metadata=deep).metadata == deep
    wide = {"a": "x" * (MAX_METADATA_BYTES - len('{"a":""}'))}
    assert start_call(metadata=wide).metadata == wide


@pytest.mark.parametrize(
    "text",
    [
        "",
        "nonsense",
        "{",
        '{"type":"start"',
        "{'type':'start'}",
        "NaN",
        '{"type":NaN}',
        '{"a":1e999}',
        "[1]",
        "null",
        '"start"',
        "17",
        "true",
        "1.5",
        '{"type":"\ud800"}',
        '{"type":"\\ud800"}',
        "[" * 5000,
        "\x00",
    ],
)
def test_text_that_is_no_json_object_is_refused(text: str) -> None:
    """Broken JSON, NaN, infinities, lone surrogates, bottomless nesting and non-objects are one error."""
    error = refused(NativeProtocol(), text)
    assert (error.code, error.close_code) == ("invalid_json", CloseCode.INVALID)


@pytest.mark.parametrize("kind", ["mark", "flush", "pause", "resume", "stop"])
def test_controls_need_a_start(kind: str) -> None:
    """A control before start is refused."""
    error = refused(NativeProtocol(), json.dumps({"type": kind, "name": "n"}))
    assert (error.code, error.close_code) == ("not_started", CloseCode.POLICY)


def test_audio_before_start_is_refused() -> None:
    """Binary first is its own error, since it is the commonest mistake."""
    error = refused(NativeProtocol(), b"\xff" * 160)
    assert (error.code, error.close_code) == ("audio_before_start", CloseCode.UNSUPPORTED)


def test_a_second_start_is_refused() -> None:
    """A stream carries one call."""
    error = refused(started(), json.dumps(START))
    assert (error.code, error.close_code) == ("already_started", CloseCode.POLICY)


@pytest.mark.parametrize("message", [b"\xff", '{"type":"stop"}', '{"type":"flush"}', json.dumps(START)])
def test_nothing_is_taken_after_stop_or_an_error(message: str | bytes) -> None:
    """Once stopped or failed, every message is refused."""
    stopped = started()
    stopped.receive_text('{"type":"stop"}')
    failed = NativeProtocol()
    refused(failed, "nonsense")
    for protocol in (stopped, failed):
        error = refused(protocol, message)
        assert (error.code, error.close_code) == ("already_stopped", CloseCode.POLICY)


@pytest.mark.parametrize("message", [b"\xff" * 1025, "x" * 1025, '{"type":"' + "é" * 512 + '"}'])
def test_a_message_over_the_limit_is_refused_and_the_limit_itself_is_not(message: str | bytes) -> None:
    """The size of a message counts in bytes, for audio and for text."""
    protocol = NativeProtocol(max_message_bytes=1024)
    protocol.receive_text(json.dumps(START))
    assert protocol.receive_bytes(b"\xff" * 1024) != []
    error = refused(protocol, message)
    assert (error.code, error.close_code) == ("message_too_big", CloseCode.TOO_BIG)


@pytest.mark.parametrize("name", [None, "", "x" * 129, 5, ["a"]])
def test_a_mark_needs_a_short_name(name: object) -> None:
    """Marks without a usable name are refused."""
    assert refused(started(), json.dumps({"type": "mark", "name": name})).code == "invalid_field"


@pytest.mark.parametrize("field", ["call_id", "line", "language"])
def test_errors_do_not_repeat_what_may_be_personal(field: str) -> None:
    """An id that looks like a telephone number is not echoed into errors, which get logged."""
    error = refused(NativeProtocol(), json.dumps(START | {field: "+49 30 1234567"}))
    assert "1234567" not in error.detail + error.title + str(error)
    assert field in error.detail


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=12),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=12,
)
FIELDS = ["encoding", "sample_rate", "channels", "call_id", "line", "language", "interim", "metadata", "name"]
OBJECTS = st.builds(
    lambda kind, base, extra: json.dumps((START if base else {}) | extra | {"type": kind}),
    st.sampled_from(["start", "mark", "flush", "pause", "resume", "stop", "other"]) | JSON,
    st.booleans(),
    st.dictionaries(st.sampled_from(FIELDS), JSON, max_size=3),
)
MESSAGES = st.one_of(
    OBJECTS, OBJECTS, st.binary(max_size=40), st.text(max_size=40), st.just(json.dumps(START))
)


@given(st.lists(MESSAGES, max_size=12))
def test_any_sequence_of_messages_raises_only_wire_errors(messages: list[str | bytes]) -> None:
    """Whatever comes, events are a Start, then others, then at most one Stop; only WireError is raised."""
    protocol, events = NativeProtocol(max_message_bytes=2048), list[WireEvent]()
    errors: list[WireError] = []
    for message in messages:
        before = protocol.state
        try:
            events += receive(protocol, message)
        except WireError as error:
            errors.append(error)
            continue
        assert before in (NativeState.NEW, NativeState.STARTED)
    assert [isinstance(event, Start) for event in events] == [index == 0 for index in range(len(events))]
    assert not any(isinstance(event, Stop) for event in events[:-1])
    assert all(error.code.isidentifier() and error.close_code in CloseCode for error in errors)
    assert not errors or protocol.state is NativeState.FAILED
