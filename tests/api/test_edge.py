"""What holds for every response: strict headers, and which pages of other sites may read it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from tests.support.service import Api, api, make_settings

DASHBOARD = "https://dashboard.example"
KEY = "a-plain-key-of-the-site"
ASKING = {
    "Origin": DASHBOARD,
    "Access-Control-Request-Method": "DELETE",
    "Access-Control-Request-Headers": "authorization,content-type,if-none-match,last-event-id,x-api-key",
}


@pytest.fixture(scope="module")
def shared(bundle: Path) -> Iterator[Api]:
    """A service that pages of one other site may use."""
    auth = {"api_keys": [KEY], "allowed_origins": [DASHBOARD.upper().replace("HTTPS", "https")]}
    with api(make_settings(bundle, auth=auth)) as running:
        yield running


def cors(answer: httpx.Response) -> dict[str, str]:
    """What an answer says to browsers about other sites."""
    return {name: value for name, value in answer.headers.items() if name.startswith("access-control-")}


def words(text: str) -> set[str]:
    """The members of a list in a header."""
    return {word.strip() for word in text.split(",")}


def test_a_page_of_an_allowed_origin_asks_beforehand(shared: Api) -> None:
    """It may use every method there is, and the headers of credentials, of polling and of resuming; no cookies."""
    answer = shared.request("OPTIONS", "/v1/calls/x", headers=ASKING)
    told = cors(answer)
    assert (answer.status_code, told["access-control-allow-origin"]) == (200, DASHBOARD)
    assert words(told["access-control-allow-methods"]) == {"GET", "POST", "PUT", "PATCH", "DELETE"}
    wanted = {"Authorization", "X-API-Key", "Content-Type", "If-None-Match", "Last-Event-ID"}
    assert wanted <= words(told["access-control-allow-headers"])
    assert "access-control-allow-credentials" not in told


@pytest.mark.parametrize(
    ("path", "headers", "status"),
    [
        ("/v1/calls", {"X-API-Key": KEY}, 200),
        ("/v1/calls", {}, 401),
        ("/v1/calls/x", {"X-API-Key": KEY}, 404),
        ("/v1/calls?limit=0", {"X-API-Key": KEY}, 422),
        ("/nothing", {}, 404),
    ],
)
def test_a_page_of_an_allowed_origin_reads_every_answer(
    shared: Api, path: str, headers: dict[str, str], status: int
) -> None:
    """Refusals too. `Cross-Origin-Resource-Policy` stays: it stops embedding, and no request that names its origin."""
    answer = shared.get(path, headers={"Origin": DASHBOARD, **headers})
    told = cors(answer)
    assert (answer.status_code, told["access-control-allow-origin"]) == (status, DASHBOARD)
    wanted = {"ETag", "Location", "Retry-After", "RateLimit", "RateLimit-Policy", "Link"}
    assert words(told["access-control-expose-headers"]) == wanted
    assert "Origin" in words(answer.headers["vary"])
    assert answer.headers["cross-origin-resource-policy"] == "same-origin"
    assert "access-control-allow-credentials" not in told


@pytest.mark.parametrize(
    "changed",
    [
        {"Origin": "https://elsewhere.example"},
        {"Origin": "null"},
        {"Origin": f"{DASHBOARD}.elsewhere.example"},
        {"Access-Control-Request-Method": "TRACE"},
        {"Access-Control-Request-Headers": "x-forwarded-for"},
    ],
)
def test_other_pages_and_other_requests_are_refused(shared: Api, changed: dict[str, str]) -> None:
    """A problem, and nothing that a browser would take for a permission."""
    answer = shared.request("OPTIONS", "/v1/calls", headers=ASKING | changed)
    assert (answer.status_code, answer.json()["code"]) == (400, "cors_refused")
    assert answer.headers["content-type"] == "application/problem+json"
    assert cors(answer) == {}


def test_a_page_of_another_origin_reads_nothing(shared: Api) -> None:
    """The answer names no origin, so that the browser keeps it to itself."""
    answer = shared.get("/v1/calls", headers={"Origin": "https://elsewhere.example", "X-API-Key": KEY})
    assert "access-control-allow-origin" not in answer.headers


def test_without_origins_nothing_is_said_of_other_sites(web: Api) -> None:
    """Not to a request, not to one who asks beforehand."""
    for method in ("GET", "OPTIONS"):
        answer = web.request(method, "/v1/calls", headers=ASKING | {"Origin": "http://127.0.0.1"})
        assert cors(answer) == {}
        assert "origin" not in answer.headers.get("vary", "").lower()


@pytest.mark.parametrize("path", ["/", "/docs", "/livez", "/v1/calls", "/v1/calls/unknown", "/assets/none"])
def test_every_answer_has_strict_headers(web: Api, path: str) -> None:
    """Pages, results and refusals."""
    headers = web.get(path).headers
    assert headers["x-content-type-options"] == "nosniff"
    assert headers["content-security-policy"].startswith("default-src 'none'; script-src 'self';")
    assert headers["referrer-policy"] == "no-referrer"
    assert headers["cross-origin-opener-policy"] == headers["cross-origin-resource-policy"] == "same-origin"
    assert headers["cache-control"] in ("no-store", "no-cache", "private, no-cache")
