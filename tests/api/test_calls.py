"""REST tells what the store holds, page by page, cheaply to who has it already, and erases it."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from app.access.principal import Scope
from app.api.call_bodies import CallReportBody, RecordListing
from app.api.etags import EXPIRY_GRAIN_S
from app.api.protocol import CallBody, Listing
from app.domain import AbstainReason, Leg
from app.results.writes import AppendRecord
from tests.support.clock import FakeClock
from tests.support.held import STARTED_AT, put_call
from tests.support.records import make_record
from tests.support.service import Api, api, make_settings
from tests.support.tenants import Tenants, make_tenants

REASONS = {1: AbstainReason.UNCERTAIN}


def run(work: Coroutine[Any, Any, None]) -> None:
    """Does something with the store."""
    asyncio.run(work)


async def fill(web: Api, calls: int, records: int, **fields: Any) -> None:
    """Calls c0, c1, …: the even ones ended, each with some records."""
    for number in range(calls):
        call_id = f"c{number}"
        parity = "odd" if number % 2 else "even"
        given: dict[str, Any] = {
            "line": parity,
            "team": f"team-{parity}",
            "started_at": STARTED_AT + number,
            "metadata": {"ticket": number},
            "outcome": None if number % 2 else "completed",
        }
        made = [make_record(call_id, index, reason=REASONS.get(index)) for index in range(records)]
        await put_call(web.services.store, call_id, made, **(given | fields))


def ids(web: Api, query: str) -> list[str]:
    """The ids that a query lists."""
    answer = web.get(f"/v1/calls?{query}")
    assert answer.status_code == 200, answer.text
    return [call["call_id"] for call in answer.json()["items"]]


@pytest.fixture
def small(bundle: Path) -> Iterator[Api]:
    """A service that holds few records of a call, on a clock that is moved by hand."""
    with api(make_settings(bundle, store={"max_records_per_call": 4, "ttl_s": 60}), FakeClock()) as running:
        yield running


@pytest.fixture(scope="module")
def tenants(tmp_path_factory: pytest.TempPathFactory) -> Tenants:
    """Two tenants."""
    return make_tenants(tmp_path_factory.mktemp("tenants"))


@pytest.fixture
def walled(bundle: Path, tenants: Tenants) -> Iterator[Api]:
    """A service of two tenants."""
    with api(make_settings(bundle, **tenants.groups)) as running:
        yield running


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


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("line=odd", ["c3", "c1"]),
        ("state=ended", ["c2", "c0"]),
        ("state=active&line=odd", ["c3", "c1"]),
        ("line=odd&state=ended", []),
        ("team=team-even", ["c2", "c0"]),
        ("outcome=completed", ["c2", "c0"]),
        ("outcome=abandoned", []),
        ("since=2023-11-14T22:13:22Z", ["c3", "c2"]),
        ("since=2023-11-14T23:13:22.250%2B01:00", ["c3", "c2"]),
        ("until=2023-11-14T22:13:21.250Z", ["c0"]),
        ("since=2023-11-14t22:13:21z&until=2023-11-14T22:13:22Z", ["c1"]),
    ],
)
def test_calls_are_filtered(web: Api, query: str, expected: list[str]) -> None:
    """By line, state, team, outcome and when they started; the end of a span is not in it."""
    run(fill(web, calls=4, records=0))
    assert ids(web, query) == expected


def test_a_cursor_goes_with_its_filters(web: Api) -> None:
    """It is refused with others, and does not mind another page size."""
    run(fill(web, calls=5, records=0))
    cursor = web.get("/v1/calls?line=even&limit=1").json()["next"]
    assert ids(web, f"line=even&limit=2&cursor={cursor}") == ["c2", "c0"]
    for query in ("line=odd", "state=ended", "line=even&since=2023-01-01T00:00:00Z", "limit=1"):
        answer = web.get(f"/v1/calls?{query}&cursor={cursor}")
        assert (answer.status_code, answer.json()["code"]) == (422, "invalid_cursor")


def test_polling_a_list_that_did_not_change_is_cheap(web: Api) -> None:
    """304 without a body until something happens; every answer may be kept, but must be asked about."""
    run(fill(web, calls=2, records=0))
    first = web.get("/v1/calls?limit=5&state=active")
    headers = {"If-None-Match": first.headers["etag"]}
    assert first.headers["cache-control"] == "private, no-cache"
    again = web.get("/v1/calls?state=active&limit=5", headers=headers)
    assert (again.status_code, again.content) == (304, b"")
    assert again.headers["etag"] == first.headers["etag"]
    assert again.headers["cache-control"] == "private, no-cache"
    assert web.get("/v1/calls?limit=6&state=active", headers=headers).status_code == 200
    run(put_call(web.services.store, "new"))
    assert web.get("/v1/calls?limit=5&state=active", headers=headers).status_code == 200


def test_what_expired_is_not_unchanged(small: Api) -> None:
    """A tag of a list outlives no expiry by more than its grain."""
    run(put_call(small.services.store, "short", ttl_s=EXPIRY_GRAIN_S))
    headers = {"If-None-Match": small.get("/v1/calls").headers["etag"]}
    assert small.get("/v1/calls", headers=headers).status_code == 304
    clock = small.services.clock
    assert isinstance(clock, FakeClock)
    clock.advance(EXPIRY_GRAIN_S)
    assert small.get("/v1/calls", headers=headers).json()["items"] == []


@pytest.mark.parametrize("given", ['"nothing", {tag}', "*", '{tag} , "x"'])
def test_a_client_may_know_several_answers(web: Api, given: str) -> None:
    """`If-None-Match` is a list, or a star."""
    tag = web.get("/v1/calls").headers["etag"]
    answer = web.get("/v1/calls", headers={"If-None-Match": given.replace("{tag}", tag)})
    assert answer.status_code == 304


def test_a_call_has_its_timeline_and_summary(web: Api) -> None:
    """Times are RFC 3339; metadata comes back as it was given; the list does not hold it."""
    run(fill(web, calls=1, records=3))
    body = web.get("/v1/calls/c0").json()
    CallReportBody.model_validate(body)
    assert (body["started_at"], body["ended_at"]) == ("2023-11-14T22:13:20.250Z", "2023-11-14T22:15:00.000Z")
    assert body["metadata"] == {"ticket": 0}
    assert body["summary"] == {"duration_s": 9.0}
    assert [point["start_s"] for point in body["timeline"]] == [0.0, 2.0, 4.0]
    assert [point["reason"] for point in body["timeline"]] == [None, "uncertain", None]
    assert "metadata" not in web.get("/v1/calls").json()["items"][0]


def test_a_call_says_what_each_leg_comes_to(web: Api) -> None:
    """Accounts, shares and peaks by leg."""
    run(fill(web, calls=1, records=3))
    (leg,) = web.get("/v1/calls/c0").json()["by_leg"].items()
    name, summary = leg
    assert name == "customer"
    assert (summary["utterances"], summary["seconds"]) == (3, 4.5)
    assert summary["abstained"] == {"uncertain": {"utterances": 1, "share": 0.3333}}
    assert summary["sound"]["emotion_seconds"] == {"anger": 3.0}


def test_polling_a_call_follows_its_version(web: Api) -> None:
    """304 until a record comes."""
    run(fill(web, calls=1, records=1, outcome=None))
    etag = web.get("/v1/calls/c0").headers["etag"]
    assert web.get("/v1/calls/c0", headers={"If-None-Match": etag}).status_code == 304
    record = replace(make_record("c0", 1), seq=2, created_at=STARTED_AT)
    run(web.services.store.write([AppendRecord("default", record)]))  # type: ignore[arg-type]
    answer = web.get("/v1/calls/c0", headers={"If-None-Match": etag})
    assert (answer.status_code, len(answer.json()["timeline"])) == (200, 2)


def test_a_call_lists_what_was_not_speech(web: Api) -> None:
    """Music and tones are told apart from the records, with the times of the utterances they were."""
    silent = make_record("c0", 1, reason=AbstainReason.NOT_SPEECH)
    tone = replace(silent, not_speech_kind="tone", not_speech_name="busy")
    run(put_call(web.services.store, "c0", [make_record("c0", 0), tone]))
    body = web.get("/v1/calls/c0").json()
    CallReportBody.model_validate(body)
    (event,) = body["line_events"]
    assert event == {
        "call_id": "c0", "leg": "customer", "kind": "tone", "name": "busy", "start_s": 2.0, "end_s": 3.5
    }  # fmt: skip
    assert len(body["timeline"]) == 2


def test_a_calls_records_come_in_pages(web: Api) -> None:
    """In the order they were made, each as the socket gave it."""
    run(fill(web, calls=1, records=3))
    first = web.get("/v1/calls/c0/utterances?limit=2").json()
    RecordListing.model_validate(first)
    second = web.get(f"/v1/calls/c0/utterances?cursor={first['next']}").json()
    assert [record["start_s"] for record in first["items"] + second["items"]] == [0.0, 2.0, 4.0]
    assert second["next"] is None
    assert (second["first_seq"], second["last_seq"], second["gaps"]) == (1, 3, [])
    late = web.get("/v1/calls/c0/utterances?from_seq=3").json()
    assert [record["seq"] for record in late["items"]] == [3]
    beyond = web.get("/v1/calls/c0/utterances?from_seq=9").json()
    assert (beyond["items"], beyond["next"], beyond["gaps"]) == ([], None, [])


def test_records_that_are_not_held_any_more_are_named(small: Api) -> None:
    """What was pushed out, and what never came, exactly."""
    seqs = [1, 2, 3, 4, 6, 7, 9]
    records = [replace(make_record("c0", seq), seq=seq) for seq in seqs]
    run(put_call(small.services.store, "c0", records))
    body = small.get("/v1/calls/c0/utterances").json()
    assert [record["seq"] for record in body["items"]] == [4, 6, 7, 9]
    assert (body["first_seq"], body["last_seq"]) == (4, 9)
    assert body["gaps"] == [
        {"from_seq": 1, "to_seq": 3}, {"from_seq": 5, "to_seq": 5}, {"from_seq": 8, "to_seq": 8}
    ]  # fmt: skip
    page = small.get("/v1/calls/c0/utterances?limit=2&from_seq=5").json()
    assert page["gaps"] == [{"from_seq": 5, "to_seq": 5}]
    rest = small.get(f"/v1/calls/c0/utterances?limit=2&cursor={page['next']}").json()
    assert rest["gaps"] == [{"from_seq": 8, "to_seq": 8}]


def test_a_place_to_begin_is_given_once(web: Api) -> None:
    """A cursor and a number together are refused; so is a cursor of another call."""
    run(fill(web, calls=2, records=3))
    cursor = web.get("/v1/calls/c0/utterances?limit=1").json()["next"]
    both = web.get(f"/v1/calls/c0/utterances?cursor={cursor}&from_seq=1")
    assert (both.status_code, both.json()["code"]) == (422, "invalid_request")
    other = web.get(f"/v1/calls/c1/utterances?cursor={cursor}")
    assert (other.status_code, other.json()["code"]) == (422, "invalid_cursor")


def test_erasure_leaves_nothing(web: Api) -> None:
    """The call is unknown everywhere afterwards."""
    run(fill(web, calls=1, records=2))
    answer = web.request("DELETE", "/v1/calls/c0")
    assert answer.is_success
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
        ("/v1/calls?limit=201", "invalid_request"),
        ("/v1/calls?limit=many", "invalid_request"),
        ("/v1/calls?limit=NaN", "invalid_request"),
        ("/v1/calls?limit=9e99", "invalid_request"),
        ("/v1/calls?limit=" + "9" * 4_400, "invalid_request"),
        ("/v1/calls?state=sleeping", "invalid_request"),
        ("/v1/calls?line=../sleeping", "invalid_request"),
        ("/v1/calls?team=%00", "invalid_request"),
        ("/v1/calls?outcome=", "invalid_request"),
        ("/v1/calls?lien=sleeping", "invalid_request"),
        ("/v1/calls/c?line=sleeping", "invalid_request"),
        ("/v1/calls?line=a&line=b", "invalid_request"),
        ("/v1/calls?since=sleeping", "invalid_request"),
        ("/v1/calls?since=2026-01-01T00:00:00", "invalid_request"),
        ("/v1/calls?since=2026-01-01T00:00:00+02:00", "invalid_request"),
        ("/v1/calls?since=2026-02-30T00:00:00Z", "invalid_request"),
        ("/v1/calls?since=0001-01-01T00:00:00Z", "invalid_request"),
        ("/v1/calls?since=9999-12-31T23:59:59-12:00", "invalid_request"),
        ("/v1/calls?since=2026-01-01", "invalid_request"),
        ("/v1/calls?since=1700000000", "invalid_request"),
        ("/v1/calls?since=2026-01-02T00:00:00Z&until=2026-01-01T00:00:00Z", "invalid_request"),
        ("/v1/calls?cursor=xyz", "invalid_cursor"),
        ("/v1/calls?cursor=", "invalid_cursor"),
        ("/v1/calls?cursor=%00%ff", "invalid_cursor"),
        ("/v1/calls?cursor=" + "A" * 4_000, "invalid_cursor"),
        ("/v1/calls?cursor=" + "A" * 5_000, "invalid_request"),
        ("/v1/calls/c/utterances?from_seq=0", "invalid_request"),
        ("/v1/calls/c/utterances?from_seq=1e3", "invalid_request"),
        ("/v1/calls/c/utterances?from_seq=99999999999999999999", "invalid_request"),
    ],
)
def test_a_bad_query_is_a_problem(web: Api, path: str, code: str) -> None:
    """422 with a code of its own; the wrong value itself is not repeated."""
    answer = web.get(path)
    assert answer.status_code == 422, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.json()["code"] == code
    assert "sleeping" not in answer.text
    assert "xyz" not in answer.text


def test_a_time_without_a_zone_is_told_so(web: Api) -> None:
    """Nobody has to guess what is missing."""
    assert "no zone" in web.get("/v1/calls?until=2026-01-01T00:00:00").json()["detail"]


@pytest.mark.parametrize(
    "call_id",
    ["%2e%2e", "..", "%00", "c0%00", "..%2Fc0", "%2e%2e%2fc0", "c%C3%A9", "%F0%9F%98%80", "%ff", "%7B", "a" * 129],
)  # fmt: skip
def test_odd_ids_are_unknown(web: Api, call_id: str) -> None:
    """404, whatever they would mean elsewhere."""
    run(fill(web, calls=1, records=0))
    for path in (f"/v1/calls/{call_id}", f"/v1/calls/{call_id}/utterances"):
        answer = web.get(path)
        assert answer.status_code == 404 or str(answer.url).endswith("/v1/calls/"), path
        assert answer.headers["content-type"] == "application/problem+json"


def test_tenants_do_not_see_each_other(walled: Api, tenants: Tenants) -> None:
    """Another tenant's call is exactly as unknown as one that never was."""
    alpha, beta = tenants.all
    run(put_call(walled.services.store, "c0", [make_record("c0", 0)], tenant=alpha.name))
    for path in ("/v1/calls/c0", "/v1/calls/c0/utterances"):
        assert walled.get(path, headers=alpha.headers()).status_code == 200
        foreign = walled.get(path, headers=beta.headers())
        unknown = walled.get(path.replace("c0", "c9"), headers=beta.headers())
        assert (foreign.status_code, foreign.json()) == (unknown.status_code, unknown.json())
        assert foreign.status_code == 404
    assert walled.get("/v1/calls", headers=beta.headers()).json()["items"] == []
    etag = walled.get("/v1/calls", headers=alpha.headers()).headers["etag"]
    assert walled.get("/v1/calls", headers=beta.headers() | {"If-None-Match": etag}).status_code == 200


