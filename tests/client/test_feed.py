"""Live events: typed, and without a hole when a connection breaks."""

from __future__ import annotations

import asyncio
import contextlib
import http
import json
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from websockets.asyncio.server import ServerConnection, serve
from websockets.http11 import Request as Upgrade
from websockets.http11 import Response as Answer

from app.client import (
    AlertEvent,
    ApiError,
    AsyncClient,
    CallEvent,
    ClosedError,
    Event,
    GapEvent,
    LaggedEvent,
    ResetEvent,
    ResumedEvent,
    Retry,
    UnreachableError,
    UtteranceEvent,
)
from app.client.events import event_of
from app.client.feed import Feed
from app.records import record_body
from tests.support.records import make_record
from tests.support.service import ServerThread
from tests.support.streams import customer_audio, play

Script = Callable[[ServerConnection], Awaitable[None]]
PATIENT = Retry(attempts=3, first_s=0.001)


def message(kind: str, **members: Any) -> str:
    """A message of a feed."""
    return json.dumps({"type": kind, "seq": None, "position": None, **members})


def keepalive(position: int) -> str:
    """It only says where the feed is."""
    return json.dumps({"type": "keepalive", "position": position})


async def told(
    *scripts: Script | http.HTTPStatus,
    call_id: str | None = None,
    headers: dict[str, str] | None = None,
    **given: Any,
) -> tuple[list[Event], list[str]]:
    """What a client tells of a service whose connections go by scripts, one after the other; and what was asked."""
    paths: list[str] = []
    rest = list(scripts)

    def upgrade(connection: ServerConnection, request: Upgrade) -> Answer | None:
        paths.append(request.path)
        if not isinstance(rest[0], http.HTTPStatus):
            return None
        status = rest.pop(0) if len(rest) > 1 else rest[0]
        assert isinstance(status, http.HTTPStatus)
        answer = connection.respond(status, json.dumps({"code": status.name.lower(), "detail": "no"}))
        for name, value in (headers or {}).items():
            answer.headers[name] = value
        return answer

    async def follow(socket: ServerConnection) -> None:
        script = rest.pop(0)
        assert not isinstance(script, http.HTTPStatus)
        await script(socket)

    events: list[Event] = []
    async with serve(follow, "127.0.0.1", 0, process_request=upgrade) as server:
        port = next(iter(server.sockets)).getsockname()[1]
        async with (
            AsyncClient(f"http://127.0.0.1:{port}", api_key="k", retry=PATIENT) as client,
            contextlib.aclosing(client.events(call_id, **given)) as feed,
        ):
            async for event in feed:
                events.append(event)
    return events, paths


def says(*messages: str, close: int | None = None, reason: str = "") -> Script:
    """A connection that says this, and then closes; or breaks."""

    async def script(socket: ServerConnection) -> None:
        for text in messages:
            await socket.send(text)
        if close is None:
            socket.transport.abort()
        else:
            await socket.close(close, reason)

    return script


END = message("call_erased", call_id="c")
DONE = says(END, close=1000, reason="call_ended")


@pytest.mark.parametrize(
    "first",
    [
        says(keepalive(6), message("x", position=7)),
        says(keepalive(6), message("x", position=7), close=1001, reason="draining"),
        says(message("x", position=7), close=1008, reason="slow_reader"),
        says(message("x", position=7), close=1013, reason="store_unavailable"),
        says(message("x"), message("gap", **{"from": 3, "to": 7})),
        says(message("lagged", dropped=4, missed={"from": 4, "to": 7})),
        says(message("x", position=40), message("reset", next_position=8)),
        says(message("resumed", from_position=40, next_position=8, complete=False, reset=True)),
        says(keepalive(7)),
    ],
)
def test_a_connection_that_ends_is_made_anew_where_it_was(first: Script) -> None:
    """After the last number that was told, passed over, or named as missing."""
    last = says(message("x", position=9), close=1000)
    events, paths = asyncio.run(told(first, last, type=["x", "y"]))
    assert paths == ["/v1/events?type=x&type=y", "/v1/events?type=x&type=y&from_position=8"]
    assert events[-1] == Event("x", json.loads(message("x", position=9)), position=9)


def test_what_cannot_be_known_is_told() -> None:
    """A connection that broke before any number was known: what happened meanwhile is a gap of unknown size."""
    events, paths = asyncio.run(told(says(message("x")), says(close=1000)))
    assert paths == ["/v1/events", "/v1/events"]
    assert isinstance(events[1], GapEvent)
    assert (events[1].first, events[1].last) == (None, None)


