"""AudioHook sessions that go well: what is understood, what is answered, and where the time goes."""

from __future__ import annotations

import dataclasses
from typing import Any

import orjson
import pytest

from app.domain import AudioFormat, AudioPacket, CallStart, Encoding, Leg
from app.wire.audiohook import CARRIER, OPTIONS, AudioHookProtocol
from app.wire.base import (
    Audio,
    CloseCode,
    Dtmf,
    Gap,
    GapKind,
    Metadata,
    Notice,
    Pause,
    Reply,
    Resume,
    Start,
    Stop,
    WireError,
    WireEvent,
)
from app.wire.carrier import CarrierConfig, UpgradeRequest
from tests.wire.audiohook.session import (
    CONVERSATION,
    NULL,
    OPEN,
    ORGANIZATION,
    PROBE,
    REQUEST,
    SESSION,
    STEREO,
    Client,
    media,
    opened,
)

# The session of the protocol page (§7), verbatim but for `I`, the session's id.
PAGE = [
    '> {"version":"2","type":"open","id":I,"seq":1,"serverseq":0,"position":"PT0S","parameters":{"organizationId":"11111111-1111-4111-8111-111111111111","conversationId":"44444444-4444-4444-8444-444444444444","participant":{"id":"55555555-5555-4555-8555-555555555555","ani":"+15550100","aniName":"Test","dnis":"+15550199"},"media":[{"type":"audio","format":"PCMU","channels":["external","internal"],"rate":8000},{"type":"audio","format":"PCMU","channels":["external"],"rate":8000}]}}',  # noqa: E501
    '< {"version":"2","type":"opened","id":I,"seq":1,"clientseq":1,"parameters":{"startPaused":false,"media":[{"type":"audio","format":"PCMU","channels":["external","internal"],"rate":8000}]}}',  # noqa: E501
    "> binary",
    '> {"version":"2","type":"ping","id":I,"seq":2,"serverseq":1,"position":"PT0.1S","parameters":{}}',
    '< {"version":"2","type":"pong","id":I,"seq":2,"clientseq":2,"parameters":{}}',
    '> {"version":"2","type":"paused","id":I,"seq":3,"serverseq":2,"position":"PT0.1S","parameters":{}}',
    '> {"version":"2","type":"resumed","id":I,"seq":4,"serverseq":2,"position":"PT2.1S","parameters":{"start":"PT0.1S","discarded":"PT2S"}}',  # noqa: E501
    "> binary",
    '> {"version":"2","type":"close","id":I,"seq":5,"serverseq":2,"position":"PT2.2S","parameters":{"reason":"end"}}',
    '< {"version":"2","type":"closed","id":I,"seq":3,"clientseq":5,"parameters":{}}',
]


def test_the_session_of_the_protocol_page() -> None:
    """Every message of the page is understood, and answered byte by byte as it stands there."""
    protocol = AudioHookProtocol(CarrierConfig(), REQUEST)
    audio = bytes.fromhex("ff7f") * 800
    events: list[WireEvent] = []
    said: list[str | bytes] = []
    for line in PAGE:
        text = line[2:].replace('"id":I', f'"id":"{SESSION}"')
        if line.startswith("<"):
            if '"closed"' in line:
                said += protocol.farewell(None, draining=False)
            assert said.pop(0) == text
            continue
        new = protocol.receive_bytes(audio, 0.0) if text == "binary" else protocol.receive_text(text, 0.0)
        said += [event.payload for event in new if isinstance(event, Reply)]
        events += [event for event in new if not isinstance(event, Reply)]
    assert not said
    start = events.pop(0)
    assert start == Start(
        CallStart(
            call_id=CONVERSATION,
            format=AudioFormat(Encoding.PCM_MULAW, 8_000, (Leg.CUSTOMER, Leg.AGENT)),
            metadata={
                "carrier": "audiohook",
                "organization_id": ORGANIZATION,
                "conversation_id": CONVERSATION,
                "session_id": SESSION,
                "correlation_id": "33333333-3333-4333-8333-333333333333",
                "participant_id": "55555555-5555-4555-8555-555555555555",
                "ani": "+15550100",
                "ani_name": "Test",
                "dnis": "+15550199",
            },
        )
    )
    assert events == [
        Audio(AudioPacket(audio, 0)),
        Pause("carrier"),
        Gap(GapKind.PAUSED, until_samples=16_800),
        Resume("carrier"),
        Audio(AudioPacket(audio, 16_800)),
        Stop(),
    ]


