"""Line profiles over REST: listed, carried from one line or service to another, frozen and reset."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from app.access.principal import Scope
from app.api.privacy_bodies import ProfileBody
from app.api.protocol import LineBody, Listing
from tests.support.service import Api, api, make_settings
from tests.support.tenants import Tenants, make_tenants


def hear(web: Api, key: str, n: int = 1) -> None:
    """Some utterances on a line."""
    book = web.services.engine.parts.profiles
    for number in range(n):
        book.update(key, np.full(book.dim, 0.5 + number))


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


def test_lines_are_listed_by_name(web: Api) -> None:
    """In pages; and each on its own."""
    for line in ("b", "a", "c"):
        hear(web, line)
    page = web.get("/v1/lines?limit=2").json()
    Listing[LineBody].model_validate(page)
    rest = web.get(f"/v1/lines?limit=2&cursor={page['next']}").json()
    assert [item["id"] for item in (*page["items"], *rest["items"])] == ["a", "b", "c"]
    body = web.get("/v1/lines/a").json()
    assert (body["id"], body["n"], body["frozen"]) == ("a", 1, False)
    assert body["drift"] > 0
    assert web.get("/v1/lines/nobody").json()["code"] == "line_not_found"


def test_a_profile_goes_from_one_line_to_another(web: Api) -> None:
    """What is exported can be imported; the log says that it was."""
    hear(web, "a", 3)
    exported = web.get("/v1/lines/a/profile")
    ProfileBody.model_validate(exported.json())
    answer = web.request("PUT", "/v1/lines/new/profile", json=exported.json())
    assert (answer.status_code, answer.json()["n"]) == (200, 3)
    again = web.get("/v1/lines/new/profile").json()
    assert again == exported.json() | {"id": "new"}
    [entry] = web.get("/v1/audit?action=line.import").json()["items"]
    assert entry["object"] == "line:new"


def test_a_line_is_frozen_thawed_and_reset(web: Api) -> None:
    """Frozen it learns nothing; reset it begins anew."""
    hear(web, "a", 2)
    assert web.request("POST", "/v1/lines/a/freeze").json()["frozen"]
    hear(web, "a")
    assert web.get("/v1/lines/a").json()["n"] == 2
    assert not web.request("POST", "/v1/lines/a/unfreeze").json()["frozen"]
    hear(web, "a")
    assert web.get("/v1/lines/a").json()["n"] == 3
    body = web.request("POST", "/v1/lines/a/reset").json()
    assert (body["n"], body["frozen"], body["drift"]) == (0, False, 0.0)
    for deed in ("freeze", "unfreeze", "reset"):
        assert web.request("POST", f"/v1/lines/nobody/{deed}").json()["code"] == "line_not_found"


def test_a_line_that_the_settings_freeze_stays_frozen(bundle: Path) -> None:
    """409, and it is listed although nobody called on it."""
    with api(make_settings(bundle, lines={"studio": {"profile_frozen": True}})) as web:
        assert web.get("/v1/lines").json()["items"][0]["frozen"]
        answer = web.request("POST", "/v1/lines/studio/unfreeze")
        assert (answer.status_code, answer.json()["code"]) == (409, "line_frozen_by_settings")


@pytest.mark.parametrize(
    ("change", "code"),
    [
        ({"mean": [1.0]}, "invalid_profile"),
        ({"mean": ["x"]}, "invalid_request"),
        ({"model": "other/9"}, "invalid_profile"),
        ({"n": -1}, "invalid_profile"),
        ({"n": 1.5}, "invalid_request"),
        ({"schema_version": 2}, "invalid_profile"),
        ({"format": "x" * 5_000}, "invalid_profile"),
        ({"more": 1}, "invalid_request"),
    ],
)
def test_what_is_no_profile_is_refused(shared: Api, change: dict[str, Any], code: str) -> None:
    """And the line stays as it was."""
    hear(shared, "a")
    before = shared.get("/v1/lines/a").json()
    profile = shared.get("/v1/lines/a/profile").json() | change
    answer = shared.request("PUT", "/v1/lines/a/profile", json=profile)
    assert (answer.status_code, answer.json()["code"]) == (422, code)
    assert len(answer.text) < 2_000
    assert shared.get("/v1/lines/a").json() == before


def test_numbers_that_are_no_embeddings_are_refused(web: Api) -> None:
    """They would overflow what is computed with them."""
    hear(web, "a")
    profile = web.get("/v1/lines/a/profile").json()
    for name, value in (("mean", 1e300), ("m2", 1e300), ("m2", -1.0)):
        bad = profile | {name: [value] * len(profile["mean"])}
        assert web.request("PUT", "/v1/lines/a/profile", json=bad).json()["code"] == "invalid_profile"


@pytest.mark.parametrize("line", ["a%20b", "%F0%9F%98%80", "x" * 65])
def test_what_is_no_lines_name_is_refused(shared: Api, line: str) -> None:
    """Before anything is looked for."""
    assert shared.get(f"/v1/lines/{line}").json()["code"] == "invalid_request"


def test_tenants_have_lines_of_their_own(walled: Api, tenants: Tenants) -> None:
    """Of the same name, too; and only who may change them does."""
    alpha, beta = tenants.all
    hear(walled, "alpha/a", 2)
    assert walled.get("/v1/lines/a", headers=alpha.headers(Scope.READ_STATS)).json()["n"] == 2
    assert walled.get("/v1/lines/a", headers=beta.headers()).status_code == 404
    assert walled.get("/v1/lines", headers=beta.headers()).json()["items"] == []
    assert walled.get("/v1/lines", headers=alpha.headers(Scope.READ_SCORES)).status_code == 403
    for method, path in (("POST", "freeze"), ("POST", "unfreeze"), ("POST", "reset"), ("PUT", "profile")):
        answer = walled.request(
            method, f"/v1/lines/a/{path}", headers=alpha.headers(Scope.READ_STATS), json={}
        )
        assert answer.status_code in (403, 422)
        answer = walled.request(method, f"/v1/lines/a/{path}", headers=beta.headers(Scope.ADMIN), json={})
        assert answer.status_code in (404, 422)
    assert walled.get("/v1/lines/a", headers=alpha.headers()).json()["n"] == 2