def test_a_call_ends() -> None:
    """With its last event, whatever becomes of the connection after it."""
    for end in (DONE, says(END)):
        events, paths = asyncio.run(told(end, call_id="a/c", from_seq=3, leg="agent"))
        assert [event.type for event in events] == ["call_erased"]
        assert paths == ["/v1/calls/a%2Fc/events?leg=agent&from_seq=3"]


def test_a_refusal_that_passes_is_waited_out() -> None:
    """503, with what the service says of when."""
    unavailable = http.HTTPStatus.SERVICE_UNAVAILABLE
    events, paths = asyncio.run(told(unavailable, DONE, call_id="c", headers={"Retry-After": "0"}))
    assert (len(events), len(paths)) == (1, 2)
    with pytest.raises(ApiError) as caught:
        asyncio.run(told(unavailable, call_id="c"))
    assert (caught.value.status, caught.value.code) == (503, "service_unavailable")


def test_a_refusal_that_stays_is_told_at_once() -> None:
    """With the service's own words."""
    with pytest.raises(ApiError, match="HTTP 404: no") as caught:
        asyncio.run(told(http.HTTPStatus.NOT_FOUND, call_id="c"))
    assert caught.value.code == "not_found"


def test_a_feed_that_is_closed_for_good() -> None:
    """Credentials that no longer hold."""
    with pytest.raises(ClosedError) as caught:
        asyncio.run(told(says(keepalive(1), close=1008, reason="unauthorized")))
    assert (caught.value.code, caught.value.close_code) == ("unauthorized", 1008)


def test_patience_has_an_end() -> None:
    """A service that is not there, or that always breaks."""
    with pytest.raises(UnreachableError, match="broke"):
        asyncio.run(told(*[says()] * 3))
    with pytest.raises(UnreachableError, match="1011"):
        asyncio.run(told(*[says(close=1011, reason="internal_error")] * 3))

    async def nobody() -> None:
        async with AsyncClient("http://127.0.0.1:1", retry=PATIENT) as client:
            async for _ in client.events():
                pass

    with pytest.raises(UnreachableError):
        asyncio.run(nobody())


def test_events_are_typed() -> None:
    """By what they say; what is not known is an event all the same."""
    record = record_body(make_record())
    utterance = event_of({**record, "type": "utterance", "seq": 1, "position": 2})
    assert isinstance(utterance, UtteranceEvent)
    assert (utterance.utterance.emotion, utterance.position) == ("anger", 2)
    assert isinstance(event_of({**record, "type": "interim"}), UtteranceEvent)
    lagged = event_of({"type": "lagged", "dropped": 3, "missed": None})
    assert isinstance(lagged, LaggedEvent)
    assert (lagged.dropped, lagged.first) == (3, None)
    paused = event_of({"type": "call_resumed", "call_id": "c", "source": "rest", "at_s": 1.0})
    assert not isinstance(paused, ResumedEvent)
    assert isinstance(event_of({"type": "reset", "next_position": 1}), ResetEvent)
    assert event_of({"type": "new", "call_id": "c"}) == Event("new", {"type": "new", "call_id": "c"}, "c")
    for wrong in ({}, {"type": "gap"}, {"type": "utterance", "seq": "x"}, {"type": "alert"}):
        with pytest.raises(UnreachableError, match="not what was expected"):
            event_of(wrong)
    with pytest.raises(UnreachableError, match="JSON"):
        Feed(None, None, {}).take("<html>")
    assert AlertEvent.__doc__


def test_a_real_call(live: ServerThread) -> None:
    """From its beginning to its end, as it happens and again from the store."""

    async def work() -> tuple[list[Event], list[Event]]:
        async with AsyncClient(live.url) as client:
            seen = []
            async with contextlib.aclosing(client.events(line="here", from_position=1)) as feed:
                playing = asyncio.create_task(
                    asyncio.to_thread(play, live.stream_url, customer_audio(6.5), call_id="one", line="here")
                )
                async for event in feed:
                    seen.append(event)
                    if event.type == "call_ended":
                        break
            await playing
            return seen, [event async for event in client.events("one", from_seq=1)]

    seen, again = asyncio.run(work())
    assert isinstance(seen[0], ResumedEvent)
    records = [event.utterance for event in seen if isinstance(event, UtteranceEvent)]
    assert [record.seq for record in records] == list(range(1, len(records) + 1))
    ends = [event.call.state for event in seen if isinstance(event, CallEvent) and event.type == "call_ended"]
    assert ends == ["ended"]
    assert [event.utterance for event in again if isinstance(event, UtteranceEvent)] == records
    assert again[-1].type == "call_ended"
