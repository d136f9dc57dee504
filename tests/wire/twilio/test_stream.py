"""What a Twilio stream becomes: the call, its legs, its audio on its clock, keys and the end."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from app.audio.g711 import decode
from app.domain import AudioFormat, AudioPacket, CallStart, Encoding, Leg
from app.wire.base import Audio, Dtmf, Notice, Start, Stop, WireEvent
from app.wire.carrier import CarrierConfig
from app.wire.twilio import CARRIER
from tests.wire.twilio.messages import (
    ACCOUNT,
    CALL,
    FRAME,
    STREAM,
    event,
    hear,
    media,
    places,
    protocol,
    start,
    started,
)

SILENCE = b"\xff" * 160
SQUARE = (b"\x8f" * 4 + b"\x0f" * 4) * 20
BOTH = ["inbound", "outbound"]


def begin(config: CarrierConfig | None = None, **members: Any) -> CallStart:
    """The call of a start message that has nothing odd."""
    (first,) = hear(protocol(config), start(**members))
    assert isinstance(first, Start)
    return first.call


def test_the_session_of_the_protocol_page() -> None:
    """80 ms on the inbound timeline, of which 20 are missing; one digit; a clean end."""
    session = Path(__file__).with_name("session.jsonl").read_text(encoding="utf-8").splitlines()
    config = CarrierConfig(message_secret="t0k")
    expected: list[WireEvent] = [
        Start(
            CallStart(
                CALL,
                AudioFormat(Encoding.PCM_MULAW, 8_000, (Leg.CUSTOMER,)),
                metadata={
                    "carrier": "twilio",
                    "call_sid": CALL,
                    "stream_sid": STREAM,
                    "account_sid": ACCOUNT,
                },
            )
        ),
        Audio(AudioPacket(SILENCE, 0)),
        Audio(AudioPacket(SQUARE, 160)),
        Dtmf("5", 0),
        Audio(AudioPacket(SQUARE, 480)),
        Stop(),
    ]
    assert hear(protocol(config), *session) == expected


def test_the_codes_of_the_protocol_page() -> None:
    """The payload is µ-law as the page reads it."""
    codes = bytes([0xFF, 0x7F, 0x80, 0x00, 0x8F, 0x0F])
    assert decode(codes, Encoding.PCM_MULAW).tolist() == [0, 0, 32_124, -32_124, 16_764, -16_764]


@pytest.mark.parametrize(
    ("tracks", "parameters", "inbound", "channels"),
    [
        (["inbound"], {}, Leg.CUSTOMER, (Leg.CUSTOMER,)),
        (["outbound"], {}, Leg.CUSTOMER, (Leg.AGENT,)),
        (["inbound"], {}, Leg.AGENT, (Leg.AGENT,)),
        (["inbound"], {"inbound_is": "agent"}, Leg.CUSTOMER, (Leg.AGENT,)),
        (["outbound"], {"leg": "mixed"}, Leg.CUSTOMER, (Leg.MIXED,)),
        (BOTH, {}, Leg.CUSTOMER, (Leg.CUSTOMER, Leg.AGENT)),
        (BOTH[::-1], {}, Leg.CUSTOMER, (Leg.CUSTOMER, Leg.AGENT)),
        (BOTH, {"inbound_is": "agent"}, Leg.CUSTOMER, (Leg.AGENT, Leg.CUSTOMER)),
        (BOTH, {"leg": "mixed"}, Leg.AGENT, (Leg.AGENT, Leg.CUSTOMER)),
    ],
)
def test_tracks_become_legs(
    tracks: list[str], parameters: dict[str, str], inbound: Leg, channels: tuple[Leg, ...]
) -> None:
    """The inbound track is whom the site or the call says; two tracks are apart, inbound first."""
    call = begin(CarrierConfig(inbound=inbound), tracks=tracks, customParameters=parameters)
    assert call.format == AudioFormat(Encoding.PCM_MULAW, 8_000, channels, separate=len(tracks) == 2)


def test_what_is_not_said_is_as_twilio_has_it() -> None:
    """Without tracks, format, parameters and account it is the inbound track of a µ-law stream."""
    call = begin(tracks=None, mediaFormat=None, customParameters=None, accountSid=None)
    assert call.format == AudioFormat(Encoding.PCM_MULAW, 8_000, (Leg.CUSTOMER,))
    assert call.metadata == {"carrier": "twilio", "call_sid": CALL, "stream_sid": STREAM}


def test_custom_parameters_describe_the_call() -> None:
    """What Kowairo knows of them is read, the rest is kept as metadata; the carrier's own ids win."""
    parameters = {"line": "trunk-1", "consent": "true", "from": "+14155550100", "call_sid": "CAforged"}
    call = begin(customParameters=parameters, callSid="CA/1")
    assert (call.call_id, call.line, call.consent) == ("CA-1", "trunk-1", True)
    assert call.metadata["from"] == "+14155550100"
    assert call.metadata["call_sid"] == "CA/1"


