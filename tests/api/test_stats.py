"""Statistics over time: of customers, never of agents."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

from app.access.principal import Scope
from app.api.stats_bodies import StatsBody
from app.domain import AbstainReason, Leg
from tests.support.clock import FakeClock
from tests.support.held import erase_call, put_call
from tests.support.records import make_record
from tests.support.service import Api, api, make_settings
from tests.support.tenants import make_tenants

NOW = datetime.fromisoformat("2026-10-25T12:00:00+01:00").timestamp()
SPAN = "since=2026-10-25T00:00:00%2B02:00&until=2026-10-26T00:00:00%2B01:00"


@pytest.fixture
def web(bundle: Path) -> Iterator[Api]:
    """A service on the day the clock goes back in Paris, at noon."""
    with api(make_settings(bundle), FakeClock(NOW)) as running:
        yield running


async def fill(web: Api, tenant: str = "default") -> None:
    """Two calls of two lines in the last hours: customers who were scored or not, and an agent."""
    hour = 3_600.0
    sales = [
        replace(make_record("c0", 0), created_at=NOW - 11 * hour),
        replace(make_record("c0", 1), created_at=NOW - 10 * hour),
        replace(make_record("c0", 2, reason=AbstainReason.UNCERTAIN), created_at=NOW - 10 * hour),
        replace(make_record("c0", 3, leg=Leg.AGENT), created_at=NOW - 10 * hour),
    ]
    support = [replace(make_record("c1", 0), emotion="neutral", created_at=NOW - 60.0)]
    await put_call(web.services.store, "c0", sales, line="sales", team="north", tenant=tenant)
    await put_call(web.services.store, "c1", support, line="support", tenant=tenant)


def stats(web: Api, query: str = "") -> dict[str, Any]:
    """An answer that has its shape."""
    answer = web.get(f"/v1/stats?{query}")
    assert answer.status_code == 200, answer.text
    body: dict[str, Any] = answer.json()
    StatsBody.model_validate(body)
    return body


def test_the_last_day_by_the_hour(web: Api) -> None:
    """Without parameters; agents are not counted."""
    asyncio.run(fill(web))
    body = stats(web)
    assert (body["since"], body["until"]) == ("2026-10-24T11:00:00Z", "2026-10-25T11:00:00Z")
    assert (body["bucket"], body["tz"], body["group_by"], body["withheld"]) == ("1h", "UTC", [], 0)
    assert [(row["start"], row["utterances"]) for row in body["items"]] == [
        ("2026-10-25T00:00:00Z", 1),
        ("2026-10-25T01:00:00Z", 2),
        ("2026-10-25T10:00:00Z", 1),
    ]


def test_hours_of_a_sites_own_clock(web: Api) -> None:
    """The hour that happens twice is two rows, which their offsets tell apart."""
    asyncio.run(fill(web))
    items = stats(web, f"{SPAN}&tz=Europe/Paris")["items"]
    assert [(row["start"], row["end"]) for row in items] == [
        ("2026-10-25T02:00:00+02:00", "2026-10-25T02:00:00+01:00"),
        ("2026-10-25T02:00:00+01:00", "2026-10-25T03:00:00+01:00"),
        ("2026-10-25T11:00:00+01:00", "2026-10-25T12:00:00+01:00"),
    ]
    (day,) = stats(web, f"{SPAN}&tz=Europe/Paris&bucket=1d")["items"]
    assert (day["start"], day["end"]) == ("2026-10-25T00:00:00+02:00", "2026-10-26T00:00:00+01:00")
    assert day["utterances"] == 4


def test_a_total_with_its_means(web: Api) -> None:
    """One row for the whole span."""
    asyncio.run(fill(web))
    (row,) = stats(web, f"{SPAN}&bucket=total")["items"]
    assert (row["start"], row["end"]) == ("2026-10-24T22:00:00Z", "2026-10-25T23:00:00Z")
    assert (row["utterances"], row["seconds"], row["scored"], row["abstained_share"]) == (4, 6.0, 3, 0.25)
    assert row["emotions"]["anger"] == {"utterances": 2, "seconds": 3.0, "share": 0.6667}
    assert (row["confidence"], row["arousal"], row["valence"], row["expected_cost"]) == (0.7, 0.4, -0.5, 0.3)


def test_groups(web: Api) -> None:
    """By several dimensions at once; a call without a team is a group of its own."""
    asyncio.run(fill(web))
    items = stats(web, f"{SPAN}&bucket=total&group_by=line,team")["items"]
    assert [(row["line"], row["team"], row["utterances"]) for row in items] == [
        ("sales", "north", 3),
        ("support", None, 1),
    ]
    items = stats(web, f"{SPAN}&bucket=total&group_by=emotion, outcome")["items"]
    assert [(row["emotion"], row["outcome"], row["utterances"]) for row in items] == [
        (None, "uncertain", 1),
        ("anger", "scored", 2),
        ("neutral", "scored", 1),
    ]


@pytest.mark.parametrize(
    ("query", "n"),
    [("line=sales", 3), ("team=north", 3), ("emotion=anger", 2), ("outcome=uncertain", 1), ("line=none", 0)],
)
def test_filters(web: Api, query: str, n: int) -> None:
    """Each by itself."""
    asyncio.run(fill(web))
    assert sum(row["utterances"] for row in stats(web, f"{SPAN}&bucket=total&{query}")["items"]) == n


def test_what_was_erased_is_not_counted(web: Api) -> None:
    """And who polls learns of it."""
    asyncio.run(fill(web))
    etag = web.get("/v1/stats").headers["etag"]
    assert web.get("/v1/stats", headers={"If-None-Match": etag}).status_code == 304
    asyncio.run(erase_call(web.services.store, "c0"))
    answer = web.get("/v1/stats", headers={"If-None-Match": etag})
    assert [row["utterances"] for row in answer.json()["items"]] == [1]


def test_an_answer_ages(web: Api) -> None:
    """The last day is another one five minutes later."""
    etag = web.get("/v1/stats").headers["etag"]
    clock = web.services.clock
    assert isinstance(clock, FakeClock)
    clock.advance(301.0)
    assert web.get("/v1/stats", headers={"If-None-Match": etag}).status_code == 200


def test_small_groups_are_withheld_where_a_site_says_so(bundle: Path) -> None:
    """Rows of fewer utterances than `stats.min_group`."""
    with api(make_settings(bundle, stats={"min_group": 3}), FakeClock(NOW)) as web:
        asyncio.run(fill(web))
        body = stats(web, f"{SPAN}&bucket=total&group_by=line")
        assert (body["min_group"], body["withheld"]) == (3, 1)
        (row,) = body["items"]
        assert (row["line"], row["utterances"], row["emotions"], row["abstained"]) == ("sales", 3, None, None)


@pytest.mark.parametrize(
    "query",
    [
        "group_by=agent",
        "group_by=leg",
        "group_by=subject",
        "group_by=owner",
        "group_by=call_id",
        "group_by=line,agent",
        "group_by=line,line",
        "group_by=,",
        "leg=agent",
        "agent=anna",
        "bucket=1m",
        "bucket=",
        "outcome=angry",
        "line=%2e%2e/x",
        "tz=Mars/Olympus",
        "tz=../../etc/passwd",
        "tz=/etc/localtime",
        "tz=America",
        "tz=",
        "tz=%00",
        "tz=Europe/Paris%00",
        "since=2026-10-25T00:00:00",
        "since=2026-10-25T00:00:00Z&until=2026-10-24T00:00:00Z",
        "since=2030-01-01T00:00:00Z",
        "bucket=5m&since=2026-08-01T00:00:00Z&until=2026-10-01T00:00:00Z",
        "bucket=1h&since=2026-01-01T00:00:00Z&until=2026-10-01T00:00:00Z",
        "bucket=total&since=2020-01-01T00:00:00Z&until=2026-10-01T00:00:00Z",
        "since=1970-01-01T00:00:00%2B14:00&until=1970-01-02T00:00:00Z",
        "limit=5",
        "emotion=",
        "emotion=" + "x" * 65,
    ],
)
def test_a_wrong_query_is_a_problem(web: Api, query: str) -> None:
    """422 in every case."""
    answer = web.get(f"/v1/stats?{query}")
    assert (answer.status_code, answer.json()["code"]) == (422, "invalid_request"), answer.text


@pytest.mark.parametrize(
    "query",
    [
        "bucket=5m&since=2026-10-01T00:00:00Z&until=2026-11-01T00:00:00Z",
        "bucket=5m&since=2026-10-01T00:00:00%2B02:00&until=2026-11-01T00:00:00%2B01:00",
        "bucket=1d&since=2025-10-01T00:00:00Z&until=2026-10-01T00:00:00Z",
        "until=2026-10-25T00:00:00Z",
        "since=2026-10-25T00:00:00Z&until=2026-10-25T00:00:00Z",
    ],
)
def test_what_is_within_the_limits_is_answered(web: Api, query: str) -> None:
    """A whole month in stretches of five minutes, also that in which the clock goes back."""
    assert web.get(f"/v1/stats?{query}").status_code == 200


def test_tenants_and_scopes(bundle: Path, tmp_path: Path) -> None:
    """Each counts its own; whoever may read statistics needs no other scope, and no other one is enough."""
    tenants = make_tenants(tmp_path)
    alpha, beta = tenants.all
    with api(make_settings(bundle, **tenants.groups), FakeClock(NOW)) as web:
        asyncio.run(fill(web, alpha.name))
        found = web.get("/v1/stats?bucket=total", headers=alpha.headers(Scope.READ_STATS)).json()["items"]
        assert [row["utterances"] for row in found] == [4]
        assert web.get("/v1/stats", headers=beta.headers()).json()["items"] == []
        for scope in set(Scope) - {Scope.READ_STATS}:
            assert web.get("/v1/stats", headers=alpha.headers(scope)).status_code == 403
        assert web.get("/v1/stats").status_code == 401
