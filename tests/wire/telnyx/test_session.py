"""Telnyx: what its messages become, in the order they are meant to come."""

from __future__ import annotations

import base64
import json
from typing import Any

import pytest

from app.domain import AudioFormat, AudioPacket, CallStart, Encoding, Leg
from app.wire.base import Audio, Dtmf, Notice, Start, Stop, WireEvent
from app.wire.carrier import CarrierConfig, UpgradeRequest
from app.wire.telnyx import CARRIER, TelnyxProtocol
from tests.wire.telnyx.made import (
    REQUEST,
    STOP,
    STREAM_ID,
    begun,
    connected,
    dtmf,
    error,
    heard,
    media,
    new,
    packets,
    start,
)

SILENCE = b"\xd5" * 160
SQUARE = (b"\xa5" * 4 + b"\x25" * 4) * 20
VECTOR = (
    '{"event":"connected","version":"1.0.0","connected":{"x-telnyx-streaming-auth-token":"s3cret"}}',
    '{"event":"start","sequence_number":"1","stream_id":"00000000-0000-4000-8000-000000000001","start":'
    '{"user_id":"00000000-0000-4000-8000-0000000000aa","call_control_id":"v3:TEST-call-1",'
    '"call_session_id":"00000000-0000-4000-8000-0000000000bb","from":"+442079460000","to":"+442079460001",'
    '"tags":["qa"],"client_state":"a293YWlybw==","custom_parameters":{"inbound_is":"customer"},'
    '"media_format":{"encoding":"PCMA","sample_rate":8000,"channels":1}}}',
    '{"event":"media","sequence_number":"2","stream_id":"00000000-0000-4000-8000-000000000001","media":'
    '{"track":"inbound","chunk":"1","timestamp":"0","payload":"' + "1dXV" * 53 + '1Q=="}}',
    '{"event":"media","sequence_number":"3","stream_id":"00000000-0000-4000-8000-000000000001","media":'
    '{"track":"outbound","chunk":"1","timestamp":"0","payload":"' + "1dXV" * 53 + '1Q=="}}',
    '{"event":"media","sequence_number":"5","stream_id":"00000000-0000-4000-8000-000000000001","media":'
    '{"track":"inbound","chunk":"3","timestamp":"40","payload":"' + "1dXV" * 53 + '1Q=="}}',
    '{"event":"media","sequence_number":"4","stream_id":"00000000-0000-4000-8000-000000000001","media":'
    '{"track":"inbound","chunk":"2","timestamp":"20","payload":"'
    + "paWlpSUlJSWlpaWlJSUlJaWlpaUlJSUl" * 6
    + 'paWlpSUlJSWlpaWlJSUlJQ=="}}',
    '{"event":"dtmf","stream_id":"00000000-0000-4000-8000-000000000001",'
    '"occurred_at":"2026-01-01T00:00:01.000000Z","sequence_number":"6","dtmf":{"digit":"1"}}',
    '{"event":"error","stream_id":"00000000-0000-4000-8000-000000000001","payload":'
    '{"code":100005,"title":"rate_limit_reached","detail":"Too many requests"}}',
    '{"event":"stop","sequence_number":"7","stream_id":"00000000-0000-4000-8000-000000000001","stop":'
    '{"user_id":"00000000-0000-4000-8000-0000000000aa","call_control_id":"v3:TEST-call-1"}}',
)


def test_the_recorded_session() -> None:
    """The session of the protocol page: inbound 60 ms in order, outbound 20 ms, a key, an error, a clean end."""
    config = CarrierConfig(secrets={"stream_auth_token": "s3cret"})
    protocol = TelnyxProtocol(config, REQUEST)
    assert heard(protocol, *VECTOR[:3]) == []
    (begin,) = heard(protocol, VECTOR[3])
    both = AudioFormat(Encoding.PCM_ALAW, 8_000, (Leg.CUSTOMER, Leg.AGENT), separate=True)
    metadata = {
        "carrier": "telnyx",
        "stream_id": STREAM_ID,
        "call_control_id": "v3:TEST-call-1",
        "call_session_id": "00000000-0000-4000-8000-0000000000bb",
        "user_id": "00000000-0000-4000-8000-0000000000aa",
        "from": "+442079460000",
        "to": "+442079460001",
        "client_state": "a293YWlybw==",
        "tags": ["qa"],
        "tracks": ["inbound", "outbound"],
    }
    assert begin == Start(CallStart("v3-TEST-call-1", both, metadata=metadata))
    rest = heard(protocol, *VECTOR[4:])
    assert packets(rest) == [
        AudioPacket(SILENCE, 0),
        AudioPacket(SQUARE, 160),
        AudioPacket(SILENCE, 320),
    ]
    assert packets(rest, 1) == [AudioPacket(SILENCE, 0, 1)]
    others = [event for event in rest if not isinstance(event, Audio)]
    assert others == [
        Dtmf("1"),
        Notice("carrier_error", "Telnyx told of error 100005 (rate_limit_reached)"),
        Stop(),
    ]


