"""A call over a real socket: what is said, what is kept, and how each kind of ending ends it."""

from __future__ import annotations

import asyncio
import json
import socket as sockets
from pathlib import Path

import httpx
import numpy as np
import pytest
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.sync.client import ClientConnection, connect

from app.settings import Settings
from tests.support.server import eventually
from tests.support.service import ServerThread, make_settings, server
from tests.support.streams import (
    RATE_HZ,
    comparable,
    customer_audio,
    listen,
    of_type,
    opened,
    pieces,
    play,
    receive,
    say,
    start_message,
    started,
)

CLIP_S = 6.5
STOP = '{"type":"stop"}'


def stored(live: ServerThread, call_id: str) -> list[dict[str, object]]:
    """The records that REST gives of a call."""
    answer = httpx.get(f"{live.url}/v1/calls/{call_id}/utterances", trust_env=False)
    items: list[dict[str, object]] = answer.json()["items"]
    return items


def call_of(live: ServerThread, call_id: str) -> dict[str, object]:
    """What REST says of a call."""
    body: dict[str, object] = httpx.get(f"{live.url}/v1/calls/{call_id}", trust_env=False).json()
    return body


def test_a_call_is_answered_and_kept(live: ServerThread) -> None:
    """Speech starts, its record comes, the summary adds up, and REST tells the same."""
    messages = play(live.stream_url, customer_audio(CLIP_S), call_id="whole", line="whole")
    assert [message["type"] for message in messages] == ["speech_start", "utterance", "summary"]
    start, record, summary = messages
    assert record["utterance_id"] == start["utterance_id"] == "whole.customer.0000"
    assert record["latency_ms"] >= 0
    assert {name: value for name, value in record.items() if name != "type"} == stored(live, "whole")[0]
    audio = summary["legs"]["customer"]["audio"]
    total = audio["scored_s"] + audio["silence_s"] + audio["rejected_s"] + audio["lost_s"]
    assert total == pytest.approx(CLIP_S)
    call = call_of(live, "whole")
    assert (call["state"], call["outcome"], call["line"]) == ("ended", "completed", "whole")
    assert call["summary"] == {name: value for name, value in summary.items() if name != "type"}


@pytest.mark.parametrize("size", [1, 7, 160, 100_000])
def test_messages_of_any_size_give_the_same_record(live: ServerThread, size: int) -> None:
    """One byte at a time or all at once: the record is the same."""
    audio = customer_audio(CLIP_S)
    expected = comparable(play(live.stream_url, audio, 320, line=f"whole-{size}"))
    assert len(expected) == 1
    assert comparable(play(live.stream_url, audio, size, line=f"cut-{size}")) == expected


def test_a_mark_comes_back_after_what_was_before_it(live: ServerThread) -> None:
    """The record of speech that ended before the mark comes first; flush, pause and resume are obeyed."""
    audio = customer_audio(3.0)
    controls = ['{"type":"flush"}', '{"type":"mark","name":"here"}', '{"type":"pause"}', '{"type":"resume"}']
    with started(live.stream_url, line="marks") as socket:
        messages = say(socket, [*pieces(audio, 320), *controls, STOP])
    assert [message["type"] for message in messages] == [
        "speech_start",
        "utterance",
        "mark",
        "paused",
        "resumed",
        "summary",
    ]


def test_interim_records_come_when_asked_for(live: ServerThread) -> None:
    """Every few seconds of speech, and they are not kept."""
    messages = play(live.stream_url, customer_audio(CLIP_S), interim=True, call_id="interim", line="interim")
    assert of_type(messages, "interim")
    assert len(stored(live, "interim")) == len(of_type(messages, "utterance")) == 1


def test_an_agent_is_not_scored_and_is_told_why(live: ServerThread) -> None:
    """Policy is said in `ready` and in each record."""
    with opened(live.stream_url) as socket:
        socket.send(start_message(channels=["agent"], line="agents"))
        ready = receive(socket)
        assert ready["legs"]["agent"]["scored"] is False
        messages = say(socket, [*pieces(customer_audio(CLIP_S), 320), STOP])
    (record,) = of_type(messages, "utterance")
    assert (record["reason"], record["scores"], record["emotion"]) == ("policy", None, None)