# --- open


def start_of(client: Client, **parameters: Any) -> CallStart:
    """The call that an `open` with these parameters starts."""
    start = client.say("open", **(OPEN | parameters))[0]
    assert isinstance(start, Start)
    return start.call


@pytest.mark.parametrize(
    ("offer", "picked", "legs"),
    [
        ([media("external"), STEREO], 1, (Leg.CUSTOMER, Leg.AGENT)),
        ([media("internal"), media("external")], 1, (Leg.CUSTOMER,)),
        ([media("internal")], 0, (Leg.AGENT,)),
        ([media("internal", "external")], 0, (Leg.AGENT, Leg.CUSTOMER)),
        ([media("external", "internal", format="L16"), media("internal")], 1, (Leg.AGENT,)),
        ([media("external", "internal", rate=16000), media("external")], 1, (Leg.CUSTOMER,)),
        ([media("external", "internal", type="video"), media("external")], 1, (Leg.CUSTOMER,)),
        (["x", None, {}, media("external", "external"), media("external")], 4, (Leg.CUSTOMER,)),
    ],
)
def test_the_best_of_the_offer_is_picked(offer: list[Any], picked: int, legs: tuple[Leg, ...]) -> None:
    """Both sides before one, the customer before the agent, in µ-law only; copied as it was offered."""
    client = Client()
    call = start_of(client, media=offer)
    assert call.format == AudioFormat(Encoding.PCM_MULAW, 8_000, legs)
    assert client.replies[0]["parameters"]["media"] == [offer[picked]]


def test_opened_comes_before_the_start() -> None:
    """The answer that Genesys waits for does not wait for the call to be admitted."""
    client = Client()
    text = orjson.dumps(client.message("open", "PT0S", OPEN)).decode()
    events = client.protocol.receive_text(text, 0.0)
    assert [type(event) for event in events] == [Reply, Start]


def test_ids_are_compared_without_case_and_echoed_as_they_came() -> None:
    """The session's id in the answer is written as the client wrote it; metadata has lower case."""
    upper = "ABCDEFAB-2222-4222-8222-222222222222"
    request = dataclasses.replace(
        REQUEST,
        headers={"audiohook-session-id": upper.lower(), "audiohook-organization-id": ORGANIZATION.upper()},
    )
    client = Client(request=request)
    start = client.send(client.message("open", "PT0S", OPEN) | {"id": upper})[0]
    assert isinstance(start, Start)
    assert client.replies[0]["id"] == upper
    assert start.call.metadata["session_id"] == upper.lower()
    assert client.send(client.message("ping", "PT0S", {}) | {"id": upper.lower()}) == []
    assert client.replies[1]["type"] == "pong"


def test_without_headers_the_open_message_counts() -> None:
    """Where no AudioHook headers came (development), ids are those of the messages."""
    client = Client(request=UpgradeRequest(path="/v1/ingest/audiohook"))
    assert "correlation_id" not in start_of(client).metadata


def test_custom_config_describes_the_call() -> None:
    """`customConfig` wins over the Connector's variables, these over the query of the connection URI."""
    request = dataclasses.replace(REQUEST, query="line=trunk-1&consent=true&desk=a&desk2=a")
    client = Client(request=request)
    call = start_of(
        client,
        language="de-DE",
        inputVariables={"desk": "b", "topic": "b"},
        customConfig={"topic": "c", "nested": {"x": 1}},
    )
    assert (call.line, call.language, call.consent, call.notice_given) == ("trunk-1", "de-DE", True, False)
    assert {name: call.metadata[name] for name in ("desk", "desk2", "topic")} == {
        "desk": "b",
        "desk2": "a",
        "topic": "c",
    }
    assert "nested" not in call.metadata


def test_parameters_that_are_left_out_are_noticed_after_the_start() -> None:
    """Notices of `customConfig` follow the start."""
    events = Client().say("open", **(OPEN | {"customConfig": {"line": "no good"}}))
    assert [type(event) for event in events] == [Start, Notice]


def test_the_site_may_say_that_external_is_the_agent() -> None:
    """`inbound_is` and the site's `inbound` name who is on the external channel."""
    assert start_of(Client(CarrierConfig(inbound=Leg.AGENT))).format.channels == (Leg.AGENT, Leg.CUSTOMER)
    call = start_of(Client(), customConfig={"inbound_is": "agent"}, media=[media("internal")])
    assert call.format.channels == (Leg.CUSTOMER,)