def test_parameters_that_cannot_be_used_are_noticed_after_the_start() -> None:
    """The call starts all the same."""
    events = hear(protocol(), start(customParameters={"line": "a line"}))
    assert isinstance(events[0], Start)
    assert [notice.code for notice in events[1:] if isinstance(notice, Notice)] == ["invalid_parameter"]


def test_tracks_have_clocks_of_their_own() -> None:
    """A track that begins late keeps its place; frames interleave."""
    stream = started(tracks=BOTH)
    events = hear(
        stream,
        media(2, timestamp="0"),
        media(3, timestamp="20"),
        media(4, track="outbound", timestamp="40"),
        media(5, timestamp="40"),
        media(6, track="outbound", timestamp="60"),
    )
    assert places(events) == [(0, 160, 0), (160, 160, 0), (320, 160, 1), (320, 160, 0), (480, 160, 1)]


@pytest.mark.parametrize(
    ("timestamps", "positions"),
    [
        (["0", "20", "40"], [0, 160, 320]),
        (["7", "33", "41"], [0, 160, 320]),  # jitter of rounding is contiguous
        (["19", "39", "59"], [0, 160, 320]),
        (["20", "40", "60"], [160, 320, 480]),  # a whole frame is missing at the beginning
        (["0", "39", "59"], [0, 160, 320]),
        (["0", "40", "60"], [0, 320, 480]),
        (["0", "1", "2"], [0, 160, 16]),  # two thirds are an overlap: that is stated
        (["1000", "0", "20"], [8_000, 0, 160]),  # back to the start
        ([None, None, None], [0, 160, 320]),
        (["0", None, 60], [0, 160, 480]),
    ],
)
def test_timestamps_are_positions_but_for_rounding(timestamps: list[object], positions: list[int]) -> None:
    """Less than a frame from where it is expected counts as there, more is stated as it came."""
    events = hear(started(), *(media(2 + n, timestamp=at) for n, at in enumerate(timestamps)))
    assert [place[0] for place in places(events)] == positions


def test_packets_may_be_of_any_length() -> None:
    """20 ms are usual, not promised; an empty payload is nothing."""
    stream = started()
    events = hear(
        stream,
        media(2, payload="AA=="),
        media(3, payload=""),
        media(4, payload="AAAA"),
        media(5, timestamp="100"),
    )
    assert places(events) == [(0, 1, 0), (1, 3, 0), (800, 160, 0)]


def test_duplicates_are_left_out_and_noticed_once() -> None:
    """A sequenceNumber that was seen, or one before it, brings nothing new."""
    events = hear(started(), media(2), media(2), media(1), media("3", timestamp="20"), media("3"))
    assert places(events) == [(0, 160, 0), (160, 160, 0)]
    assert [notice.code for notice in events if isinstance(notice, Notice)] == ["duplicate"]