def test_the_carrier_rings_long() -> None:
    """The stream may connect while the telephone rings; nothing is offered as a sub-protocol."""
    assert (CARRIER.name, CARRIER.start_timeout_s, CARRIER.subprotocols) == ("telnyx", 90.0, ())
    assert isinstance(CARRIER.new_protocol(CarrierConfig(), REQUEST), TelnyxProtocol)


def start_event(*messages: str, config: CarrierConfig | None = None, **options: str) -> CallStart:
    """The call that these messages start."""
    protocol = new(config, **options)
    starts = [event for event in heard(protocol, *messages) if isinstance(event, Start)]
    assert len(starts) == 1
    return starts[0].call


@pytest.mark.parametrize(
    ("tracks", "inbound", "legs"),
    [
        ("inbound", Leg.CUSTOMER, (Leg.CUSTOMER,)),
        ("inbound", Leg.AGENT, (Leg.AGENT,)),
        ("outbound", Leg.CUSTOMER, (Leg.AGENT,)),
        ("outbound", Leg.AGENT, (Leg.CUSTOMER,)),
        ("both", Leg.CUSTOMER, (Leg.CUSTOMER, Leg.AGENT)),
        ("both", Leg.AGENT, (Leg.AGENT, Leg.CUSTOMER)),
    ],
)
def test_named_tracks_open_the_call_at_once(tracks: str, inbound: Leg, legs: tuple[Leg, ...]) -> None:
    """By option, by parameter or by the field of Telnyx's own; legs follow the site's mapping."""
    config = CarrierConfig(inbound=inbound, options={"tracks": tracks})
    expected = AudioFormat(Encoding.PCM_MULAW, 8_000, legs, separate=len(legs) > 1)
    assert start_event(start(), config=config).format == expected
    plain = CarrierConfig(inbound=inbound, options={"tracks": "both" if tracks == "inbound" else "inbound"})
    assert start_event(start(custom_parameters={"tracks": tracks}), config=plain).format == expected
    suffix = "tracks" if tracks == "both" else "track"
    named = start(stream_track=f"{tracks}_{suffix}", custom_parameters={"tracks": "outbound"})
    assert start_event(named, config=plain).format == expected


def test_both_tracks_are_opened_once_they_are_seen() -> None:
    """Nobody says which tracks come: the second one's first packet opens both, and what waited is heard."""
    protocol = new()
    assert heard(protocol, connected(), start(), media(2), media(3), dtmf("5")) == []
    events = heard(protocol, media(1, track="outbound"))
    assert isinstance(events[0], Start)
    assert events[0].call.format.channels == (Leg.CUSTOMER, Leg.AGENT)
    assert events[1:] == [Dtmf("5")]
    events = heard(protocol, media(4), media(5), STOP)
    assert [packet.position_samples for packet in packets(events)] == [0, 160, 320, 480]
    assert len(packets(events, 1)) == 1


