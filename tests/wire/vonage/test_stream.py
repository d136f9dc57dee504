"""What a Vonage WebSocket becomes: a call of mixed audio, keys, and an end by closing."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import pytest

from app.domain import AudioFormat, AudioPacket, CallStart, Encoding, Leg
from app.wire.base import Audio, Dtmf, Gap, GapKind, Notice, Start, WireEvent
from app.wire.carrier import CarrierConfig, UpgradeRequest
from app.wire.l16 import swap_bytes
from app.wire.vonage import CARRIER, SAMPLE_RATES_HZ, VonageProtocol
from tests.wire.vonage.messages import CALL, FRAME, MIXED, connected, event, hear, protocol, started


def begin(
    message: str, config: CarrierConfig = MIXED, query: str = "", **headers: str
) -> tuple[CallStart, list[str]]:
    """The call of a first message, and the codes of the notices after it."""
    first, *notices = hear(protocol(config, query, **headers), message)
    assert isinstance(first, Start)
    return first.call, [notice.code for notice in notices if isinstance(notice, Notice)]


def test_the_session_of_the_protocol_page() -> None:
    """60 ms at 8 kHz, one digit at 40 ms, unknown events ignored, and nothing to say at the end."""
    lines = Path(__file__).with_name("session.jsonl").read_text(encoding="utf-8").splitlines()
    listener = protocol()
    events: list[WireEvent] = []
    for line in map(json.loads, lines):
        if line["dir"] == "v2k" and "text" in line:
            events += hear(listener, json.dumps(line["text"]))
        elif line["dir"] == "v2k" and "bin" in line:
            payload = bytes.fromhex(line["bin"]["hex"]) * line["bin"]["repeat"]
            assert len(payload) == line["bin"]["bytes"]
            events += hear(listener, payload)
    square = Audio(AudioPacket(FRAME))
    expected: list[WireEvent] = [
        Start(
            CallStart(
                CALL,
                AudioFormat(Encoding.PCM_S16LE, 8_000, (Leg.CUSTOMER,)),
                metadata={"carrier": "vonage", "call_uuid": CALL},
            )
        ),
        Audio(AudioPacket(bytes(320))),
        square,
        Dtmf("5"),
        square,
    ]
    assert events == expected
    assert listener.lost() == []


@pytest.mark.parametrize(
    ("repeat", "digest"),
    [
        (4, "2e11ba4d790c4b25814bc06af103c6c450dd70df13fdb69373c48559e3d576bc"),
        (8, "12a909df0e0dc8c0e1239c76a9e742e976dbd393803485c9ec9e90ef5bc25352"),
        (12, "d8fb4237d5cc69931518c1e32ffc9cbfece8ff82d75fb3b2d006f830eab6a4b4"),
    ],
)
def test_the_frames_of_the_protocol_page(repeat: int, digest: str) -> None:
    """20 ms at each rate pass as they are; in the other byte order they are found suspect."""
    frame = bytes.fromhex("e803" * repeat + "18fc" * repeat) * 20
    assert hashlib.sha256(frame).hexdigest() == digest
    rate = 2_000 * repeat
    assert (
        hear(started(content_type=f"audio/l16;rate={rate}"), *[frame] * 30)
        == [Audio(AudioPacket(frame))] * 30
    )
    swapped = hear(started(content_type=f"audio/l16;rate={rate}"), *[swap_bytes(frame)] * 60)
    assert [found.code for found in swapped if isinstance(found, Notice)] == ["byte_order_suspect"]
    big = started(CarrierConfig(options={"byte_order": "big"}), f"audio/l16;rate={rate}")
    assert hear(big, *[swap_bytes(frame)] * 30) == [Audio(AudioPacket(frame))] * 30


@pytest.mark.parametrize(
    ("content_type", "rate"),
    [
        *[(f"audio/l16;rate={rate}", rate) for rate in SAMPLE_RATES_HZ],
        ("Audio/L16; Rate=16000", 16_000),
        (" audio/l16 ;channels=1; rate = 24000 ", 24_000),
        ('audio/l16;rate="8000";channels=1', 8_000),
        ("audio/l16;rate=8000;", 8_000),
    ],
)
def test_content_types(content_type: str, rate: int) -> None:
    """Case, spaces, order and quotes do not matter."""
    call, notices = begin(connected(content_type))
    assert call.format == AudioFormat(Encoding.PCM_S16LE, rate, (Leg.MIXED,))
    assert notices == []


@pytest.mark.parametrize("content_type", [None, "audio/l16", "audio/l16;channels=1"])
def test_a_rate_that_is_not_said_is_the_configured_one(content_type: str | None) -> None:
    """What the NCCO asked for is known to the site only; 8 kHz unless it says otherwise."""
    call, notices = begin(connected(content_type))
    assert (call.format.sample_rate_hz, notices) == (8_000, ["sample_rate_assumed"])
    call, _ = begin(connected(content_type), CarrierConfig(options={"sample_rate": "16000"}))
    assert call.format.sample_rate_hz == 16_000


@pytest.mark.parametrize(
    ("headers", "leg"),
    [
        ({}, Leg.MIXED),
        ({"role": "customer"}, Leg.CUSTOMER),
        ({"role": "agent"}, Leg.AGENT),
        ({"leg": "agent", "role": "customer"}, Leg.AGENT),
        ({"leg": "", "role": "customer"}, Leg.CUSTOMER),
        ({"role": "supervisor"}, Leg.MIXED),
        ({"role": ["customer"]}, Leg.MIXED),
    ],
)
def test_who_is_heard(headers: dict[str, Any], leg: Leg) -> None:
    """`leg` or `role` says it; otherwise the configuration."""
    call, _ = begin(connected(**headers))
    assert call.format.channels == (leg,)


def test_a_role_that_is_no_leg_is_metadata() -> None:
    """Sites may mean something else by it."""
    call, notices = begin(connected(role="supervisor"))
    assert (call.metadata["role"], notices) == ("supervisor", [])


@pytest.mark.parametrize(
    ("headers", "call_id", "kept"),
    [
        ({"call_uuid": "a/1"}, "a-1", {"call_uuid": "a/1"}),
        ({"call_uuid": None, "uuid": "b"}, "b", {"uuid": "b"}),
        (
            {"call_uuid": "", "conversation_uuid": "CON-c"},
            "CON-c",
            {"conversation_uuid": "CON-c", "call_uuid": ""},
        ),
        ({"call_uuid": None, "conversation_id": "d"}, "d", {"conversation_id": "d"}),
        ({"uuid": "b"}, CALL, {"call_uuid": CALL, "uuid": "b"}),
    ],
)
def test_the_call_id_is_in_the_ncco_headers(
    headers: dict[str, Any], call_id: str, kept: dict[str, str]
) -> None:
    """The first name that holds one; all are metadata."""
    call, notices = begin(connected(**headers))
    assert (call.call_id, notices) == (call_id, [])
    assert call.metadata == {"carrier": "vonage", **kept}


@pytest.mark.parametrize("value", [None, 7, {}, "x" * 300])
def test_without_a_call_id_one_is_made_up(value: object) -> None:
    """And noticed: results can only be found by other metadata then."""
    call, notices = begin(connected(call_uuid=value))
    assert call.call_id == "made-up"
    assert "call_id_made_up" in notices
    first, *_ = CARRIER.new_protocol(MIXED, UpgradeRequest("/")).receive_text(connected(call_uuid=None), 0.0)
    assert isinstance(first, Start)
    assert len(first.call.call_id) == 32


def test_ncco_headers_describe_the_call() -> None:
    """What Kowairo knows of them is read, the rest is metadata; reserved names and nested values are not kept."""
    call, notices = begin(connected(line="trunk-1", consent=True, queue=7, tags=["x"], token="t0k"))
    assert (call.line, call.consent) == ("trunk-1", True)
    assert call.metadata == {"carrier": "vonage", "call_uuid": CALL, "queue": "7"}
    assert notices == ["parameters_dropped"]


def test_query_and_handshake_are_looked_at_too() -> None:
    """The first message wins over the handshake, that over the query; HTTP's own headers are no parameters."""
    query = "call_uuid=q&line=from-query&queue=sales"
    http = {"line": "from-http", "role": "agent", "user-agent": "x", "authorization": "Bearer s3cret"}
    call, notices = begin(connected(call_uuid=None), MIXED, query, **http)
    assert (call.call_id, call.line, call.format.channels) == ("q", "from-http", (Leg.AGENT,))
    assert call.metadata == {"carrier": "vonage", "call_uuid": "q", "queue": "sales"}
    assert notices == []
    call, _ = begin(connected(line="from-ncco"), MIXED, query, **http)
    assert (call.call_id, call.line) == (CALL, "from-ncco")