def test_the_message_secret_is_asked_for() -> None:
    """A site's `message_secret` must come as `token`; a wrong one ends in `disconnect` unauthorized."""
    config = CarrierConfig(message_secret="s3cret")
    assert start_of(Client(config), customConfig={"token": "s3cret"}).metadata.get("token") is None
    client = Client(config)
    with pytest.raises(WireError) as caught:
        client.say("open", **OPEN)
    (said,) = client.farewell(error=caught.value)
    assert said["parameters"] == {"reason": "unauthorized", "info": "unauthorized"}


@pytest.mark.parametrize(
    ("options", "language", "expected"),
    [
        ({"languages": "en-US, de-DE"}, "fr-FR", ["en-US", "de-DE"]),
        ({}, "fr-FR", ["fr-FR"]),
        ({}, None, []),
    ],
)
def test_supported_languages_are_sent_when_asked_for(
    options: dict[str, str], language: str | None, expected: list[str]
) -> None:
    """The site's list, or the call's own language: emotion is not told by the words."""
    client = Client(CarrierConfig(options=options))
    client.say("open", **(OPEN | {"supportedLanguages": True, "language": language}))
    assert client.replies[0]["parameters"]["supportedLanguages"] == expected


def test_a_continued_session_starts_at_its_position() -> None:
    """`continuedSessions` is metadata; positions count from that of `open`."""
    client = Client()
    sessions = [{"id": NULL.replace("0", "A"), "serverseq": 4, "clientseq": 9}, {"id": "x"}, 7]
    events = client.say("open", "PT30S", **(OPEN | {"continuedSessions": sessions}))
    assert isinstance(events[0], Start)
    assert events[0].call.metadata["continued_sessions"] == [NULL.replace("0", "a")]
    assert client.hear(b"\xff\x7f" * 800) == [Audio(AudioPacket(b"\xff\x7f" * 800, 0))]
    assert client.say("close", "PT30.1S", reason="end") == [Stop()]


def test_a_real_participant_without_conversation_is_a_call() -> None:
    """Only where both ids are null it is a probe; the call then has the session's id."""
    assert start_of(Client(), conversationId=NULL).call_id == SESSION


@pytest.mark.parametrize("offer", [[], [STEREO]])
def test_a_probe_starts_no_call(offer: list[Any]) -> None:
    """Opened, pinged, closed: nothing but replies, then the end."""
    client = Client()
    assert client.say("open", **(PROBE | {"media": offer})) == []
    assert client.replies[0]["parameters"] == {"startPaused": False, "media": offer}
    assert client.hear(b"\xff\x7f" * 80) == []
    assert client.say("ping") == []
    assert client.say("update", language="en-GB") == []
    assert client.say("paused") == []
    assert client.protocol.result('{"type":"utterance"}') == client.protocol.paused(True) == []
    assert client.say("close", reason="end") == [Stop()]
    assert [reply["type"] for reply in client.replies] == ["opened", "pong", "updated"]
    (closed,) = client.farewell()
    assert (closed["type"], closed["seq"], closed["clientseq"], closed["parameters"]) == ("closed", 4, 5, {})


def test_a_probe_needs_no_message_secret_and_no_participant() -> None:
    """Genesys sends no `customConfig` with a probe, perhaps not even a participant."""
    client = Client(CarrierConfig(message_secret="s3cret"))
    parameters = {name: value for name, value in PROBE.items() if name != "participant"}
    assert client.say("open", **parameters) == []
    assert client.replies[0]["type"] == "opened"


# --- audio and control


def test_audio_of_any_length_is_counted() -> None:
    """Positions count samples of a channel, whatever the messages' lengths; what is empty is nothing."""
    client = opened()
    positions = []
    for samples in (1, 160, 0, 800, 32_000):
        for event in client.hear(b"\xff\x7f" * samples):
            assert isinstance(event, Audio)
            positions.append(event.packet.position_samples)
    assert positions == [0, 1, 161, 961]
    assert client.say("close", "PT4.120125S", reason="end") == [Stop()]