def test_a_skipped_number_is_noticed_once() -> None:
    """Twilio discarded something; where it was audio the timestamps say how much."""
    events = hear(started(), media(3, timestamp="20"), media(7, timestamp="100"))
    assert places(events) == [(160, 160, 0), (800, 160, 0)]
    assert [notice.code for notice in events if isinstance(notice, Notice)] == ["sequence_jump"]


def test_numbers_may_be_missing() -> None:
    """Without sequenceNumber nothing is a duplicate; the first number seen is no jump."""
    stream = protocol()
    hear(stream, start().replace('"sequenceNumber": "1", ', ""))
    assert len(places(hear(stream, media(None), media(None, timestamp="20"), media(40, timestamp="40")))) == 3


def test_a_track_that_was_not_named_is_left_out() -> None:
    """It is noticed once; a message that names none belongs to the only one."""
    events = hear(
        started(),
        media(2, track="outbound"),
        media(3, track="video", timestamp="20"),
        media(4, track=["inbound"], timestamp="20"),
        media(5, track=None, timestamp="0"),
    )
    assert places(events) == [(0, 160, 0)]
    assert [notice.code for notice in events if isinstance(notice, Notice)] == ["unknown_track"]
    assert places(hear(started(tracks=BOTH), media(2, track=None))) == []


def test_another_stream_is_left_out() -> None:
    """Whatever carries another streamSid is not of this call, `stop` included."""
    stream = started()
    foreign = [message.replace(STREAM, "MZother") for message in (media(2), event("stop"), event("mark"))]
    assert [type(found) for found in hear(stream, *foreign)] == [Notice]
    assert places(hear(stream, media(2))) == [(0, 160, 0)]


def test_keys() -> None:
    """A key names its track otherwise than audio does; one that is none is noticed once."""
    stream = started()
    events = hear(
        stream,
        event("dtmf", sequenceNumber="2", dtmf={"track": "inbound_track", "digit": "#"}),
        event("dtmf", sequenceNumber="3", dtmf={"track": "inbound", "digit": "0"}),
        event("dtmf", sequenceNumber="4", dtmf={"digit": "7"}),
        event("dtmf", sequenceNumber="5", dtmf={"track": "outbound_track", "digit": "7"}),
        event("dtmf", sequenceNumber="5", dtmf={"track": "inbound_track", "digit": "7"}),
    )
    assert [found for found in events if isinstance(found, Dtmf)] == [
        Dtmf("#", 0), Dtmf("0", 0), Dtmf("7", None), Dtmf("7", None),
    ]  # fmt: skip
    odd = hear(stream, *(event("dtmf", dtmf={"digit": digit}) for digit in ("10", "", None, "x")))
    assert [type(found) for found in odd] == [Notice]


def test_marks_and_unknown_events_are_nothing() -> None:
    """Ours are none, and later versions may bring more; `connected` says nothing we need."""
    stream = protocol()
    assert hear(stream, event("connected"), event("connected"), event("something-new"), start()) != []
    assert hear(stream, event("mark", mark={"name": "m"}), event("connected"), event("something-new")) == []


def test_after_the_end_nothing_is_heard() -> None:
    """Odd reuse of a socket yields nothing, not even an error."""
    stream = started()
    assert hear(stream, event("stop", sequenceNumber="1")) == [Stop()]
    assert hear(stream, "no JSON", start(), media(), event("stop")) == []
    assert stream.receive_bytes(b"\x00", 0.0) == []


def test_a_stop_without_a_start_ends_the_connection() -> None:
    """There is no call then."""
    assert hear(protocol(), event("connected"), event("stop")) == [Stop()]


def test_nothing_is_ever_sent() -> None:
    """A one-way stream allows no message, so none is made: results, pauses, farewells."""
    stream = started()
    assert stream.result('{"type":"utterance"}') == stream.paused(True) == stream.farewell(None, True) == []
    assert stream.lost() == stream.tick(60.0) == []
    assert CARRIER.subprotocols == ()
    assert len(FRAME) == 160
