"""How long calls are kept, over REST: within the site's bounds, logged, and at once for what is too old."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from app.access.principal import Scope
from app.api.privacy_bodies import RetentionBody
from tests.support.clock import FakeClock
from tests.support.held import put_call
from tests.support.service import Api, api, make_settings
from tests.support.tenants import make_tenants

DAY = 86_400


@pytest.fixture(scope="module")
def shared(bundle: Path) -> Iterator[Api]:
    """A service for requests that change nothing."""
    with api(
        make_settings(bundle, privacy={"max_retention_s": 30 * DAY}, labels={"ttl_s": 60 * DAY})
    ) as running:
        yield running


@pytest.fixture
def timed(bundle: Path) -> Iterator[Api]:
    """A service on a clock that is moved by hand."""
    settings = make_settings(bundle, privacy={"max_retention_s": 30 * DAY}, labels={"ttl_s": 60 * DAY})
    with api(settings, FakeClock()) as running:
        yield running


def test_a_policy_is_read_and_replaced(timed: Api) -> None:
    """Whole; what is left out is the site's."""
    body = timed.get("/v1/retention").json()
    RetentionBody.model_validate(body)
    assert (body["calls_s"], body["lines"], body["limits"]["calls_max_s"]) == (None, {}, 30 * DAY)
    wish = {"calls_s": 2 * DAY, "lines": {"sales": {"feedback_s": 3 * DAY}}}
    answer = timed.request("PUT", "/v1/retention", json=wish)
    assert answer.status_code == 200, answer.text
    RetentionBody.model_validate(answer.json())
    body = timed.get("/v1/retention").json()
    assert (body["calls_s"], body["lines"]["sales"]["feedback_s"]) == (2 * DAY, 3 * DAY)
    retention = timed.services.privacy.retention
    assert asyncio.run(retention.ttl_for("default", "sales")) == 2 * DAY
    timed.request("PUT", "/v1/retention", json={})
    assert asyncio.run(retention.ttl_for("default", "sales")) == DAY


def test_shortening_erases_what_is_too_old(timed: Api) -> None:
    """And says how many calls that were; the log says so, too."""
    store = timed.services.store
    asyncio.run(put_call(store, "old", ttl_s=30 * DAY))
    timed.services.clock.advance(2 * DAY)  # type: ignore[attr-defined]
    asyncio.run(put_call(store, "new", started_at=timed.services.clock.now() - 200))
    answer = timed.request("PUT", "/v1/retention", json={"calls_s": DAY})
    assert answer.json()["swept"] == 1
    assert timed.get("/v1/calls/old").status_code == 404
    assert timed.get("/v1/calls/new").status_code == 200
    [sweep] = timed.get("/v1/audit?action=retention.sweep").json()["items"]
    assert sweep["detail"] == {"calls": 1}


@pytest.mark.parametrize(
    ("wish", "code"),
    [
        ({"calls_s": 31 * DAY}, "retention_out_of_bounds"),
        ({"feedback_s": 61 * DAY}, "retention_out_of_bounds"),
        ({"calls_s": 59}, "retention_out_of_bounds"),
        ({"lines": {"a": {"calls_s": 1}}}, "retention_out_of_bounds"),
        ({"calls_s": 1.5}, "invalid_request"),
        ({"calls_s": "86400"}, "invalid_request"),
        ({"calls_s": True}, "invalid_request"),
        ({"calls_s": 0}, "invalid_request"),
        ({"calls_s": -1}, "invalid_request"),
        ({"lines": {"a/b": {}}}, "invalid_request"),
        ({"lines": {f"l{n}": {} for n in range(1_001)}}, "invalid_request"),
        ({"days": 3}, "invalid_request"),
    ],
)
def test_wrong_policies_are_refused(shared: Api, wish: Any, code: str) -> None:
    """And nothing changes."""
    answer = shared.request("PUT", "/v1/retention", json=wish)
    assert (answer.status_code, answer.json()["code"]) == (422, code)
    assert shared.get("/v1/retention").json()["calls_s"] is None


def test_only_officers_set_it(bundle: Path, tmp_path: Path) -> None:
    """Each for their own tenant."""
    tenants = make_tenants(tmp_path)
    alpha, beta = tenants.all
    with api(make_settings(bundle, **tenants.groups)) as walled:
        for scope in Scope:
            if scope is not Scope.ADMIN:
                headers = alpha.headers(scope)
                assert walled.get("/v1/retention", headers=headers).status_code == 403
                answer = walled.request("PUT", "/v1/retention", json={}, headers=headers)
                assert answer.status_code == 403
        walled.request("PUT", "/v1/retention", json={"calls_s": 60}, headers=alpha.headers())
        assert walled.get("/v1/retention", headers=alpha.headers()).json()["calls_s"] == 60
        assert walled.get("/v1/retention", headers=beta.headers()).json()["calls_s"] is None