def test_half_an_instant_is_cut() -> None:
    """A message that ends between the channels is cut there, so that sides never change; noticed once."""
    client = opened()
    events = client.hear(b"\x01\x02\x03")
    assert [type(event) for event in events] == [Notice, Audio]
    assert events[1] == Audio(AudioPacket(b"\x01\x02", 0))
    assert client.hear(b"\x04") == []
    assert client.hear(b"\x05\x06") == [Audio(AudioPacket(b"\x05\x06", 1))]


def test_unknown_messages_are_counted_and_ignored() -> None:
    """Messages of later versions and of the Connector's playback do nothing, but their numbers count."""
    client = opened()
    assert client.say("playback_started") == client.say("something_new", x=[1]) == []
    assert client.say("ping") == []
    assert client.replies[-1]["clientseq"] == 4


def test_keys_of_the_audio_connector() -> None:
    """`dtmf` is a key; what no telephone has is noticed, once."""
    client = opened()
    assert client.say("dtmf", digit="#") == [Dtmf("#")]
    assert client.say("dtmf", digit="x") == [
        Notice("invalid_dtmf", "a key that no telephone has was left out")
    ]
    assert client.say("dtmf", digit=["1"]) == []


def test_a_language_may_change() -> None:
    """`update` is answered; a code becomes metadata, anything else is noticed."""
    client = opened()
    assert client.say("update", language="es-419") == [Metadata({"language": "es-419"})]
    assert [type(event) for event in client.say("update", language="?")] == [Notice]
    assert [reply["type"] for reply in client.replies[1:]] == ["updated", "updated"]


def test_errors_of_the_client_are_noticed() -> None:
    """Every code once; nothing of the client's text."""
    client = opened()
    assert client.say("error", code=429, message="secret text", retryAfter="PT1S") == [
        Notice("client_error", "Genesys reported error 429")
    ]
    assert client.say("error", code=429) == []
    assert client.say("error", code=408) == [Notice("client_error", "Genesys reported error 408")]
    assert client.say("error", code="x") == [Notice("client_error", "Genesys reported an error")]
    notices = [client.say("error", code=code) for code in range(500, 600)]
    assert sum(map(len, notices)) == 29  # there is an end to it


# --- time


def test_a_clock_that_runs_on_in_a_pause() -> None:
    """What `discarded` states is paused time; `paused` and `resumed` twice are nothing new."""
    client = opened()
    client.hear(b"\xff\x7f" * 800)
    assert client.say("paused", "PT0.1S") == [Pause("carrier")]
    assert client.say("paused", "PT0.2S") == []
    assert client.say("resumed", "PT1.1S", start="PT0.1S", discarded="PT1S") == [
        Gap(GapKind.PAUSED, until_samples=8_800),
        Resume("carrier"),
    ]
    assert client.say("resumed", "PT1.1S", start="PT1.1S", discarded="PT0S") == []


def test_a_clock_that_stands_still_in_a_pause() -> None:
    """`PT0S` discarded is no gap; audio goes on where it was."""
    client = opened()
    client.hear(b"\xff\x7f" * 800)
    client.say("paused", "PT0.1S")
    assert client.say("resumed", "PT0.1S", start="PT0.1S", discarded="PT0S") == [Resume("carrier")]
    assert client.hear(b"\xff\x7f") == [Audio(AudioPacket(b"\xff\x7f", 800))]


def test_a_long_pause_is_told_in_pieces() -> None:
    """Monitoring may be off for hours, which the sample clock would not believe at once."""
    client = opened()
    client.say("paused")
    events = client.say("resumed", "PT3H", start="PT0S", discarded="PT1H10M")
    assert events == [
        Gap(GapKind.PAUSED, until_samples=14_400_000),
        Gap(GapKind.PAUSED, until_samples=28_800_000),
        Gap(GapKind.PAUSED, until_samples=33_600_000),
        Resume("carrier"),
    ]


def test_audio_in_a_pause_is_dropped_and_counted_as_paused() -> None:
    """It is illegal, so noticed; its time counts, and is not counted twice by `resumed`."""
    client = opened()
    client.say("paused")
    events = client.hear(b"\xff\x7f" * 160)
    assert [type(event) for event in events] == [Notice, Gap]
    assert events[1] == Gap(GapKind.PAUSED, 160)
    assert client.hear(b"\xff\x7f" * 160) == [Gap(GapKind.PAUSED, 160)]
    assert client.say("resumed", "PT0.1S", start="PT0S", discarded="PT0.1S") == [
        Gap(GapKind.PAUSED, until_samples=800),
        Resume("carrier"),
    ]