@pytest.mark.parametrize(("track", "leg"), [("inbound", Leg.CUSTOMER), ("outbound_track", Leg.AGENT)])
def test_a_single_track_is_opened_after_a_fifth_of_a_second(track: str, leg: Leg) -> None:
    """Ten packets without any of the other track: the call has one, and its audio is complete."""
    protocol = new()
    assert heard(protocol, start(), *(media(n, track=track) for n in range(1, 10))) == []
    events = heard(protocol, media(10, track=track))
    assert isinstance(events[0], Start)
    assert events[0].call.format == AudioFormat(Encoding.PCM_MULAW, 8_000, (leg,))
    assert [packet.position_samples for packet in packets(events)] == [160 * n for n in range(10)]
    other = "outbound" if track == "inbound" else "inbound"
    assert [event.code for event in heard(protocol, media(1, track=other)) if isinstance(event, Notice)] == [
        "unexpected_track"
    ]
    assert heard(protocol, media(2, track=other)) == []


def test_long_packets_open_the_call_sooner_but_not_at_once() -> None:
    """Four packets of 200 ms are enough; or a second, whatever has come."""
    protocol = new()
    long = b"\xff" * 1600
    assert heard(protocol, start(), media(1, long), media(2, long), media(3, long)) == []
    assert len(packets(heard(protocol, media(4, long)))) == 4
    protocol = new()
    assert heard(protocol, start(), media(1, long), media(2, long)) == []
    assert isinstance(heard(protocol, media(3, long), now_s=1.0)[0], Start)


def test_time_opens_a_call_whose_media_say_too_little() -> None:
    """A second after the first media, or ten after a start without any, by the tick or at the next packet."""
    protocol = new()
    heard(protocol, start(), media(7))
    assert protocol.tick(0.9) == []
    begin, audio = protocol.tick(1.0)
    assert isinstance(begin, Start)
    assert audio == Audio(AudioPacket(b"\xff" * 160, 0))
    silent = new()
    assert silent.tick(100.0) == []
    heard(silent, start(), now_s=5.0)
    assert silent.tick(14.9) == []
    (begin,) = silent.tick(15.0)
    assert isinstance(begin, Start)
    assert begin.call.format.channels == (Leg.CUSTOMER,)


@pytest.mark.parametrize("ending", ["stop", "lost"])
def test_a_call_that_ends_before_it_was_opened_is_whole(ending: str) -> None:
    """The end opens it: start, audio, end; a call without any media too."""
    protocol = new()
    heard(protocol, start(), media(1), media(3))
    events = heard(protocol, STOP) if ending == "stop" else protocol.lost()
    assert isinstance(events[0], Start)
    assert [packet.position_samples for packet in packets(events)] == [0, 320]
    assert (events[-1] == Stop()) is (ending == "stop")
    empty = new()
    heard(empty, start())
    assert isinstance((heard(empty, STOP) if ending == "stop" else empty.lost())[0], Start)


def test_without_a_start_there_is_only_an_end() -> None:
    """An unanswered call closes without `start`, with or without `stop`."""
    assert heard(new(), connected(), STOP) == [Stop()]
    protocol = new()
    heard(protocol, connected())
    assert protocol.lost() == []


def test_everything_after_stop_is_ignored() -> None:
    """Telnyx may still have had something on the way."""
    protocol = begun()
    assert heard(protocol, STOP) == [Stop()]
    assert heard(protocol, media(1), STOP, start(), "junk") == []
    assert protocol.receive_bytes(b"junk", 0.0) == []
    assert protocol.lost() == protocol.tick(99.0) == []


def test_holes_are_stated_by_position() -> None:
    """Missing chunks are as long as the packet before them; packets may differ in length."""
    protocol = begun("inbound")
    events = heard(protocol, *(media(n) for n in (2, 3, 4, 5)), media(6, b"\xff" * 80))
    events += heard(protocol, *(media(n) for n in (9, 10, 11)))
    assert [packet.position_samples for packet in packets(events)] == [0, 160, 320, 480, 640]
    events = heard(protocol, media(12), media(13))
    assert [packet.position_samples for packet in packets(events)] == [
        720 + 2 * 80,
        880 + 160,
        880 + 320,
        880 + 480,
        880 + 640,
    ]


def test_late_and_doubled_packets_are_told_once_at_the_end() -> None:
    """They are counted, not told one by one; so are counts that begin again."""
    protocol = begun("inbound")
    events = heard(protocol, *(media(n) for n in (1, 2, 3, 4, 4, 6, 7, 8, 9, 5, 900_001, 900_002)), STOP)
    assert [event for event in events if not isinstance(event, Audio)] == [
        Notice("late_packets", "1 packets came too late and were left out"),
        Notice("duplicate_packets", "1 packets had come before"),
        Notice("chunk_restarts", "the chunk numbers began anew 1 times"),
        Stop(),
    ]
    assert [packet.position_samples for packet in packets(events)] == [
        *(160 * n for n in range(4)),
        *(160 * n for n in range(5, 11)),
    ]