def test_audio_may_be_of_any_even_length() -> None:
    """An odd last byte is left out and noticed once; an empty message is nothing."""
    events = hear(started(), b"", b"\x01\x02", b"\x01\x02\x03", b"\x01", FRAME * 7)
    assert [found.packet.payload for found in events if isinstance(found, Audio)] == [
        b"\x01\x02",
        b"\x01\x02",
        FRAME * 7,
    ]
    assert [found.code for found in events if isinstance(found, Notice)] == ["odd_length"]


@pytest.mark.parametrize(
    "members", [{"digit": "8", "duration": 130}, {"dtmf": {"digit": "8"}}, {"dtmf": "8"}, {"digit": 8}]
)
def test_keys_in_all_forms_that_were_seen(members: dict[str, Any]) -> None:
    """The documented form, and two that other code expects."""
    assert hear(started(), event("dtmf", **members)) == [Dtmf("8")]


def test_a_key_that_is_none_is_noticed_once() -> None:
    """The call goes on."""
    odd = [event("dtmf"), event("dtmf", digit="10"), event("dtmf", dtmf={}), event("dtmf", digit={"x": 1})]
    assert [type(found) for found in hear(started(), *odd)] == [Notice]


def test_other_events_are_nothing() -> None:
    """Answers to what we do not say, before and after the first message, and whatever else comes."""
    listener = protocol()
    others = [event("cleared"), event("notify", payload={}), event("hangup"), '{"event":"something-new"}']
    assert hear(listener, *others) == []
    assert len(hear(listener, connected(), *others)) == 1