def test_each_route_wants_its_scope(walled: Api, tenants: Tenants) -> None:
    """Reading needs `read:scores`, pausing `ingest`; strangers learn nothing of parameters."""
    alpha, _ = tenants.all
    run(put_call(walled.services.store, "c0", tenant=alpha.name))
    assert walled.get("/v1/calls", headers=alpha.headers(Scope.READ_SCORES)).status_code == 200
    assert walled.get("/v1/calls", headers=alpha.headers(Scope.READ_STATS)).status_code == 403
    pause = walled.request("POST", "/v1/calls/c0/pause", headers=alpha.headers(Scope.READ_SCORES))
    assert pause.status_code == 403
    pause = walled.request("POST", "/v1/calls/c0/pause", headers=alpha.headers(Scope.INGEST))
    assert (pause.status_code, pause.json()["code"]) == (409, "call_ended")
    assert walled.get("/v1/calls?lien=x").status_code == 401


def test_legs_that_were_not_scored_have_no_sound(web: Api) -> None:
    """An agent's leg shows its account only; the customer's beside it shows how it sounded."""
    records = [make_record("c0", 0), make_record("c0", 1, leg=Leg.AGENT, reason=AbstainReason.POLICY)]
    run(put_call(web.services.store, "c0", records, legs=(Leg.CUSTOMER, Leg.AGENT)))
    body = web.get("/v1/calls/c0").json()
    CallReportBody.model_validate(body)
    assert body["by_leg"]["agent"]["sound"] is None
    assert body["by_leg"]["agent"]["utterances"] == 1
    assert body["by_leg"]["customer"]["sound"]["peaks"]["anger"]["utterance_id"] == "c0.customer.0000"