@pytest.mark.parametrize(
    ("messages", "code", "close_code"),
    [
        (["not JSON"], "invalid_json", 1007),
        ([start_message(encoding="opus")], "unsupported_encoding", 1003),
        ([b"\0" * 320], "audio_before_start", 1003),
        ([start_message(), start_message()], "already_started", 1008),
        ([start_message(), '{"type":"dance"}'], "unknown_type", 1003),
        ([start_message(), b"\0" * (2 << 20)], "message_too_big", 1009),
        ([start_message(metadata={"a": "b" * 5000})], "metadata_too_big", 1009),
    ],
)
def test_a_broken_rule_is_named_and_ends_the_call(
    live: ServerThread, messages: list[str | bytes], code: str, close_code: int
) -> None:
    """An `error` message with the code, then a close with the same code as reason."""
    with opened(live.stream_url) as socket:
        replies = say(socket, messages)
        assert (replies[-1]["type"], replies[-1]["code"]) == ("error", code)
        assert (socket.close_code, socket.close_reason) == (close_code, code)


def test_a_message_beyond_all_bounds_is_closed_with_its_reason(live: ServerThread) -> None:
    """Too big even to be read: no error message, but the close says 1009 and why."""
    with opened(live.stream_url) as socket:
        socket.send(start_message(line="huge"))
        assert receive(socket)["type"] == "ready"
        say(socket, [b"\0" * (32 << 20)])
        assert socket.close_code == 1009
        assert "exceeds limit" in (socket.close_reason or "")


def test_what_was_said_before_a_broken_rule_is_still_scored(live: ServerThread) -> None:
    """The utterance in flight is scored, sent and kept; then comes the error."""
    with started(live.stream_url, call_id="broken", line="broken") as socket:
        messages = say(socket, [*pieces(customer_audio(3.0), 320), "{"])
    assert [message["type"] for message in messages] == ["speech_start", "utterance", "summary", "error"]
    assert len(stored(live, "broken")) == 1
    assert call_of(live, "broken")["outcome"] == "rejected"


def test_half_a_sample_at_the_end_is_a_warning(live: ServerThread) -> None:
    """Odd byte counts are put together again; only what is left over at the end is lost, and said."""
    audio = customer_audio(CLIP_S)
    whole = comparable(play(live.stream_url, audio, 320, line="even"))
    messages = play(live.stream_url, audio + b"\x01", 333, line="odd")
    assert [message["code"] for message in of_type(messages, "warning")] == ["truncated_sample"]
    assert comparable(messages) == whole


def test_an_hour_of_silence_is_just_an_hour(live: ServerThread) -> None:
    """Pushed as fast as it goes in messages of 1 MiB: no utterance, and the account is exact."""
    hour = b"\xff" * (3600 * RATE_HZ)
    messages = play(live.stream_url, hour, 1 << 20, encoding="pcm_mulaw", line="silence")
    (summary,) = messages
    assert summary["duration_s"] == 3600.0
    assert summary["legs"]["customer"]["audio"]["silence_s"] == 3600.0


def test_noise_at_full_scale_breaks_nothing(live: ServerThread) -> None:
    """Random bytes as samples: whatever is made of them, the account adds up."""
    noise = np.random.default_rng(5).bytes(RATE_HZ * 2 * 20)
    summary = play(live.stream_url, noise, 4001, line="noise")[-1]
    audio = summary["legs"]["customer"]["audio"]
    parts = [audio[name] for name in ("scored_s", "silence_s", "rejected_s", "lost_s")]
    assert sum(parts) == pytest.approx(20.0)


def test_a_call_id_is_used_once(live: ServerThread) -> None:
    """The second socket is refused, live or ended, and the first does not notice."""
    with started(live.stream_url, call_id="twice", line="twice") as first:
        first.send(customer_audio(2.0))
        with opened(live.stream_url) as second:
            replies = say(second, [start_message(call_id="twice")])
            assert [reply["code"] for reply in replies] == ["call_exists"]
            assert (second.close_code, second.close_reason) == (1008, "call_exists")
        messages = say(first, [customer_audio(CLIP_S)[RATE_HZ * 4 :], STOP])
    assert len(of_type(messages, "utterance")) == 1
    with opened(live.stream_url) as third:
        assert [reply["code"] for reply in say(third, [start_message(call_id="twice")])] == ["call_exists"]


