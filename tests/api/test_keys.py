"""`/v1/keys`: made, listed, rotated and revoked, and never across the wall between two tenants."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from app.access.keys import SITE_TENANT, KeyRecord, new_key
from app.access.principal import Scope
from app.access.stored import FRESH_S, KeysAwayError
from app.api import keydesk
from app.api.auth import make_access
from app.api.keydesk import INDEX, KEPT_S, KIND, KeyDesk
from app.results.documents import Document, DocumentConflictError
from app.results.memory_beside import MemoryDocuments
from app.results.store import StoreAwayError
from app.telemetry.metrics import Metrics
from tests.support.clock import FakeClock
from tests.support.logs import logged
from tests.support.service import Api, api, make_settings
from tests.support.tenants import Tenants, make_tenants

SITE_KEY = "a-plain-key-of-the-site"
SITE = {"X-API-Key": SITE_KEY}
KEYS = "/v1/keys"
CALLS = "/v1/calls"


@pytest.fixture
def clock() -> FakeClock:
    """Moved by hand."""
    return FakeClock()


@pytest.fixture
def tenants(tmp_path: Path) -> Tenants:
    """Two tenants."""
    return make_tenants(tmp_path)


@pytest.fixture
def running(bundle: Path, tenants: Tenants, clock: FakeClock) -> Iterator[Api]:
    """A service with a plain key and two tenants."""
    auth = tenants.groups["auth"] | {"api_keys": [SITE_KEY]}
    with api(make_settings(bundle, auth=auth), clock) as service:
        yield service


def make(running: Api, headers: dict[str, str], **wanted: Any) -> httpx.Response:
    """Asks for a key."""
    return running.request(
        "POST", KEYS, headers=headers, json={"name": "crm", "scopes": ["read:scores"]} | wanted
    )


def opens(running: Api, key: str) -> int:
    """The status that a key gets."""
    return running.get(CALLS, headers={"X-API-Key": key}).status_code


def test_a_key_is_made_shown_once_and_opens(running: Api, tenants: Tenants) -> None:
    """For the maker's tenant; what is kept does not tell it."""
    alpha = tenants.all[0].headers()
    answer = make(running, alpha, expires_at="2030-01-01T00:00:00+01:00")
    assert answer.status_code == 201
    body = answer.json()
    key = body.pop("key")
    assert body == {
        "key_id": key.split("_")[1],
        "tenant": "alpha",
        "name": "crm",
        "scopes": ["read:scores"],
        "state": "valid",
        "created_at": "2023-11-14T22:13:20.000Z",
        "expires_at": "2029-12-31T23:00:00.000Z",
        "revoked_at": None,
    }
    assert answer.headers["location"] == f"{KEYS}/{body['key_id']}"
    assert answer.headers["cache-control"] == "no-store"
    assert running.get(answer.headers["location"], headers=alpha).json() == body
    assert running.get(KEYS, headers=alpha).json() == {"items": [body], "next": None}
    assert opens(running, key) == 200
    assert running.get(KEYS, headers={"X-API-Key": key}).status_code == 403


def test_tenants_do_not_see_each_others_keys(running: Api, tenants: Tenants) -> None:
    """Not in a list, not by id, not to rotate or revoke them, not to make them."""
    alpha, beta = (tenant.headers() for tenant in tenants.all)
    key = make(running, alpha).json()["key"]
    key_id = key.split("_")[1]
    assert running.get(KEYS, headers=beta).json()["items"] == []
    for method, path, body in (
        ("GET", f"{KEYS}/{key_id}", None),
        ("POST", f"{KEYS}/{key_id}/rotate", {}),
        ("DELETE", f"{KEYS}/{key_id}", None),
    ):
        answer = running.request(method, path, headers=beta, json=body)
        unknown = running.request(method, path.replace(key_id, "a" * 16), headers=beta, json=body)
        assert (
            (answer.status_code, answer.json())
            == (unknown.status_code, unknown.json())
            == (404, answer.json())
        )
    assert running.get(f"{KEYS}?tenant=alpha", headers=beta).json()["code"] == "foreign_tenant"
    for tenant in ("alpha", "nobody", SITE_TENANT):
        assert make(running, beta, tenant=tenant).json()["code"] == "foreign_tenant"
    assert opens(running, key) == 200


def test_who_looks_after_all_tenants_makes_keys_for_each(running: Api) -> None:
    """With a plain site key, or a key of the site's own tenant, which can do nothing else."""
    assert make(running, SITE, tenant="gamma", scopes=["erase"]).json()["tenant"] == "gamma"
    assert make(running, SITE).json()["tenant"] == "default"
    assert make(running, SITE, tenant=SITE_TENANT).status_code == 422
    ops = {"X-API-Key": make(running, SITE, tenant=SITE_TENANT, scopes=["admin"]).json()["key"]}
    assert make(running, ops, tenant="delta").json()["tenant"] == "delta"
    assert running.get(CALLS, headers=ops).status_code == 403
    tenants = {item["tenant"] for item in running.get(KEYS, headers=ops).json()["items"]}
    assert tenants == {"gamma", "default", "delta", SITE_TENANT}
    assert len(running.get(f"{KEYS}?tenant=delta", headers=ops).json()["items"]) == 1