def test_discarded_audio_is_lost() -> None:
    """A hole that no pause explains; within a pause it is paused."""
    client = opened()
    assert client.say("discarded", "PT1S", start="PT0.5S", discarded="PT0.5S") == [
        Gap(GapKind.LOST, until_samples=8_000)
    ]
    client.say("paused", "PT1S")
    assert client.say("discarded", "PT1.5S", start="PT1S", discarded="PT0.5S") == [
        Gap(GapKind.PAUSED, until_samples=12_000)
    ]


def test_a_hole_that_lies_behind_is_nothing() -> None:
    """The clock never goes back, and a millisecond is rounding."""
    client = opened()
    client.hear(b"\xff\x7f" * 800)
    assert client.say("discarded", "PT0.1S", start="PT0S", discarded="PT0.05S") == []
    assert client.say("discarded", "PT0.1S", start="PT0S", discarded="PT0.101S") == []
    assert client.hear(b"\xff\x7f") == [Audio(AudioPacket(b"\xff\x7f", 800))]


def test_the_tail_that_was_promised_is_lost() -> None:
    """Time up to the position of `close` that never came; paused time where the session was paused."""
    client = opened()
    client.hear(b"\xff\x7f" * 800)
    assert client.say("close", "PT0.5S", reason="end") == [Gap(GapKind.LOST, until_samples=4_000), Stop()]
    client = opened()
    client.say("paused")
    assert client.say("close", "PT0.5S", reason="error") == [
        Gap(GapKind.PAUSED, until_samples=4_000),
        Metadata({"close_reason": "error"}),
        Stop(),
    ]


def test_a_close_without_a_position_ends_where_the_audio_did() -> None:
    """It promises nothing; that it is missing is noticed."""
    client = opened()
    client.hear(b"\xff\x7f" * 800)
    assert [type(event) for event in client.say("close", None, reason="end")] == [Notice, Stop]


def test_positions_are_checked_against_the_audio() -> None:
    """A second either way is not noticed (audio waits on the client's side), more is, once."""
    client = opened()
    assert client.say("ping", "PT1S") == []
    assert client.say("ping", "PT1.1S") == [
        Notice("position_mismatch", "a position is more than 1 s from the audio received")
    ]
    assert client.say("ping", "PT9S") == []
    client = opened()
    client.hear(b"\xff\x7f" * 16_000)
    assert [type(event) for event in client.say("ping", "PT0S")] == [Notice]


def test_what_is_missing_before_a_pause_is_lost() -> None:
    """At `paused` no audio is on its way: more than a second that is missing was lost, not paused."""
    client = opened()
    events = client.say("paused", "PT3S")
    assert [type(event) for event in events] == [Notice, Gap, Pause]
    assert events[1] == Gap(GapKind.LOST, until_samples=24_000)


@pytest.mark.parametrize(
    ("text", "samples"),
    [
        ("PT0S", 0),
        ("PT12.345S", 98_760),
        ("PT.5S", 4_000),
        ("PT5.S", 40_000),
        ("PT1,5S", 12_000),
        ("PT1M2.5S", 500_000),
        ("PT0H", 0),
        ("PT0H0M1S", 8_000),
        ("PT1H", 28_800_000),
        ("P1DT1S", 691_208_000),
        ("PT0.00625S", 50),
    ],
)
def test_durations(text: str, samples: int) -> None:
    """Seconds with decimals, as the vendor writes them; hours, minutes and days too."""
    client = opened()
    events = client.say("discarded", text, start="PT0S", discarded=text)
    assert events == ([Gap(GapKind.LOST, until_samples=samples)] if samples else [])


# --- the service's own words


def test_the_service_may_pause_the_session() -> None:
    """`pause` and `resume` are asked for, and numbered among the replies; audio may come until `paused`."""
    client = opened()
    (pause,) = client.protocol.paused(True)
    assert orjson.loads(pause) == {
        "version": "2",
        "type": "pause",
        "id": SESSION,
        "seq": 2,
        "clientseq": 1,
        "parameters": {},
    }
    assert [type(event) for event in client.hear(b"\xff\x7f")] == [Audio]
    assert client.say("paused") == [Pause("carrier")]
    (resume,) = client.protocol.paused(False)
    assert orjson.loads(resume)["type"] == "resume"
    assert orjson.loads(resume)["seq"] == 3
    assert Client().protocol.paused(True) == []