def test_a_caller_that_vanishes_is_still_scored(live: ServerThread) -> None:
    """The connection breaks in the middle of an utterance; the feed tells of its record and its end."""
    with httpx.stream("GET", f"{live.url}/v1/events?call_id=gone", trust_env=False, timeout=60) as feed:
        lines = feed.iter_lines()
        assert next(lines).startswith("retry: ")
        with started(live.stream_url, call_id="gone", line="gone") as socket:
            for piece in pieces(customer_audio(3.0), 320):
                socket.send(piece)
            assert receive(socket)["type"] == "speech_start"
            socket.socket.shutdown(sockets.SHUT_RDWR)
        for line in lines:
            if line == "event: call_ended":
                break
    (record,) = stored(live, "gone")
    assert record["scores"] is not None
    assert record["end_s"] == pytest.approx(3.0, abs=0.3)
    assert call_of(live, "gone")["outcome"] == "disconnected"


def test_a_page_of_another_site_is_refused(live: ServerThread) -> None:
    """Browsers name the page that opens a socket; only the service's own may."""
    with opened(live.stream_url, additional_headers={"Origin": "http://elsewhere.example"}) as socket:
        assert [reply["code"] for reply in listen(socket)] == ["foreign_origin"]
        assert socket.close_code == 1008
    with started(live.stream_url, headers={"Origin": live.url}, line="origin") as socket:
        assert say(socket, [STOP])[-1]["type"] == "summary"


def test_another_name_for_this_machine_is_refused(live: ServerThread) -> None:
    """Without keys the socket answers to loopback names only (DNS rebinding)."""
    port = live.url.rsplit(":", 1)[1]
    answer = httpx.get(f"{live.url}/v1/calls", headers={"Host": f"evil.example:{port}"}, trust_env=False)
    assert answer.status_code == 421


def test_metrics_count_calls_and_name_nobody(live: ServerThread) -> None:
    """After a call the figures are there, its id is not."""
    play(live.stream_url, customer_audio(CLIP_S), call_id="counted-4711", line="counted")
    text = httpx.get(f"{live.url}/metrics", trust_env=False).text
    assert 'kowairo_calls_total{outcome="completed"}' in text
    assert "kowairo_utterance_latency_seconds_count" in text
    assert "4711" not in text


def test_a_tone_is_an_event_of_the_line(live: ServerThread) -> None:
    """It follows its record, and REST and the metrics know it."""
    t = np.arange(8_000) / RATE_HZ
    tone = np.rint(6_000 * np.sin(2 * np.pi * 425 * t)).astype("<i2").tobytes()
    messages = play(live.stream_url, bytes(16_000) + tone + bytes(16_000), call_id="ringing", line="ringing")
    assert [message["type"] for message in messages] == ["speech_start", "utterance", "line_event", "summary"]
    _, record, event, summary = messages
    assert (record["reason"], record["not_speech_kind"]) == ("not_speech", "tone")
    assert (event["kind"], event["name"]) == ("tone", "ringback")
    assert (event["start_s"], event["end_s"]) == (record["start_s"], record["end_s"])
    rejected_s = summary["legs"]["customer"]["audio"]["rejected"]["tone"]
    assert rejected_s == pytest.approx(event["end_s"] - event["start_s"])
    listed = call_of(live, "ringing")["line_events"]
    assert listed == [{name: value for name, value in event.items() if name != "type"}]
    text = httpx.get(f"{live.url}/metrics", trust_env=False).text
    assert 'kowairo_line_events_total{kind="tone"} 1.0' in text
    assert (
        f'kowairo_audio_outcome_seconds_total{{leg="customer",outcome="rejected",reason="tone"}} {rejected_s}'
        in text
    )


KEY = "a-key-for-these-tests"


@pytest.fixture(scope="module")
def keyed(bundle: Path) -> Settings:
    """Production with a key."""
    return make_settings(bundle, mode="production", auth={"api_keys": [KEY]})


def test_a_key_is_asked_for(keyed: Settings) -> None:
    """No key or a wrong one: 1008. Either header with the right one: welcome."""
    with server(keyed) as live:
        for headers in ({}, {"X-API-Key": KEY + "x"}, {"Authorization": f"Basic {KEY}"}):
            with opened(live.stream_url, additional_headers=headers) as socket:
                assert [reply["code"] for reply in listen(socket)] == ["unauthorized"]
                assert (socket.close_code, socket.close_reason) == (1008, "unauthorized")
        for headers in ({"X-API-Key": KEY}, {"Authorization": f"bearer {KEY}"}):
            with started(live.stream_url, headers=headers) as socket:
                assert say(socket, [STOP])[-1]["type"] == "summary"


