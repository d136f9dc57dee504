"""Each route wants one scope; every other key is refused there, whatever it asks for."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from websockets.exceptions import InvalidStatus

from app.access.principal import Scope
from tests.support.raw import RawClient
from tests.support.routes import FOLDER, SOCKET, RouteSpec
from tests.support.streams import opened, say, start_message
from tests.support.walls import World, world

OPEN = {
    *("GET /livez", "GET /readyz", "GET /metrics", "GET /openapi.json", "GET /", "GET /docs"),
    f"{FOLDER} /assets",
    *("GET /asyncapi.json", "GET /v1/schemas", "GET /v1/schemas/{name}"),
    *("POST /v1/webhooks/telnyx", "POST /v1/webhooks/twilio{slash:path}"),
}
"""What wants no key: how the process is, the pages, the contracts, and what a carrier has signed."""

SOCKETS = {
    "WS /v1/stream": Scope.INGEST,
    "WS /v1/events": Scope.READ_SCORES,
    "WS /v1/calls/{call_id}/events": Scope.READ_SCORES,
}
CARRIERS = {"WS /v1/ingest/{carrier}", "WS /v1/ingest/{carrier}/{secret}"}
"""What wants the carrier's own credentials."""

VALUES = {
    "call_id": "nobody",
    "utterance_id": "nobody.customer.0000",
    "line": "plain-line",
    "erasure_id": "0a",
    "endpoint_id": "we_" + "0" * 24,
    "rule_id": "ar_" + "0" * 24,
    "letter_id": "dl_1700000000250_" + "0" * 16,
    "key_id": "a" * 16,
    "uuid": "6f1e0c1a-3d55-4d0e-9a55-0123456789ab",
}


@pytest.fixture(scope="module")
def made(bundle: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    """A service with keys for each scope alone."""
    with world(bundle, tmp_path_factory.mktemp("scopes")) as running:
        yield running


def ask(client: RawClient, spec: RouteSpec, body: bytes | None = None) -> tuple[int, Any]:
    """Status and code of the answer to a request that names something."""
    path = spec.path
    for name in spec.path_names:
        path = path.replace("{" + name + "}", VALUES[name])
    answer = client.send(spec.method, path, body, {"Content-Type": "application/json"})
    is_problem = answer.headers.get("content-type") == "application/problem+json"
    return answer.status, answer.json["code"] if is_problem else None


def test_every_route_wants_a_scope(made: World) -> None:
    """But for what is open to all, and what has credentials of its own."""
    without = {route.name for route in made.routes if route.scope is None}
    assert without == OPEN | CARRIERS | set(SOCKETS)


@pytest.mark.parametrize("scope", list(Scope))
def test_a_key_with_one_scope_opens_only_its_own_routes(made: World, scope: Scope) -> None:
    """403 `missing_scope` everywhere else, before the request is looked at; `admin` includes nothing."""
    with made.client(made.before, scope) as client:
        for spec in made.routes:
            if spec.scope is None:
                continue
            body = b"[]" if spec.has_body else None
            status, code = ask(client, spec, body)
            if spec.scope is scope:
                assert status not in (401, 403) or code == "foreign_tenant", (spec.name, status, code)
            else:
                assert (status, code) == (403, "missing_scope"), spec.name


def test_without_a_key_nothing_is_told(made: World) -> None:
    """401 everywhere, whether or not there is what was asked for."""
    with RawClient(made.server.url, {}) as client:
        for spec in made.routes:
            if spec.scope is not None:
                body = b"{}" if spec.has_body else None
                assert ask(client, spec, body) == (401, "unauthorized"), spec.name


@pytest.mark.parametrize("scope", list(Scope))
def test_sockets_want_a_scope_too(made: World, scope: Scope) -> None:
    """A feed's upgrade is refused; the stream says why and closes."""
    headers = made.before.headers(scope)
    url = made.server.url.replace("http", "ws", 1)
    for name, wanted in SOCKETS.items():
        path = name.removeprefix(f"{SOCKET} ").replace("{call_id}", "shared")
        if wanted is scope:
            with opened(url + path, additional_headers=headers):
                pass
        elif path == "/v1/stream":
            with opened(url + path, additional_headers=headers) as socket:
                messages = say(socket, [start_message()])
                assert [message["code"] for message in messages] == ["missing_scope"]
                assert socket.close_code == 1008
        else:
            with pytest.raises(InvalidStatus) as caught, opened(url + path, additional_headers=headers):
                pass
            assert caught.value.response.status_code == 403
