"""The live feeds as server-sent events: well-formed, resumable, limited, and cut off for who does not read."""

from __future__ import annotations

import asyncio
import json
import re
import socket as sockets
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace
from itertools import islice
from pathlib import Path

import httpx
import pytest

from app.access.authenticator import Admission
from app.access.principal import SITE, Scope
from app.api.live import FeedResponse, feed
from app.api.live_opening import OpenedFeed, open_feed
from app.api.live_query import FeedQuery
from app.api.live_wire import sse_event, ws_event
from app.results.live_event import LiveEvent
from app.results.publish import Publisher
from app.results.store import CallInfo
from app.results.writes import EraseCall
from app.settings import Settings
from tests.support.feeds import LINE, appending, call_info, closing, opening, stored
from tests.support.held import put_call
from tests.support.live import (
    Told,
    happen,
    on_server,
    parse_sse,
    pass_by,
    seen_by_server,
    stalled,
    watching,
)
from tests.support.records import make_record
from tests.support.server import eventually
from tests.support.service import Api, ServerThread, api, make_settings, server, service_parts
from tests.support.streams import customer_audio, play
from tests.support.tenants import Tenants, make_tenants


def fill(web: Api, call_id: str, records: int, **fields: object) -> None:
    """A call with records in the store of a service without a server."""
    made = [make_record(call_id, index) for index in range(records)]
    asyncio.run(put_call(web.services.store, call_id, made, **fields))  # type: ignore[arg-type]


def told(text: str) -> list[Told]:
    """The events of a whole answer, without what is there to keep it open."""
    return [event for block in text.split("\n\n") if block and (event := parse_sse(block)).type]


@pytest.fixture(scope="module")
def tenants(tmp_path_factory: pytest.TempPathFactory) -> Tenants:
    """Two tenants."""
    return make_tenants(tmp_path_factory.mktemp("tenants"))


@pytest.fixture(scope="module")
def walled(bundle: Path, tenants: Tenants) -> Iterator[ServerThread]:
    """A server of two tenants."""
    with server(make_settings(bundle, **tenants.groups)) as running:
        yield running


def test_events_are_server_sent_text() -> None:
    """An id by the feed's own numbers, a name and one line of JSON, whatever the text holds; made once."""
    event = LiveEvent("warning", "c", {"detail": "two\nlines"}, position=7, seq=3)
    number, name, data, end, rest = sse_event(event, of_call=False, mark=9).split(b"\n")
    assert (number, name, end, rest) == (b"id: 7", b"event: warning", b"", b"")
    assert json.loads(data.removeprefix(b"data: ")) == {"detail": "two\nlines"}
    assert sse_event(event, of_call=True, mark=9).startswith(b"id: 3\nevent")
    assert sse_event(event, of_call=True, mark=9) is sse_event(event, of_call=True, mark=8)
    assert ws_event(event) is ws_event(event)
    ended = LiveEvent("call_ended", "c", {}, position=8)
    assert sse_event(ended, of_call=True, mark=9).startswith(b"id: 9-ended\n")
    assert sse_event(ended, of_call=False, mark=9).startswith(b"id: 8\n")


def test_a_quiet_feed_says_that_it_is_there(bundle: Path) -> None:
    """A comment with the number to resume after, at first and whenever nothing happened for a while; then the event."""

    async def scenario() -> list[Told]:
        with service_parts(make_settings(bundle, live={"keepalive_s": 0.01})) as services:
            opened = await open_feed(services, SITE, FeedQuery())
            seen = []
            with opened.subscription:
                async for chunk in feed(opened):
                    seen.append(parse_sse(chunk.decode().removeprefix("retry: 2000\n").rstrip()))
                    if len(seen) == 3:
                        services.publisher.publish(
                            LiveEvent("call_started", "c", {"call_id": "c"}, position=5)
                        )
                    if len(seen) == 5:
                        services.publisher.close()
        return seen

    seen = asyncio.run(scenario())
    assert [event.type for event in seen] == [None, None, None, "call_started", None]
    assert [event.id for event in seen[3:]] == ["5", "5"]


