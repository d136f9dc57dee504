"""REST tells what the store holds, page by page, and erases it."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from dataclasses import replace
from typing import Any

import pytest

from app.api.protocol import CallBody, CallDetailBody, Listing, UtteranceBody
from app.domain import AbstainReason, Leg
from app.results.store import CallInfo
from tests.support.records import make_record
from tests.support.service import Api


def run(work: Coroutine[Any, Any, None]) -> None:
    """Does something with the store."""
    asyncio.run(work)


async def fill(web: Api, calls: int, records: int) -> None:
    """Calls c0, c1, …: the even ones ended, each with some records."""
    store = web.services.store
    for number in range(calls):
        call_id = f"c{number}"
        await store.open_call(
            CallInfo(
                call_id=call_id,
                line="even" if number % 2 == 0 else "odd",
                legs=(Leg.CUSTOMER,),
                started_at=1_700_000_000.25 + number,
                metadata={"ticket": number},
            )
        )
        for index in range(records):
            reason = AbstainReason.UNCERTAIN if index == 1 else None
            await store.append(make_record(call_id, index, reason=reason))
        if number % 2 == 0:
            summary = {"duration_s": 9.0}
            await store.close_call(call_id, outcome="completed", ended_at=1_700_000_100.0, summary=summary)


def test_calls_are_listed_in_pages_latest_first(web: Api) -> None:
    """Following `next` gives every call once."""
    run(fill(web, calls=5, records=0))
    seen: list[str] = []
    path: str | None = "/v1/calls?limit=2"
    while path:
        body = web.get(path).json()
        Listing[CallBody].model_validate(body)
        seen += [call["call_id"] for call in body["items"]]
        path = body["next"] and f"/v1/calls?limit=2&cursor={body['next']}"
    assert seen == ["c4", "c3", "c2", "c1", "c0"]


def test_calls_are_filtered(web: Api) -> None:
    """By line and by state."""
    run(fill(web, calls=4, records=0))
    assert [call["call_id"] for call in web.get("/v1/calls?line=odd").json()["items"]] == ["c3", "c1"]
    assert [call["call_id"] for call in web.get("/v1/calls?state=ended").json()["items"]] == ["c2", "c0"]
    assert web.get("/v1/calls?line=odd&state=ended").json() == {"items": [], "next": None}


def test_a_call_has_its_timeline_and_summary(web: Api) -> None:
    """Times are RFC 3339; metadata comes back as it was given; the list does not hold it."""
    run(fill(web, calls=1, records=3))
    body = web.get("/v1/calls/c0").json()
    CallDetailBody.model_validate(body)
    assert (body["started_at"], body["ended_at"]) == ("2023-11-14T22:13:20.250Z", "2023-11-14T22:15:00.000Z")
    assert body["metadata"] == {"ticket": 0}
    assert body["summary"] == {"duration_s": 9.0}
    assert [point["start_s"] for point in body["timeline"]] == [0.0, 2.0, 4.0]
    assert [point["reason"] for point in body["timeline"]] == [None, "uncertain", None]
    assert "metadata" not in web.get("/v1/calls").json()["items"][0]


def test_a_call_lists_what_was_not_speech(web: Api) -> None:
    """Music and tones are told apart from the records, with the times of the utterances they were."""

    async def ring() -> None:
        await fill(web, calls=1, records=1)
        silent = make_record("c0", 1, reason=AbstainReason.NOT_SPEECH)
        await web.services.store.append(replace(silent, not_speech_kind="tone", not_speech_name="busy"))

    run(ring())
    body = web.get("/v1/calls/c0").json()
    CallDetailBody.model_validate(body)
    (event,) = body["line_events"]
    assert event == {
        "call_id": "c0", "leg": "customer", "kind": "tone", "name": "busy", "start_s": 2.0, "end_s": 3.5
    }  # fmt: skip
    assert len(body["timeline"]) == 2


def test_a_calls_records_come_in_pages(web: Api) -> None:
    """In the order they were made, each as the socket gave it."""
    run(fill(web, calls=1, records=3))
    first = web.get("/v1/calls/c0/utterances?limit=2").json()
    Listing[UtteranceBody].model_validate(first)
    second = web.get(f"/v1/calls/c0/utterances?cursor={first['next']}").json()
    assert [record["start_s"] for record in first["items"] + second["items"]] == [0.0, 2.0, 4.0]
    assert second["next"] is None


def test_erasure_leaves_nothing(web: Api) -> None:
    """204, then the call is unknown everywhere, and the feed says that it was erased."""
    run(fill(web, calls=1, records=2))
    with web.services.publisher.subscribe() as feed:
        answer = web.request("DELETE", "/v1/calls/c0")
        assert (answer.status_code, answer.content) == (204, b"")
        web.services.publisher.close()

        async def told() -> list[str]:
            return [event.type async for event in feed]

        assert asyncio.run(told()) == ["call_erased"]
    for path in ("/v1/calls/c0", "/v1/calls/c0/utterances"):
        assert (web.get(path).status_code, web.get(path).json()["code"]) == (404, "call_not_found")
    assert web.get("/v1/calls").json()["items"] == []


def test_a_live_call_is_not_erased(web: Api) -> None:
    """409: it has to end first."""
    run(fill(web, calls=2, records=0))
    answer = web.request("DELETE", "/v1/calls/c1")
    assert (answer.status_code, answer.json()["code"]) == (409, "call_active")


@pytest.mark.parametrize(
    ("path", "code"),
    [
        ("/v1/calls?limit=0", "invalid_request"),
        ("/v1/calls?limit=many", "invalid_request"),
        ("/v1/calls?state=sleeping", "invalid_request"),
        ("/v1/calls?cursor=xyz", "invalid_cursor"),
    ],
)
def test_a_bad_query_is_a_problem(web: Api, path: str, code: str) -> None:
    """422 with a code of its own; the wrong value itself is not repeated."""
    answer = web.get(path)
    assert answer.status_code == 422
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.json()["code"] == code
    assert "sleeping" not in answer.text
    assert "xyz" not in answer.text
