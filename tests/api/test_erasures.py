"""Erasing over REST: a receipt that anybody can check, no trace left, and only for those who may."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from app.access.principal import Scope
from app.api.privacy_bodies import ErasureBody
from app.api.protocol import Listing
from app.privacy.receipts import verify_receipt
from app.results.store import StoreAwayError, Stored
from app.results.writes import CloseCall
from tests.support.held import put_call
from tests.support.records import make_record
from tests.support.service import Api, api, make_settings
from tests.support.tenants import Tenants, make_tenants
from tests.support.traces import traces_of


def put(web: Api, call_id: str, **fields: Any) -> None:
    """A call with a record."""
    asyncio.run(put_call(web.services.store, call_id, [make_record(call_id)], **fields))


@pytest.fixture(scope="module")
def shared(bundle: Path) -> Iterator[Api]:
    """A service for requests that change nothing."""
    with api(make_settings(bundle)) as running:
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


def genuine(web: Api, body: dict[str, Any]) -> dict[str, Any]:
    """The receipt of a finished erasure, checked with the published key."""
    ErasureBody.model_validate(body)
    key = web.get("/v1/erasures/key").json()["public_key"]
    return dict(verify_receipt(body["receipt"], key))


def test_deleting_a_call_answers_with_its_receipt(web: Api) -> None:
    """And with where it is kept; the second time there is nothing to delete."""
    put(web, "call-x7", metadata={"number": "+4930123"}, subject="person-9")
    answer = web.request("DELETE", "/v1/calls/call-x7")
    assert answer.status_code == 200, answer.text
    receipt = genuine(web, answer.json())
    assert (receipt["counts"]["calls"], receipt["counts"]["records"]) == (1, 1)
    kept = web.get(answer.headers["location"])
    assert (kept.status_code, kept.json()) == (200, answer.json())
    assert "call-x7" not in answer.text
    again = web.request("DELETE", "/v1/calls/call-x7")
    assert (again.status_code, again.json()["code"]) == (404, "call_not_found")
    assert traces_of(["+4930123", "person-9"], web.services) == []


def test_a_live_call_is_refused_or_taken_later(web: Api) -> None:
    """409, or 202 and a pending erasure."""
    put(web, "live-1", outcome=None)
    for answer in (
        web.request("DELETE", "/v1/calls/live-1"),
        web.request("POST", "/v1/erasures", json={"call_id": "live-1"}),
    ):
        assert (answer.status_code, answer.json()["code"]) == (409, "call_active")
    answer = web.request("POST", "/v1/erasures", json={"call_id": "live-1", "when_ended": True})
    assert (answer.status_code, answer.json()["waits_for"]) == (202, "call_end")
    asyncio.run(web.services.store.write([CloseCall("default", "live-1", "completed", 1.0, None, {}, 60.0)]))
    assert web.get("/v1/calls/live-1").status_code == 200
    web.services.queue._jobs("default", "erasure")[answer.json()["id"]].due_at = 0.0  # type: ignore[attr-defined]
    asyncio.run(web.services.privacy.erasures.work("default"))
    done = web.get(answer.headers["location"]).json()
    assert genuine(web, done)["counts"]["calls"] == 1
    assert web.get("/v1/calls/live-1").status_code == 404


def test_a_subject_is_erased_and_erasures_are_listed(web: Api) -> None:
    """Latest first, page by page; nobody is named."""
    for number in range(3):
        put(web, f"s-{number}", subject="person-9" if number else None)
    first = web.request("POST", "/v1/erasures", json={"subject": "person-9"})
    assert (first.status_code, first.json()["calls_erased"]) == (200, 2)
    second = web.request("POST", "/v1/erasures", json={"subject": "nobody"})
    assert genuine(web, second.json())["outcome"] == "nothing_held"
    page = web.get("/v1/erasures?limit=1").json()
    Listing[ErasureBody].model_validate(page)
    rest = web.get(f"/v1/erasures?limit=1&cursor={page['next']}").json()
    ids = [item["id"] for item in (*page["items"], *rest["items"])]
    assert set(ids) == {first.json()["id"], second.json()["id"]}
    assert rest["next"] is None
    assert "person-9" not in web.get("/v1/erasures").text


@pytest.mark.parametrize(
    ("body", "status"),
    [
        ({}, 422),
        ({"call_id": "a", "subject": "b"}, 422),
        ({"call_id": "a b"}, 422),
        ({"subject": ""}, 422),
        ({"subject": "x" * 129}, 422),
        ({"call_id": "a", "end": True}, 422),
        ({"call_id": ["a"]}, 422),
        ([], 422),
    ],
)
def test_what_is_no_wish_is_refused(shared: Api, body: object, status: int) -> None:
    """Before anything is erased."""
    answer = shared.request("POST", "/v1/erasures", json=body)
    assert (answer.status_code, answer.json()["code"]) == (status, "invalid_request")


@pytest.mark.parametrize(
    ("path", "code"),
    [
        ("/v1/erasures/00", "erasure_not_found"),
        ("/v1/erasures/..%2F..%2Fcalls", "not_found"),
        ("/v1/erasures/x", "invalid_request"),
        ("/v1/erasures?cursor=nonsense", "invalid_cursor"),
        ("/v1/erasures?since=1", "invalid_request"),
    ],
)
def test_what_is_not_there_is_said(shared: Api, path: str, code: str) -> None:
    """With a problem to program against."""
    assert shared.get(path).json()["code"] == code


def test_an_absent_store_accepts_and_says_so(web: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    """202 while it is put down in the spool, 503 where there is none."""

    async def away(*_: object, **__: object) -> Any:
        raise StoreAwayError

    async def spooled(*_: object) -> list[Stored]:
        return [Stored(waiting=True)]

    store, documents = type(web.services.store), type(web.services.documents)
    monkeypatch.setattr(store, "get_call", away)
    monkeypatch.setattr(documents, "list", away)
    monkeypatch.setattr(documents, "get", away)
    monkeypatch.setattr(store, "write", spooled)
    answer = web.request("POST", "/v1/erasures", json={"call_id": "a"})
    assert (answer.status_code, answer.json()["waits_for"]) == (202, "store")
    assert web.get(answer.headers["location"]).json() == answer.json()
    assert web.get("/v1/erasures").json()["code"] == "store_unavailable"
    monkeypatch.setattr(store, "write", away)
    answer = web.request("POST", "/v1/erasures", json={"call_id": "a"})
    assert (answer.status_code, answer.json()["code"]) == (503, "store_unavailable")


def test_only_who_may_erase_does_and_only_their_own(walled: Api, tenants: Tenants) -> None:
    """The other tenant's call of the same name stays; its erasure is not found."""
    alpha, beta = tenants.all
    for tenant in tenants.all:
        put(walled, "same", tenant=tenant.name)
    for scope in Scope:
        if scope is not Scope.ERASE:
            answer = walled.request("DELETE", "/v1/calls/same", headers=alpha.headers(scope))
            assert (answer.status_code, answer.json()["code"]) == (403, "missing_scope")
            assert walled.get("/v1/erasures", headers=alpha.headers(scope)).status_code == 403
    assert walled.request("DELETE", "/v1/calls/same").status_code == 401
    answer = walled.request("DELETE", "/v1/calls/same", headers=alpha.headers(Scope.ERASE))
    assert answer.status_code == 200
    assert walled.get(answer.headers["location"], headers=beta.headers()).status_code == 404
    assert walled.get("/v1/erasures", headers=beta.headers()).json()["items"] == []
    assert walled.get("/v1/calls/same", headers=beta.headers()).status_code == 200
    assert walled.get("/v1/calls/same", headers=alpha.headers()).status_code == 404