def test_a_hole_in_time_is_stated_once_it_is_certain() -> None:
    """Without a clock on the wire the arrival tells; a burst that makes up for a stall is no hole."""
    listener = started()
    events = [found for n in range(100) for found in hear(listener, FRAME, at_s=n * 0.02)]
    events += [found for n in range(100, 200) for found in hear(listener, FRAME, at_s=3.0 + n * 0.02)]
    gaps = [found for found in events if isinstance(found, Gap)]
    assert [(gap.kind, gap.track) for gap in gaps] == [(GapKind.LOST, 0)]
    assert abs(gaps[0].samples - 24_000) <= 320
    late = started()
    events = [found for n in range(100) for found in hear(late, FRAME, at_s=n * 0.02)]
    events += hear(late, *[FRAME] * 150, at_s=5.0)
    assert not any(isinstance(found, Gap) for found in events)


def test_nothing_is_ever_sent() -> None:
    """It would be played to the call."""
    listener = started()
    assert (
        listener.result('{"type":"utterance"}')
        == listener.paused(True)
        == listener.farewell(None, True)
        == []
    )
    assert listener.tick(60.0) == []
    assert CARRIER.subprotocols == ()
    assert isinstance(CARRIER.new_protocol(MIXED, UpgradeRequest("/")), VonageProtocol)