def test_nobody_gives_away_what_they_do_not_have(running: Api, tenants: Tenants) -> None:
    """A key with `admin` alone makes keys with `admin` alone, and rotates no others."""
    alpha = tenants.all[0]
    admin = alpha.headers(Scope.ADMIN)
    answer = make(running, admin, scopes=["admin", "erase"])
    assert (answer.status_code, answer.json()["code"]) == (403, "missing_scope")
    assert "erase" in answer.json()["detail"]
    assert make(running, admin, scopes=["admin"]).status_code == 201
    key_id = make(running, alpha.headers(), scopes=["erase"]).json()["key_id"]
    answer = running.request("POST", f"{KEYS}/{key_id}/rotate", headers=admin, json={})
    assert answer.status_code == 403


def test_rotation_overlaps(running: Api, tenants: Tenants, clock: FakeClock) -> None:
    """The new key holds at once, the old one for a while longer; both are the same but for the id."""
    alpha = tenants.all[0].headers()
    old = make(running, alpha, expires_at="2024-11-14T22:13:20Z").json()
    clock.advance(1000)
    assert opens(running, old["key"]) == 200
    answer = running.request(
        "POST", f"{KEYS}/{old['key_id']}/rotate", headers=alpha, json={"overlap_s": 3600}
    )
    assert answer.status_code == 201
    new = answer.json()
    same = ("tenant", "name", "scopes", "state")
    assert [new[name] for name in same] == [old[name] for name in same]
    assert new["expires_at"] == "2024-11-14T22:30:00.000Z"
    assert (opens(running, old["key"]), opens(running, new["key"])) == (200, 200)
    clock.advance(3599)
    assert opens(running, old["key"]) == 200
    clock.advance(1)
    assert (opens(running, old["key"]), opens(running, new["key"])) == (401, 200)
    state = running.get(f"{KEYS}/{old['key_id']}", headers=alpha).json()["state"]
    assert state == "expired"
    answer = running.request("POST", f"{KEYS}/{old['key_id']}/rotate", headers=alpha, json={})
    assert (answer.status_code, answer.json()["code"]) == (409, "key_not_valid")


def test_a_revoked_key_opens_nothing_any_more(running: Api, tenants: Tenants, clock: FakeClock) -> None:
    """At once; it can be looked at for thirty days."""
    alpha = tenants.all[0].headers()
    made = make(running, alpha).json()
    assert opens(running, made["key"]) == 200
    path = f"{KEYS}/{made['key_id']}"
    assert running.request("DELETE", path, headers=alpha).status_code == 204
    answer = running.get(CALLS, headers={"X-API-Key": made["key"]})
    assert (answer.status_code, answer.json()["detail"]) == (401, "the key was revoked")
    body = running.get(path, headers=alpha).json()
    clock.advance(60)
    assert running.request("DELETE", path, headers=alpha).status_code == 204
    assert running.get(path, headers=alpha).json() == body
    clock.advance(KEPT_S)
    assert running.get(path, headers=alpha).status_code == 404
    assert running.get(KEYS, headers=alpha).json()["items"] == []


def test_a_key_revoked_in_another_process_opens_nothing_within_seconds(
    running: Api, tenants: Tenants, clock: FakeClock
) -> None:
    """Two processes on one store."""
    services = running.services
    made = make(running, tenants.all[0].headers()).json()
    other = make_access(services.settings, services.documents, clock, Metrics())
    assert opens(running, made["key"]) == 200
    asyncio.run(other.desk.revoke(made["key_id"]))
    assert opens(running, made["key"]) == 200
    clock.advance(FRESH_S)
    assert opens(running, made["key"]) == 401


def test_changes_of_keys_go_on_record(running: Api, tenants: Tenants) -> None:
    """Made, rotated, revoked: who did it, and to which."""
    alpha = tenants.all[0].headers()
    made = make(running, alpha).json()
    path = f"{KEYS}/{made['key_id']}"
    running.request("POST", f"{path}/rotate", headers=alpha, json={})
    running.request("DELETE", path, headers=alpha)
    asyncio.run(running.services.privacy.audit.flush(everything=True))
    kept = asyncio.run(running.services.journal.read("alpha", "audit", after=0, limit=10))
    entries = [(entry.value["action"], entry.value["object"]) for entry in kept]
    about = f"key:{made['key_id']}"
    assert entries == [("key.create", "*"), ("key.rotate", about), ("key.revoke", about)]
    assert made["key"] not in str(kept)


def test_lists_are_paged(running: Api, tenants: Tenants) -> None:
    """By id; a cursor is good only for the list that gave it."""
    alpha, beta = (tenant.headers() for tenant in tenants.all)
    ids = sorted(make(running, alpha).json()["key_id"] for _ in range(5))
    make(running, beta)
    found, cursor = [], ""
    while True:
        page = running.get(f"{KEYS}?limit=2{cursor}", headers=alpha).json()
        found += [item["key_id"] for item in page["items"]]
        if page["next"] is None:
            break
        cursor = f"&cursor={page['next']}"
    assert found == ids
    answer = running.get(f"{KEYS}?limit=2{cursor}", headers=beta)
    assert (answer.status_code, answer.json()["code"]) == (422, "invalid_cursor")