def test_the_tick_lets_out_what_waits_in_vain() -> None:
    """Not before 60 ms without a packet of that track."""
    protocol = begun()
    assert heard(protocol, media(1), media(3), now_s=1.0) == []
    assert heard(protocol, media(1, track="outbound"), now_s=1.05) == []
    assert protocol.tick(1.04) == []
    events = protocol.tick(1.08)
    assert [packet.position_samples for packet in packets(events)] == [0, 320]
    assert packets(events, 1) == []
    assert len(packets(protocol.tick(2.08), 1)) == 1


def test_audio_without_chunk_numbers_or_tracks_is_taken_as_it_comes() -> None:
    """Neither is ever missing at Telnyx; others who speak this protocol may leave them out."""
    protocol = begun("outbound")
    events = heard(protocol, media(track=None), media(7), media(track=None, payload=""), media())
    assert [event.code for event in events if isinstance(event, Notice)] == ["no_chunk", "unexpected_track"]
    events = [event for event in events if isinstance(event, Audio)]
    assert events == [Audio(AudioPacket(b"\xff" * 160, 0))]
    both = begun()
    assert len(packets(heard(both, media(track=None)))) == 1


def test_unknown_tracks_are_left_out() -> None:
    """One notice a call."""
    events = heard(begun(), media(1, track="sideways"), media(2, track="mixed"), media(3, track=["inbound"]))
    assert [event.code for event in events if isinstance(event, Notice)] == ["unknown_track"]
    assert len(events) == 1


def test_errors_are_noticed_once_a_code_and_the_call_goes_on() -> None:
    """Their text is not repeated; before the start they are told, too."""
    protocol = new(tracks="both")
    events = heard(protocol, error(100005), error("100005"), error(100002), error(7), error(None))
    assert events == [
        Notice("carrier_error", "Telnyx told of error 100005 (rate_limit_reached)"),
        Notice("carrier_error", "Telnyx told of error 100002 (unknown_error)"),
        Notice("carrier_error", "Telnyx told of an error of an unknown code"),
    ]
    assert heard(protocol, '{"event":"error"}') == []
    assert isinstance(heard(protocol, start())[0], Start)


def test_keys_are_told_as_they_arrive() -> None:
    """Also before the call is opened; what no telephone has is noticed once."""
    assert heard(begun(), dtmf("#"), dtmf(5), dtmf("d")) == [Dtmf("#"), Dtmf("5"), Dtmf("D")]
    assert heard(begun(), dtmf("12"), dtmf(None)) == [
        Notice("invalid_dtmf", "a key that no telephone has was left out")
    ]
    waiting = new()
    heard(waiting, start(), *(dtmf("1") for _ in range(100)))
    assert sum(isinstance(event, Dtmf) for event in heard(waiting, STOP)) == 64


def test_what_means_nothing_is_ignored() -> None:
    """Marks, a second `connected`, and events of later versions."""
    mark = json.dumps({"event": "mark", "mark": {"name": "x"}})
    assert heard(begun(), mark, connected(), '{"event":"streaming_quality","x":1}') == []
    assert heard(new(), mark, '{"event":"later"}') == []


def test_parameters_describe_the_call() -> None:
    """As an object or as the list they were ordered as; `tracks` is not metadata."""
    given = {
        "line": "l1",
        "language": "de",
        "consent": "yes",
        "inbound_is": "agent",
        "tracks": "both",
        "q": "7",
    }
    for parameters in (given, [{"name": name, "value": value} for name, value in given.items()] + [5, {}]):
        call = start_event(start(custom_parameters=parameters))
        assert (call.line, call.language, call.consent) == ("l1", "de", True)
        assert call.format.channels == (Leg.AGENT, Leg.CUSTOMER)
        assert call.metadata["q"] == "7"
        assert call.metadata["tracks"] == ["inbound", "outbound"]


