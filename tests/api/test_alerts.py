"""`/v1/alert-rules` and `/v1/alerts`."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from app.access.principal import Scope
from app.api import alerts
from app.api.alert_bodies import AlertBody, RuleBody
from app.delivery.rules import MAX_RULES
from app.results.writes import EraseCall
from tests.api.test_hooks import code
from tests.delivery.parts import said
from tests.support.delivering import DeliveringApi, delivering_api
from tests.support.held import carry_out, put_call
from tests.support.service import make_settings
from tests.support.tenants import make_tenants

RULES = "/v1/alert-rules"
ALERTS = "/v1/alerts"
COST = {"kind": "expected_cost", "above": 5}


@pytest.fixture(scope="module")
def shared(bundle: Path) -> Iterator[DeliveringApi]:
    """A service for requests that are refused."""
    with delivering_api(make_settings(bundle)) as running:
        yield running


@pytest.fixture
def web(bundle: Path) -> Iterator[DeliveringApi]:
    """A service without keys."""
    with delivering_api(make_settings(bundle)) as running:
        yield running


def make(web: DeliveringApi, body: dict[str, Any] | None = None) -> dict[str, Any]:
    """A new rule."""
    web.clock.advance(1.0)
    answer = web.request("POST", RULES, json=COST if body is None else body)
    assert answer.status_code == 201, answer.text
    made: dict[str, Any] = answer.json()
    return made


def raise_alerts(web: DeliveringApi, call_id: str, *seqs: int) -> None:
    """A call that ended, whose odd records are dear."""
    store = web.services.store

    async def follow() -> None:
        await put_call(store, call_id)
        call = await store.get_call("default", call_id)
        for seq in seqs:
            record = said(seq, call_id=call_id, expected_cost=9.0 if seq % 2 else 0.0)
            await store.write(await web.desk.follow_ups("default", call, record))

    asyncio.run(follow())


def listed(web: DeliveringApi, **query: Any) -> list[tuple[str, int]]:
    """Calls and numbers of all alerts, page by page."""
    found: list[tuple[str, int]] = []
    cursor: dict[str, Any] = {}
    while True:
        page = web.get(ALERTS, params={**query, **cursor}).json()
        found += [(item["call_id"], item["seq"]) for item in page["items"]]
        if page["next"] is None:
            return found
        cursor = {"cursor": page["next"]}


def test_rules_are_made_replaced_and_removed(web: DeliveringApi) -> None:
    """Each kind in its shape; what is left out has its default."""
    emotion = next(iter(web.services.engine.categories))
    made = [
        make(web, {"kind": "emotion", "emotion": emotion, "min_score": 0.6, "for_s": 10, "leg": "customer"}),
        make(web, {"kind": "valence", "below": -0.5, "for_s": 20, "line": "sales", "cooldown_s": 60}),
        make(web),
    ]
    for rule in made:
        RuleBody.model_validate(rule)
        assert web.get(f"{RULES}/{rule['id']}").json() == rule
    assert [rule["id"] for rule in web.get(RULES).json()["items"]] == [rule["id"] for rule in made]
    assert (made[0]["min_score"], made[0]["above"], made[0]["max_gap_s"]) == (0.6, None, 60.0)
    path = f"{RULES}/{made[2]['id']}"
    replaced = web.request("PUT", path, json={**COST, "above": 7, "name": "dear"}).json()
    assert (replaced["id"], replaced["above"], replaced["name"]) == (made[2]["id"], 7.0, "dear")
    assert web.request("DELETE", path).status_code == 204
    for method, body in (("GET", None), ("DELETE", None), ("PUT", COST)):
        answer = web.request(method, path, **({} if body is None else {"json": body}))
        assert code(answer) == (404, "alert_rule_not_found")


@pytest.mark.parametrize(
    "body",
    [
        {},
        [],
        {"kind": "anger"},
        {"kind": "expected_cost"},
        {"kind": "expected_cost", "below": 1},
        {"kind": "expected_cost", "above": -1},
        {"kind": "expected_cost", "above": 5, "min_score": 0.5},
        {"kind": "valence", "below": -1.5},
        {"kind": "valence", "below": "0"},
        {"kind": "emotion", "min_score": 0.5},
        {"kind": "emotion", "emotion": "x", "min_score": 0},
        {"kind": "emotion", "emotion": "x\n", "min_score": 0.5},
        {**COST, "for_s": -1},
        {**COST, "for_s": 86_401},
        {**COST, "cooldown_s": True},
        {**COST, "max_gap_s": 0},
        {**COST, "leg": "boss"},
        {**COST, "line": "a b"},
        {**COST, "name": "a" * 65},
        {**COST, "id": "ar_1"},
    ],
)
def test_bodies_are_strict(shared: DeliveringApi, body: Any) -> None:
    """Unknown members, members of other kinds, and bounds out of range."""
    assert code(shared.request("POST", RULES, json=body)) == (422, "invalid_request")


def test_an_emotion_that_the_head_does_not_know_is_refused(web: DeliveringApi) -> None:
    """A misspelt rule would never raise anything."""
    rule = {"kind": "emotion", "emotion": "angst", "min_score": 0.5}
    assert code(web.request("POST", RULES, json=rule)) == (422, "unknown_emotion")


def test_rules_are_bounded(web: DeliveringApi) -> None:
    """The hundred and first is refused."""
    for _ in range(MAX_RULES):
        make(web)
    assert code(web.request("POST", RULES, json=COST)) == (409, "limit_reached")


def test_alerts_are_listed_latest_first(web: DeliveringApi, monkeypatch: pytest.MonkeyPatch) -> None:
    """Page by page, each once, whatever the feed holds between them; filtered by call, kind and rule."""
    rule = make(web)
    assert web.get(ALERTS).json() == {"items": [], "next": None}
    raise_alerts(web, "call-1", 1, 2, 3)
    raise_alerts(web, "call-2", 1)
    page = web.get(ALERTS).json()
    for item in page["items"]:
        AlertBody.model_validate(item)
    expected = [("call-2", 1), ("call-1", 3), ("call-1", 1)]
    assert listed(web) == expected
    assert listed(web, limit=1) == expected
    monkeypatch.setattr(alerts, "_WINDOW", 2)
    monkeypatch.setattr(alerts, "_WINDOWS", 1)
    assert listed(web, limit=1) == expected
    assert listed(web, limit=50) == expected
    assert listed(web, call_id="call-1") == expected[1:]
    assert listed(web, kind="expected_cost") == expected
    assert listed(web, kind="valence") == []
    assert listed(web, rule_id=rule["id"]) == expected
    assert listed(web, rule_id="ar_" + "0" * 24) == []


def test_new_alerts_do_not_disturb_a_list(web: DeliveringApi) -> None:
    """Between two pages another comes: the second page is what it would have been."""
    make(web)
    raise_alerts(web, "call-1", 1, 2, 3)
    page = web.get(ALERTS, params={"limit": 1}).json()
    raise_alerts(web, "call-2", 1)
    rest = web.get(ALERTS, params={"limit": 5, "cursor": page["next"]}).json()
    assert [(item["call_id"], item["seq"]) for item in page["items"] + rest["items"]] == [
        ("call-1", 3),
        ("call-1", 1),
    ]


def test_alerts_go_with_their_call(web: DeliveringApi) -> None:
    """Erasure leaves none."""
    make(web)
    raise_alerts(web, "call-1", 1)
    raise_alerts(web, "call-2", 1)
    asyncio.run(carry_out(web.services.store, EraseCall("default", "call-1")))
    assert listed(web) == [("call-2", 1)]


def test_bad_queries(web: DeliveringApi) -> None:
    """Cursors of other queries, unknown names, values that cannot be."""
    make(web)
    raise_alerts(web, "call-1", 1, 2, 3)
    cursor = web.get(ALERTS, params={"limit": 1}).json()["next"]
    assert code(web.get(ALERTS, params={"cursor": cursor, "kind": "valence"})) == (422, "invalid_cursor")
    for query in ({"cursor": "x"}, {"cursor": "é"}):
        assert code(web.get(ALERTS, params=query)) == (422, "invalid_cursor")
    for query in ({"kind": "x"}, {"rule": "ar_1"}, {"rule_id": "ar_1"}, {"call_id": "a b"}, {"limit": "201"}):
        assert code(web.get(ALERTS, params=query)) == (422, "invalid_request")
    assert code(web.get(f"{RULES}/x")) == (422, "invalid_request")


def test_tenants_and_scopes_are_walls(bundle: Path, tmp_path: Path) -> None:
    """Rules are for administrators, alerts for who may read scores; each of their own tenant."""
    tenants = make_tenants(tmp_path)
    alpha, beta = tenants.all
    with delivering_api(make_settings(bundle, **tenants.groups)) as web:
        made = web.request("POST", RULES, json=COST, headers=alpha.headers(Scope.ADMIN)).json()
        path = f"{RULES}/{made['id']}"
        assert web.get(path, headers=beta.headers()).status_code == 404
        assert web.request("PUT", path, json=COST, headers=beta.headers()).status_code == 404
        assert web.request("DELETE", path, headers=beta.headers()).status_code == 404
        assert web.get(RULES, headers=beta.headers()).json()["items"] == []
        assert web.get(RULES, headers=alpha.headers(Scope.READ_SCORES)).status_code == 403
        assert web.get(ALERTS, headers=alpha.headers(Scope.READ_SCORES)).status_code == 200
        assert web.get(ALERTS, headers=alpha.headers(Scope.ADMIN)).status_code == 403
        assert web.get(ALERTS).status_code == 401