@pytest.mark.parametrize(
    "wanted",
    [
        {"name": ""},
        {"name": "a\nb"},
        {"name": "x" * 65},
        {"scopes": []},
        {"scopes": ["all"]},
        {"scopes": "admin"},
        {"tenant": "../x"},
        {"tenant": "_other"},
        {"expires_at": "2020-01-01T00:00:00Z"},
        {"expires_at": "2030-01-01T00:00:00"},
        {"expires_at": "soon"},
        {"expires_at": 5},
        {"expires_at": "9999-12-31T23:59:59-23:59"},
        {"digest": "sha256:x"},
    ],
)
def test_wrong_wishes_are_explained(running: Api, wanted: dict[str, Any]) -> None:
    """422, and no key."""
    answer = make(running, SITE, **wanted)
    assert (answer.status_code, answer.json()["code"]) == (422, "invalid_request")
    assert running.get(KEYS, headers=SITE).json()["items"] == []


@pytest.mark.parametrize(
    ("method", "path", "body"),
    [
        ("GET", f"{KEYS}/short", None),
        ("GET", f"{KEYS}?limit=0", None),
        ("GET", f"{KEYS}?tenant=..", None),
        ("GET", f"{KEYS}?limt=5", None),
        ("POST", f"{KEYS}/{'a' * 16}/rotate", {"overlap_s": -1}),
        ("POST", f"{KEYS}/{'a' * 16}/rotate", {"overlap_s": 1e9}),
        ("POST", f"{KEYS}/{'a' * 16}/rotate", []),
    ],
)
def test_wrong_questions_are_explained(running: Api, method: str, path: str, body: Any) -> None:
    """422, always the same shape."""
    assert running.request(method, path, headers=SITE, json=body).status_code == 422


def test_a_tenant_has_so_many_keys(running: Api, tenants: Tenants, monkeypatch: pytest.MonkeyPatch) -> None:
    """One tenant cannot fill the store, and takes no room from another."""
    monkeypatch.setattr(keydesk, "MAX_KEYS", 3)
    monkeypatch.setattr(keydesk, "_CHUNK", 2)
    alpha, beta = (tenant.headers() for tenant in tenants.all)
    assert [make(running, alpha).status_code for _ in range(4)] == [201, 201, 201, 409]
    assert make(running, beta).status_code == 201


class Documents(MemoryDocuments):
    """A store that is away, or in which somebody else is quicker, when told to."""

    def __init__(self, clock: FakeClock) -> None:
        super().__init__(clock)
        self.away = False
        self.quicker = 0

    async def get(self, tenant: str, kind: str, key: str) -> Document:
        """One document."""
        if self.away:
            raise StoreAwayError("away")
        return await super().get(tenant, kind, key)

    async def put(self, tenant: str, kind: str, key: str, *arguments: Any, **options: Any) -> Document:
        """Writes a document."""
        if self.quicker and kind == KIND:
            self.quicker -= 1
            raise DocumentConflictError("somebody was quicker")
        return await super().put(tenant, kind, key, *arguments, **options)


def desk_of(clock: FakeClock) -> tuple[Documents, KeyDesk, KeyRecord]:
    """A store with one key."""
    documents = Documents(clock)
    desk = KeyDesk(documents, clock)
    _, record = new_key("alpha", "n", [Scope.INGEST], now=clock.now())
    asyncio.run(desk.add(record))
    return documents, desk, record


def test_a_store_that_is_away_is_not_a_wrong_key(clock: FakeClock) -> None:
    """Whoever looks a key up is told apart."""
    documents, desk, record = desk_of(clock)
    assert asyncio.run(desk.find(record.key_id)) == record
    documents.away = True
    with pytest.raises(KeysAwayError):
        asyncio.run(desk.find(record.key_id))


def test_changes_at_the_same_time_are_both_made(clock: FakeClock) -> None:
    """The one who comes second tries again, a few times."""
    documents, desk, record = desk_of(clock)
    documents.quicker = 2
    revoked = asyncio.run(desk.revoke(record.key_id))
    assert revoked is not None
    assert revoked.revoked_at == clock.now()
    documents.quicker = 100
    with pytest.raises(DocumentConflictError):
        asyncio.run(desk.revoke(record.key_id))
    assert asyncio.run(desk.revoke("a" * 16)) is None


def test_a_document_that_cannot_be_read_is_a_key_that_does_not_hold(clock: FakeClock) -> None:
    """It is complained of, and lists go on."""
    documents, desk, record = desk_of(clock)
    with logged() as log:
        asyncio.run(documents.put(SITE_TENANT, KIND, record.key_id, {"key_id": record.key_id}))
        assert asyncio.run(desk.find(record.key_id)) is None
        asyncio.run(documents.put("alpha", INDEX, "gone", {}))
        page = asyncio.run(desk.list("alpha", cursor=None, limit=10))
    assert page.items == ()
    assert "stored_key_unreadable" in log.getvalue()