def test_the_parameter_leg_names_who_is_on_a_single_track() -> None:
    """It says nothing of two tracks, and nonsense is left out."""
    single = start(custom_parameters={"leg": "mixed"})
    assert start_event(single, tracks="inbound").format.channels == (Leg.MIXED,)
    assert start_event(single, tracks="both").format.channels == (Leg.CUSTOMER, Leg.AGENT)
    events = heard(new(tracks="inbound"), start(custom_parameters={"leg": "nobody", "tracks": "all"}))
    assert isinstance(events[0], Start)
    assert events[0].call.format.channels == (Leg.CUSTOMER,)
    assert [event.code for event in events[1:] if isinstance(event, Notice)] == ["invalid_parameter"] * 2


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({"tags": ["a", 5, "x" * 65], "from": None}, {"tags": ["a"]}),
        ({"tags": [], "client_state": ""}, {}),
        ({"tags": "a", "from": 5, "to": "x" * 300}, {}),
    ],
)
def test_metadata_is_bounded(fields: dict[str, Any], expected: dict[str, object]) -> None:
    """What Telnyx says of the call is kept if it has the documented form."""
    call = start_event(start(**fields), tracks="inbound")
    ids = {"carrier", "stream_id", "call_control_id", "call_session_id", "user_id", "tracks"}
    assert {name: value for name, value in call.metadata.items() if name not in ids} == expected


def test_the_stream_id_stands_in_for_a_missing_call_id() -> None:
    """A call needs some id, and one is enough."""
    bare = json.loads(start())
    del bare["stream_id"]
    assert "stream_id" not in start_event(json.dumps(bare), tracks="both").metadata
    assert start_event(start(call_control_id=None), tracks="both").call_id == STREAM_ID


SAMPLES = [0, 1000, -1000, 32767]
BIG, LITTLE = "AAAD6PwYf/8=", "AADoAxj8/38="


@pytest.mark.parametrize(("order", "payload"), [("big", BIG), ("little", LITTLE), (None, BIG)])
def test_linear_audio_has_an_order(order: str | None, payload: str) -> None:
    """L16 is big-endian by default (the vectors of the protocol page), and may be set."""
    options = {"tracks": "inbound"} | ({} if order is None else {"l16_order": order})
    protocol = new(**options)
    (begin,) = heard(protocol, start(media_format={"encoding": "L16", "sample_rate": "16000"}))
    assert isinstance(begin, Start)
    assert begin.call.format == AudioFormat(Encoding.PCM_S16LE, 16_000, (Leg.CUSTOMER,))
    (packet,) = packets(heard(protocol, media(1, payload), STOP))
    assert packet == AudioPacket(base64.b64decode(LITTLE), 0)


@pytest.mark.parametrize("order", ["big", "little"])
def test_the_wrong_order_is_noticed(order: str) -> None:
    """After half a second of speech-like audio, once."""
    ramp = b"".join(int(200 * (i % 64) - 6_400).to_bytes(2, "little", signed=True) for i in range(160))
    protocol = new(tracks="inbound", l16_order=order)
    heard(protocol, start(media_format={"encoding": "l16", "sample_rate": 8000, "channels": 1}))
    events: list[WireEvent] = heard(protocol, *(media(n, ramp) for n in range(1, 60)))
    codes = [event.code for event in events if isinstance(event, Notice)]
    assert codes == (["l16_order"] if order == "big" else [])


def test_half_samples_are_left_out() -> None:
    """An odd byte at the end of a packet would spoil all that follows."""
    protocol = begun("inbound", media_format={"encoding": "L16", "sample_rate": 8000})
    events = heard(protocol, media(1, b"\x00\x01\x02"), media(2, b"\x00\x03\x04"), STOP)
    assert packets(events) == [AudioPacket(b"\x01\x00", 0), AudioPacket(b"\x03\x00", 1)]
    assert [event.code for event in events if isinstance(event, Notice)] == ["odd_payload"]


def test_the_path_of_the_request_does_not_matter_here() -> None:
    """It is checked by the route."""
    protocol = new(request=UpgradeRequest("/v1/ingest/telnyx/abc", path_secret="abc"))
    assert heard(protocol, connected(), STOP) == [Stop()]
