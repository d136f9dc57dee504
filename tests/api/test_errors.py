"""Every error is problem details, and every answer carries strict headers."""

from __future__ import annotations

from pathlib import Path

import pytest

from app.api.errors import ProblemError
from app.api.protocol import Problem
from app.main import create_app
from app.settings import Settings
from tests.support.service import Api, api, make_settings, service_parts

KEY = "a-key-for-these-tests"


@pytest.mark.parametrize(
    ("method", "path", "status", "code"),
    [
        ("GET", "/nowhere", 404, "not_found"),
        ("PUT", "/v1/calls", 405, "method_not_allowed"),
        ("GET", "/v1/calls/none", 404, "call_not_found"),
        ("GET", "/v1/calls?limit=-1", 422, "invalid_request"),
        ("GET", "/assets/nothing.js", 404, "not_found"),
        ("GET", "/assets/..%2Fmain.py", 404, "not_found"),
    ],
)
def test_errors_are_problem_details(web: Api, method: str, path: str, status: int, code: str) -> None:
    """RFC 9457, with a code."""
    answer = web.request(method, path)
    problem = Problem.model_validate(answer.json())
    assert (answer.status_code, problem.status, problem.code) == (status, status, code)
    assert answer.headers["content-type"] == "application/problem+json"
    assert problem.type == f"urn:kowairo:problem:{code}"
    assert "script-src 'self'" in answer.headers["content-security-policy"]


def test_a_fault_of_the_service_is_a_problem_too(plain: Settings) -> None:
    """500 without a word about the inside."""
    with service_parts(plain) as services:
        app = create_app(plain, services)

        @app.get("/fault")
        async def fault() -> None:
            raise RuntimeError("secret of the inside")

        answer = Api(app, services).get("/fault")
    assert (answer.status_code, answer.json()["code"]) == (500, "internal_error")
    assert "secret" not in answer.text


def test_keys_guard_results_but_not_health(bundle: Path) -> None:
    """401 with a challenge on /v1; pages, health and metrics hold nothing of a call."""
    settings = make_settings(bundle, auth={"api_keys": [KEY]})
    with api(settings) as web:
        for path in ("/v1/calls", "/v1/calls/x", "/v1/models", "/v1/lines", "/v1/events"):
            answer = web.get(path)
            assert (answer.status_code, answer.json()["code"]) == (401, "unauthorized")
            assert answer.headers["www-authenticate"] == "Bearer"
        assert web.request("POST", "/v1/score", content=b"x").status_code == 401
        assert web.request("DELETE", "/v1/calls/x").status_code == 401
        for path in ("/", "/docs", "/livez", "/readyz", "/metrics", "/openapi.json"):
            assert web.get(path).status_code == 200
        for headers in ({"X-API-Key": KEY}, {"Authorization": f"Bearer {KEY}"}):
            assert web.get("/v1/calls", headers=headers).status_code == 200
        assert web.get("/v1/calls", headers={"X-API-Key": KEY[:-1]}).status_code == 401


def test_results_are_not_cached(web: Api) -> None:
    """No proxy keeps a record; a browser only what it must ask about each time."""
    assert web.get("/v1/calls").headers["cache-control"] == "private, no-cache"
    for path in ("/v1/feedback", "/metrics", "/readyz"):
        assert web.get(path).headers["cache-control"] == "no-store"
    assert web.get("/").headers["cache-control"] == "no-cache"


@pytest.mark.parametrize("announced", [True, False])
def test_a_body_that_is_too_big_is_not_read(bundle: Path, announced: bool) -> None:
    """413, whether its length was announced or not."""
    settings = make_settings(bundle, upload={"max_bytes": 1024})

    async def chunks() -> object:
        for _ in range(200):
            yield b"\0" * 1024

    with api(settings) as web:
        content = b"\0" * 200 * 1024 if announced else chunks()
        answer = web.request("POST", "/v1/score", content=content)
        assert (answer.status_code, answer.json()["code"]) == (413, "body_too_big")


@pytest.mark.parametrize(
    ("host", "status"),
    [
        ("127.0.0.1:8000", 200),
        ("localhost", 200),
        ("LOCALHOST:80", 200),
        ("[::1]:8000", 200),
        ("evil.example", 421),
        ("127.0.0.1.evil.example:8000", 421),
        ("", 421),
    ],
)
def test_without_keys_only_loopback_names_are_answered(web: Api, host: str, status: int) -> None:
    """A name that somebody pointed at this machine does not open it."""
    assert web.get("/v1/calls", headers={"Host": host}).status_code == status


def test_with_keys_any_name_is_answered(bundle: Path) -> None:
    """Behind a proxy the service is called by its public name."""
    with api(make_settings(bundle, auth={"api_keys": [KEY]})) as web:
        assert web.get("/livez", headers={"Host": "kowairo.example"}).status_code == 200


def test_requests_are_counted_by_route(web: Api) -> None:
    """Templates, never paths: an id in a path must not become a label."""
    web.get("/v1/calls/call-4711")
    web.request("BREW", "/pot-4711")
    text = web.get("/metrics").text
    assert 'kowairo_http_requests_total{method="GET",route="/v1/calls/{call_id}",status="404"} 1.0' in text
    assert 'kowairo_http_requests_total{method="OTHER",route="(none)",status="404"} 1.0' in text
    assert "4711" not in text


def test_a_problem_can_carry_members_of_its_own() -> None:
    """RFC 9457 allows extensions."""
    problem = ProblemError(418, "teapot", "A teapot", "expected coffee", {"X-Pot": "1"})
    answer = problem.response(cups=2)
    assert b'"cups":2' in answer.body
    assert answer.headers["x-pot"] == "1"
