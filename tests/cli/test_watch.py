"""Following calls over REST, against a scripted service without a socket."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import httpx
import pytest

from app.cli import watch as watching
from app.cli.watch import Watch, WatchError, put_json
from app.playing import Message

Handler = Callable[[httpx.Request], httpx.Response]


class Service:
    """Holds one call. Every look at it lets it come one step further: one more record, the last step ends it."""

    def __init__(self, records: int, page: int = 200) -> None:
        self.steps = 0
        self.records = records
        self.page = page
        self.looks: list[str] = []

    def answer(self, request: httpx.Request) -> httpx.Response:
        """One request."""
        self.looks.append(request.url.path)
        if not request.url.path.startswith("/v1/calls/c"):
            return httpx.Response(404)
        if request.url.path.endswith("/utterances"):
            self.steps += 1
            start = int(request.url.params.get("cursor", 0))
            there = min(self.steps, self.records)
            items = [{"utterance_id": f"c.{n}"} for n in range(start, min(there, start + self.page))]
            end = start + len(items)
            return httpx.Response(200, json={"items": items, "next": str(end) if end < there else None})
        ended = self.steps > self.records
        state, summary = ("ended", {"duration_s": 1.0, "legs": {}}) if ended else ("active", None)
        return httpx.Response(200, json={"call_id": "c", "state": state, "summary": summary})


def followed(handler: Handler, call_id: str = "c", *, played: bool = True) -> tuple[bool, list[Message]]:
    """Follow a call; whether its end was seen, and what was shown."""
    shown: list[Message] = []

    async def go() -> bool:
        transport = httpx.MockTransport(handler)
        async with httpx.AsyncClient(transport=transport, base_url="http://kowairo") as client:
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
    assert [message.get("utterance_id") for message in shown] == [*(f"c.{n}" for n in range(7)), None]
    assert shown[-1] == {"type": "summary", "call_id": "c", "duration_s": 1.0, "legs": {}}


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
        (lambda _: httpx.Response(401), "http://kowairo: HTTP 401"),
        (lambda _: httpx.Response(503), "HTTP 503"),
        (lambda request: (_ for _ in ()).throw(httpx.ConnectError("no route", request=request)), "no route"),
    ],
)
def test_a_service_that_cannot_be_asked_is_told(handler: Any, reason: str) -> None:
    """Address and reason; the same where it is to be told something."""
    with pytest.raises(WatchError, match=reason):
        followed(handler)

    async def put() -> None:
        transport = httpx.MockTransport(handler)
        async with httpx.AsyncClient(transport=transport, base_url="http://kowairo") as client:
            await put_json(client, "/v1/x", {})

    with pytest.raises(WatchError, match=reason):
        asyncio.run(put())


def test_an_answer_that_is_no_json_is_told() -> None:
    """Something else listens there."""
    with pytest.raises(WatchError, match="http://kowairo: "):
        followed(lambda _: httpx.Response(200, text="<html>"))


def test_ids_that_are_taken_are_numbered_as_the_service_does() -> None:
    """`<id>.2` after `<id>`; an id that was given out once is not given out again."""
    taken = {"/v1/calls/c", "/v1/calls/c.2"}

    async def go() -> list[str]:
        transport = httpx.MockTransport(
            lambda r: httpx.Response(200 if r.url.path in taken else 404, json={})
        )
        async with httpx.AsyncClient(transport=transport, base_url="http://kowairo") as client:
            watch = Watch(client, lambda _: None)
            return [await watch.id_of_next(call_id) for call_id in ("c", "c", "d", "d")]

    assert asyncio.run(go()) == ["c.3", "c.4", "d", "d.2"]