def test_shutdown_flushes_and_sends_callers_elsewhere(plain: Settings) -> None:
    """The utterance in flight is scored, sent and stored before the close with 1001 `draining`."""
    with (
        server(plain) as live,
        started(live.stream_url, call_id="drained") as socket,
        opened(live.stream_url) as silent,
    ):
        for piece in pieces(customer_audio(3.0), 320):
            socket.send(piece)
        assert receive(socket)["type"] == "speech_start"
        live.begin_end()
        messages = listen(socket)
        listen(silent)
        assert [message["type"] for message in messages] == ["utterance", "summary"]
        assert (socket.close_code, socket.close_reason) == (1001, "draining")
        assert (silent.close_code, silent.close_reason) == (1001, "draining")
    call = asyncio.run(live.services.store.get_call("default", "drained"))
    assert (call.outcome, call.utterances) == ("drained", 1)


def test_a_call_may_come_to_its_own_end_during_the_grace(bundle: Path) -> None:
    """Meanwhile new ones are turned away, with the time after which to try elsewhere."""
    settings = make_settings(bundle, stream={"drain_grace_s": 60})
    with server(settings) as live, started(live.stream_url, call_id="graced") as talking:
        live.begin_end()
        eventually(lambda: True if live.services.registry.draining else None)
        with opened(live.stream_url) as late:
            listen(late)
            assert (late.close_code, late.close_reason) == (1001, "draining; retry-after=1")
        with pytest.raises(InvalidStatus) as refused:
            connect(live.url.replace("http", "ws", 1) + "/v1/ingest/twilio", proxy=None)
        assert refused.value.response.status_code == 503
        assert refused.value.response.headers["Retry-After"] == "1"
        upload = httpx.post(f"{live.url}/v1/score", content=b"x", trust_env=False)
        assert (upload.status_code, upload.json()["code"]) == (503, "draining")
        ready = httpx.get(f"{live.url}/readyz", trust_env=False)
        assert (ready.status_code, ready.headers["Retry-After"]) == (503, "1")
        assert say(talking, [STOP])[-1]["type"] == "summary"
        assert talking.close_code == 1000
    call = asyncio.run(live.services.store.get_call("default", "graced"))
    assert call.outcome == "completed"


def test_one_call_too_many_is_sent_away(bundle: Path) -> None:
    """1013, and a place that becomes free is given again."""
    settings = make_settings(bundle, stream={"max_calls": 1})
    with server(settings) as live:
        with started(live.stream_url) as first:
            with opened(live.stream_url) as second:
                assert [reply["code"] for reply in say(second, [start_message()])] == ["overloaded"]
                assert second.close_code == 1013
            say(first, [STOP])
        with started(live.stream_url) as third:
            say(third, [STOP])


def test_a_client_that_never_starts_is_closed(bundle: Path) -> None:
    """A socket without a call does not stay."""
    settings = make_settings(bundle, stream={"start_timeout_s": 0.05})
    with server(settings) as live, opened(live.stream_url) as socket:
        assert [reply["code"] for reply in listen(socket)] == ["start_timeout"]
        assert socket.close_code == 1008


def send_until_closed(socket: ClientConnection, message: str) -> None:
    """Sends for ever; raises `ConnectionClosed` when the service has had enough."""
    while True:
        socket.send(message)


def test_a_client_that_never_reads_loses_the_socket_only(bundle: Path) -> None:
    """What it sent before is scored and kept; another call at the same time is served as ever."""
    settings = make_settings(bundle, stream={"send_timeout_s": 0.3, "outbox_messages": 8})
    with server(settings) as live, started(live.stream_url, call_id="other") as other:
        raw = sockets.socket()
        raw.setsockopt(sockets.SOL_SOCKET, sockets.SO_RCVBUF, 4096)
        raw.connect(("127.0.0.1", int(live.url.rsplit(":", 1)[1])))
        with opened(live.stream_url, sock=raw, max_queue=1, close_timeout=0.1) as deaf:
            deaf.send(start_message(call_id="deaf"))
            for piece in pieces(customer_audio(CLIP_S), 320):
                deaf.send(piece)
            with pytest.raises(ConnectionClosed):
                send_until_closed(deaf, json.dumps({"type": "mark", "name": "m" * 100}))
        messages = say(other, [customer_audio(CLIP_S), STOP])
        assert [message["type"] for message in messages] == ["speech_start", "utterance", "summary"]
        assert len(stored(live, "deaf")) == 1
        assert call_of(live, "deaf")["outcome"] == "slow_reader"
