"""Following calls over REST, against a scripted service without a socket."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import httpx
import pytest

from app.api.call_bodies import call_report_body
from app.cli import watch as watching
from app.cli.watch import Watch
from app.client import AsyncClient, KowairoError, Retry
from app.domain import Leg
from app.playing import Message
from app.records import record_body
from app.results.store import CallInfo, CallState
from tests.support.records import make_record

Handler = Callable[[httpx.Request], httpx.Response]
SUMMARY = {"duration_s": 1.0, "legs": {}}
NOT_FOUND = {"code": "call_not_found", "title": "No such call", "detail": "unknown", "status": 404}


def record(number: int) -> dict[str, object]:
    """The record with this number of the call `c`."""
    return record_body(replace(make_record("c", number - 1), seq=number))


def call(call_id: str = "c", *, ended: bool = False) -> dict[str, Any]:
    """The call."""
    info = CallInfo(call_id, "default", (Leg.CUSTOMER,), 0.0)
    if ended:
        info = replace(info, state=CallState.ENDED, summary=SUMMARY)
    return call_report_body(info, ())


class Service:
    """Holds one call. Every look at it lets it come one step further: one more record, the last step ends it."""

    def __init__(self, records: int, page: int = 200) -> None:
        self.steps = 0
        self.records = records
        self.page = page

    def answer(self, request: httpx.Request) -> httpx.Response:
        """One request."""
        if not request.url.path.startswith("/v1/calls/c"):
            return httpx.Response(404, json=NOT_FOUND)
        if request.url.path.endswith("/utterances"):
            self.steps += 1
            begin = int(request.url.params["from_seq"])
            there = min(self.steps, self.records)
            end = min(there, begin + self.page - 1)
            page = {
                "items": [record(number) for number in range(begin, end + 1)],
                "next": "more" if end < there else None,
                "first_seq": 1,
                "last_seq": there,
                "gaps": [],
            }
            return httpx.Response(200, json=page)
        return httpx.Response(200, json=call(ended=self.steps > self.records))


def asking(handler: Handler) -> AsyncClient:
    """A client of a service that answers so; what is refused is not asked again."""
    transport = httpx.MockTransport(handler)
    return AsyncClient("http://kowairo", retry=Retry(attempts=1), transport=transport)


def followed(handler: Handler, call_id: str = "c", *, played: bool = True) -> tuple[bool, list[Message]]:
    """Follow a call; whether its end was seen, and what was shown."""
    shown: list[Message] = []

    async def go() -> bool:
        async with asking(handler) as client:
            over = asyncio.Event()
            if played:
                over.set()
            else:
                asyncio.get_running_loop().call_later(0.05, over.set)
            return await Watch(client, shown.append).follow(call_id, over)

    return asyncio.run(go()), shown


@pytest.mark.parametrize("page", [1, 2, 200])
@pytest.mark.parametrize("played", [False, True])
def test_every_record_is_shown_once_and_the_summary_last(
    page: int, played: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However the pages are cut, and whether they are looked at while the call goes on or after it."""
    monkeypatch.setattr(watching, "POLL_S", 0.01)
    found, shown = followed(Service(7, page).answer, played=played)
    assert found
    assert shown[:-1] == [{"type": "utterance", **record(number)} for number in range(1, 8)]
    assert shown[-1] == {"type": "summary", "call_id": "c", **SUMMARY}


def test_an_unknown_call_is_not_waited_for_long(monkeypatch: pytest.MonkeyPatch) -> None:
    """One that was played and is not known will not come."""
    monkeypatch.setattr(watching, "UNKNOWN_S", 0.02)
    assert followed(Service(1).answer, "other") == (False, [])


def test_a_call_that_does_not_end_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    """After a while."""
    monkeypatch.setattr(watching, "PATIENCE_S", 0.02)
    found, shown = followed(Service(1 << 60).answer)
    assert not found
    assert shown


@pytest.mark.parametrize(
    ("handler", "reason"),
    [
        (lambda _: httpx.Response(401), "HTTP 401"),
        (lambda _: httpx.Response(503), "HTTP 503"),
        (lambda _: httpx.Response(200, text="<html>"), "not JSON"),
        (lambda request: (_ for _ in ()).throw(httpx.ConnectError("no route", request=request)), "no route"),
    ],
)
def test_a_service_that_cannot_be_asked_is_told(handler: Any, reason: str) -> None:
    """With the reason."""
    with pytest.raises(KowairoError, match=reason):
        followed(handler)


def test_ids_that_are_taken_are_numbered_as_the_service_does() -> None:
    """`<id>.2` after `<id>`; an id that was given out once is not given out again."""
    taken = {"/v1/calls/c", "/v1/calls/c.2"}

    def answer(request: httpx.Request) -> httpx.Response:
        path = request.url.path
        return (
            httpx.Response(200, json=call(path.rpartition("/")[2])) if path in taken else httpx.Response(404)
        )

    async def go() -> list[str]:
        async with asking(answer) as client:
            watch = Watch(client, lambda _: None)
            return [await watch.id_of_next(call_id) for call_id in ("c", "c", "d", "d")]

    assert asyncio.run(go()) == ["c.3", "c.4", "d", "d.2"]