def test_a_feed_gives_its_place_back_even_if_never_read(plain: Settings) -> None:
    """The client was gone before the first byte."""

    async def broken_send(_message: object) -> None:
        raise OSError("gone")

    async def receive() -> dict[str, str]:
        await asyncio.Event().wait()
        raise AssertionError

    async def scenario() -> int:
        with service_parts(plain) as services:
            opened = await open_feed(services, SITE, FeedQuery())
            assert services.publisher.subscribers == 1
            await FeedResponse(opened, services, None)({"type": "http"}, receive, broken_send)
            return services.publisher.subscribers

    assert asyncio.run(scenario()) == 0


def test_a_feed_ends_when_access_does(plain: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    """The key was revoked, or the token has expired: the answer is ended as it should."""
    monkeypatch.setattr("app.api.auth.RECHECK_S", 0.01)
    sent: list[dict[str, object]] = []

    async def send(message: dict[str, object]) -> None:
        sent.append(message)

    async def receive() -> dict[str, str]:
        await asyncio.Event().wait()
        raise AssertionError

    async def scenario() -> None:
        with service_parts(plain) as services:
            opened = await open_feed(services, SITE, FeedQuery())
            response = FeedResponse(opened, services, Admission(SITE, until=1.0))
            await response({"type": "http"}, receive, send)  # type: ignore[arg-type]

    asyncio.run(scenario())
    assert sent[-1] == {"type": "http.response.body", "body": b"", "more_body": False}


def test_feeds_are_limited(bundle: Path) -> None:
    """One too many, or one at a shutdown, gets 503."""
    with api(make_settings(bundle, live={"max_subscribers": 1})) as web:
        with web.services.publisher.subscribe():
            answer = web.get("/v1/events")
            assert (answer.status_code, answer.json()["code"]) == (503, "too_many_feeds")
        assert web.services.publisher.subscribers == 0
        web.services.publisher.close()
        answer = web.get("/v1/events")
        assert (answer.status_code, answer.json()["code"]) == (503, "draining")
        assert answer.headers["retry-after"] == "1"


def test_an_ended_call_is_told_from_a_number_on(web: Api) -> None:
    """Its records, then its end, then the answer is over; and who has seen the end has nothing to fetch."""
    fill(web, "c", 4)
    events = told(web.get("/v1/calls/c/events?from_seq=2").text)
    assert [event.type for event in events] == ["resumed", *["utterance"] * 3, "call_ended"]
    assert events[0].body == {"call_id": "c", "from_seq": 2, "next_seq": 5, "complete": True}
    assert [event.body["seq"] for event in events[1:4]] == [2, 3, 4]
    assert [event.id for event in events] == [None, "2", "3", "4", "4-ended"]
    assert events[-1].body["outcome"] == "completed"
    assert events[-1].body["summary"] == {"duration_s": 9.0}
    again = web.get("/v1/calls/c/events?from_seq=1", headers={"Last-Event-ID": "3"})
    assert [event.body.get("seq") for event in told(again.text)] == [None, 4, None]
    assert [event.type for event in told(web.get("/v1/calls/c/events").text)] == ["call_ended"]
    assert web.get("/v1/calls/c/events", headers={"Last-Event-ID": "4-ended"}).status_code == 204
    assert web.get("/v1/calls/c/events?last_event_id=4-ended").status_code == 204
    assert web.services.publisher.subscribers == 0


def test_filters_apply_to_what_was(web: Api) -> None:
    """Only what is asked for; the end of the call comes all the same."""
    fill(web, "c", 3)
    for query, count in (
        ("leg=customer", 3),
        ("leg=agent", 0),
        ("min_confidence=0.8", 0),
        ("type=warning", 0),
    ):
        events = told(web.get(f"/v1/calls/c/events?from_seq=1&{query}").text)
        assert [event.type for event in events] == ["resumed", *["utterance"] * count, "call_ended"]
    category = web.services.engine.categories[0]
    assert web.get(f"/v1/calls/c/events?emotion={category}").status_code == 200


@pytest.mark.parametrize(
    "query",
    [
        "leg=boss", "emotion=%20", "emotion=hungry", "min_confidence=1.5", "min_confidence=nan", "min_confidence=x",
        "min_expected_cost=-1", "min_expected_cost=inf", "type=lunch", "line=a%2Fb", "lime=a", "leg=agent&leg=agent",
        "last_event_id=x", "last_event_id=99999999999999999", "last_event_id=%D9%A3",
    ],
)  # fmt: skip
def test_wrong_queries_are_refused(web: Api, query: str) -> None:
    """422, and no place is taken."""
    fill(web, "c", 1)
    for path in ("/v1/events", "/v1/calls/c/events"):
        answer = web.get(f"{path}?{query}")
        assert (answer.status_code, answer.json()["code"]) == (422, "invalid_request"), path
    assert web.services.publisher.subscribers == 0


def test_each_feed_has_its_own_numbers(web: Api) -> None:
    """A number below 1, beyond what JSON can tell, or of the other feed is refused."""
    fill(web, "c", 1)
    for query in ("from_seq=0", "from_seq=9007199254740992", "from_position=1", "call_id=c"):
        assert web.get(f"/v1/calls/c/events?{query}").status_code == 422
    for query in ("from_position=0", "from_position=x", "from_seq=1", "call_id=%21"):
        assert web.get(f"/v1/events?{query}").status_code == 422
    answer = web.get("/v1/events", headers={"Last-Event-ID": "-1"})
    assert (answer.status_code, answer.json()["code"]) == (422, "invalid_request")


def test_an_unknown_call_has_no_feed(web: Api) -> None:
    """404, whatever the id looks like."""
    for call_id in ("nobody", "%00", "a" * 200, "..%2f"):
        answer = web.get(f"/v1/calls/{call_id}/events")
        assert answer.status_code == 404


def test_a_call_as_it_happens(live: ServerThread) -> None:
    """A real call: the feed of all calls has it in order, with positions; its own feed has it again afterwards."""
    types = ("call_started", "speech_start", "utterance", "call_ended")
    query = "&".join(["line=sse", *(f"type={name}" for name in types)])
    with watching(f"{live.url}/v1/events?{query}") as events:
        greeting = next(events)
        assert greeting.type is None
        play(live.stream_url, customer_audio(6.5), call_id="sse-1", line="sse")
        seen = []
        while not seen or seen[-1].type != "call_ended":
            seen.append(next(events))
    assert [event.type for event in seen] == list(types), seen
    positions = [int(event.id) for event in seen if event.id]
    assert positions == list(range(positions[0], positions[0] + 3))
    replay = told(httpx.get(f"{live.url}/v1/calls/sse-1/events?from_seq=1", trust_env=False).text)
    assert replay[1].body == seen[2].body
    with watching(f"{live.url}/v1/events", {"Last-Event-ID": str(positions[0] - 1)}) as events:
        first, resumed, *rest = islice(events, 5)
    assert (first.id, resumed.type, resumed.body["complete"]) == (str(positions[0] - 1), "resumed", True)
    assert [(event.id, event.type) for event in rest] == [
        (event.id, event.type) for event in seen if event.id
    ]


def test_resuming_where_it_was_cut(live: ServerThread) -> None:
    """Three viewers of a call that goes on: each begins where it says, and gets each record once, to the end."""
    call = call_info("cut", live.services.owner)
    happen(live, opening(call), *(appending(seq, call) for seq in (1, 2, 3)))
    url = f"{live.url}/v1/calls/cut/events"
    with (
        watching(url) as fresh,
        watching(url, {"Last-Event-ID": "1"}) as one,
        watching(f"{url}?from_seq=5") as two,
    ):
        assert [next(fresh).id, next(one).id, next(two).id] == ["3", "1", "4"]
        pass_by(live, LiveEvent("speech_start", "cut", {"call_id": "cut"}, line=LINE))
        happen(live, *(appending(seq, call) for seq in (4, 5)), closing(call, 5))
        seen = [[event.body.get("seq", event.type) for event in viewer] for viewer in (fresh, one, two)]
    assert seen[0] == ["speech_start", 4, 5, "call_ended"]
    assert seen[1] == ["resumed", 2, 3, "speech_start", 4, 5, "call_ended"]
    assert seen[2] == ["resumed", "speech_start", 5, "call_ended"]


def test_tenants_are_walls(walled: ServerThread, tenants: Tenants) -> None:
    """The same call id in both: each hears its own; the other's call is not found, and not even counted."""
    alpha, beta = tenants.all
    calls = [call_info("same", walled.services.owner, tenant.name) for tenant in tenants.all]
    viewers = [watching(f"{walled.url}/v1/events", tenant.headers()) for tenant in tenants.all]
    with viewers[0] as first, viewers[1] as second:
        assert [next(first).type, next(second).type] == [None, None]
        happen(walled, opening(calls[0]), opening(calls[1]), appending(1, calls[0]))
        happen(walled, closing(calls[1], 0), closing(calls[0], 1))
        assert [(event.type, event.id) for event in islice(first, 3)] == [
            ("call_started", "1"), ("utterance", "2"), ("call_ended", "3"),
        ]  # fmt: skip
        assert [(event.type, event.id) for event in islice(second, 2)] == [
            ("call_started", "1"), ("call_ended", "2"),
        ]  # fmt: skip
    happen(walled, opening(call_info("alphas", walled.services.owner, alpha.name)))
    for headers, status in (
        (beta.headers(), 404),
        ({}, 401),
        (alpha.headers(Scope.INGEST), 403),
    ):
        url = f"{walled.url}/v1/calls/alphas/events"
        assert httpx.get(url, headers=headers, trust_env=False).status_code == status


def test_an_erased_call_ends_its_feed(live: ServerThread) -> None:
    """Nothing more is told of it."""
    call = call_info("gone", live.services.owner)
    happen(live, opening(call), appending(1, call))
    with watching(f"{live.url}/v1/calls/gone/events?from_seq=1") as events:
        assert [event.type for event in islice(events, 3)] == [None, "resumed", "utterance"]
        on_server(live, stored(live.services.store, closing(call, 1)))
        on_server(live, stored(live.services.store, EraseCall(call.tenant, "gone", "here")))
        pass_by(live, LiveEvent("call_erased", "gone", {"call_id": "gone"}))
        types = [event.type for event in events]
    assert types[-1:] == ["call_erased"]


def test_who_does_not_read_is_cut_off(bundle: Path) -> None:
    """The connection is gone, its buffers with it; another viewer has everything."""
    settings = make_settings(bundle, live={"send_timeout_s": 0.5, "queue_events": 64})
    with server(settings) as running:
        running.listening.setsockopt(sockets.SOL_SOCKET, sockets.SO_SNDBUF, 8_192)
        publisher = running.services.publisher
        call = call_info("c", running.services.owner)
        happen(running, opening(call))
        with (
            stalled(f"{running.url}/v1/events", websocket=False) as stuck,
            watching(f"{running.url}/v1/calls/c/events?from_seq=1") as events,
        ):
            assert next(events).type is None
            assert next(events).type == "resumed"
            seqs: list[object] = []
            eventually(lambda: _says(running, call, seqs, events) or (publisher.subscribers == 1) or None)
            assert seqs == list(range(1, len(seqs) + 1))
            assert not drained(stuck).endswith(b"0\r\n\r\n")


def drained(stuck: sockets.socket) -> bytes:
    """What a viewer that was cut off can still read."""
    left = b""
    with suppress(ConnectionResetError):
        while piece := stuck.recv(65_536):
            left += piece
    return left


def _says(running: ServerThread, call: CallInfo, seqs: list[object], events: Iterator[Told]) -> None:
    """Twenty records more; the viewer that reads gets each."""
    begin = len(seqs) + 1
    happen(running, *(appending(seq, call) for seq in range(begin, begin + 20)))
    seqs += [event.body["seq"] for event in islice(events, 20)]
    assert seen_by_server(running, lambda: running.services.publisher.most_waiting) <= 64


def test_the_page_ignores_what_it_does_not_know() -> None:
    """Every type that the feeds may send is either handled by the live page or passed over by its reader."""
    page = (Path(__file__).resolve().parents[2] / "app" / "web" / "live.js").read_text(encoding="utf-8")
    handled = set(re.findall(r"^  (\w+)\(", page[page.index("const handlers") :].partition("\n};")[0], re.M))
    assert {"lagged", "gap", "reset", "call_continued", "call_erased", "utterance"} <= handled


def test_a_publisher_of_ones_own_serves_too(plain: Settings) -> None:
    """A feed needs a publisher and a store, and nothing that runs."""

    async def scenario() -> OpenedFeed:
        with service_parts(plain) as services:
            own = replace(services, publisher=Publisher(max_subscribers=1, queue_events=2))
            return await open_feed(own, SITE, FeedQuery(from_position=1))

    opened = asyncio.run(scenario())
    assert not opened.of_call
    assert opened.view.mark == 0