def test_results_are_sent_only_where_the_site_asks_for_it() -> None:
    """Records as entities of the type that the option names; nothing else, nothing too long, nothing late."""
    record = '{"type":"utterance","emotion":"anger"}'
    assert opened().protocol.result(record) == []
    client = opened(CarrierConfig(options={"entity": "kowairo.emotion"}))
    (event,) = client.protocol.result(record)
    assert orjson.loads(event) == {
        "version": "2",
        "type": "event",
        "id": SESSION,
        "seq": 2,
        "clientseq": 1,
        "parameters": {
            "entities": [
                {"type": "kowairo.emotion", "data": {"type": "utterance", "emotion": "anger"}},
            ]
        },
    }
    assert client.protocol.result('{"type":"speech_start"}') == []
    assert client.protocol.result('{"type":"utterance","x":"' + "x" * 65_000 + '"}') == []
    client.say("close", reason="end")
    assert len(client.protocol.result(record)) == 1  # what was in flight, before `closed`
    assert client.farewell()[0]["seq"] == 4
    assert client.protocol.result(record) == []


def test_closed_is_said_once() -> None:
    """After `close` comes `closed`; whatever the client says then is not heard."""
    client = opened()
    assert client.say("close", reason="end") == [Stop()]
    assert client.hear(b"\xff\x7f") == client.say("ping") == []
    (closed,) = client.farewell()
    assert (closed["type"], closed["seq"], closed["clientseq"]) == ("closed", 2, 2)
    assert client.farewell() == []
    assert client.say("ping") == client.hear(b"\xff") == []


@pytest.mark.parametrize(
    ("arguments", "parameters"),
    [
        ({"draining": True}, {"reason": "completed", "info": "draining"}),
        ({}, {"reason": "completed", "info": "done"}),
        (
            {"error": WireError("overloaded", "No place", "x", CloseCode.OVERLOADED)},
            {"reason": "error", "info": "overloaded"},
        ),
    ],
)
def test_the_service_ends_a_session_by_disconnect(arguments: Any, parameters: dict[str, str]) -> None:
    """The client is asked to close, and its `close` is answered."""
    client = opened()
    (said,) = client.farewell(**arguments)
    assert (said["type"], said["parameters"]) == ("disconnect", parameters)
    assert client.say("ping") == client.hear(b"\xff\x7f") == client.send("no JSON") == []
    assert client.send({"type": "close"}) == []
    assert client.farewell() == []
    assert client.say("close", reason="disconnect") == [Stop()]
    assert (client.replies[-1]["type"], client.replies[-1]["clientseq"]) == ("closed", 3)
    assert client.farewell() == []


def test_a_close_before_open_is_answered() -> None:
    """`close` is allowed in any state."""
    client = Client()
    assert client.say("error", code=500) == [Notice("client_error", "Genesys reported error 500")]
    assert client.say("close", reason="error") == [Stop()]
    assert [said["type"] for said in client.farewell()] == ["closed"]


def test_a_session_that_never_began_is_disconnected_by_its_header() -> None:
    """Before the first message the id is that of the header."""
    (said,) = Client().farewell(error=WireError("start_timeout", "x", "y", CloseCode.POLICY))
    assert (said["id"], said["clientseq"]) == (SESSION, 0)


def test_a_lost_connection_says_nothing() -> None:
    """Nothing is held back."""
    client = opened()
    assert client.protocol.lost() == client.protocol.tick(1.0) == []


# --- the carrier


@pytest.mark.parametrize(
    "options", [{"unknown": "1"}, {"entity": "no good"}, {"entity": ""}, {"languages": "en-US, de_DE"}]
)
def test_options_that_mean_nothing_are_refused_at_the_start(options: dict[str, str]) -> None:
    """Protocol and authenticator refuse them, so that the service does not start."""
    config = CarrierConfig(options=options, secrets={"key": ""})
    with pytest.raises(ValueError, match="expected"):
        CARRIER.new_protocol(config, REQUEST)
    with pytest.raises(ValueError, match="expected"):
        CARRIER.new_authenticator(config)


def test_the_carrier() -> None:
    """Its name, and that the peer closes."""
    assert (CARRIER.name, CARRIER.subprotocols) == ("audiohook", ())
    assert sorted(OPTIONS) == ["entity", "languages"]
    assert CARRIER.new_protocol(CarrierConfig(), REQUEST).peer_closes
    assert CARRIER.idle_timeout_s > 10  # two pings
