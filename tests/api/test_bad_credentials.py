"""Tokens that are too old, too new, or not what they say; a store that is away: every route answers by a problem."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from cryptography.hazmat.primitives import serialization

from app.access.principal import Scope
from tests.support.clock import FakeClock
from tests.support.issuer import AUDIENCE, ISSUER, NOW, claims, private_key, public_jwk, token
from tests.support.problems import problem_of
from tests.support.raw import Answer
from tests.support.redis import redis_server
from tests.support.routes import RouteSpec, routes_of
from tests.support.server import eventually
from tests.support.service import Api, api, make_settings
from tests.support.walls import BEFORE, UUID, World, world

SKEW_S = 60.0
EVERY_SCOPE = " ".join(Scope)
VALUES = {"uuid": UUID}


@pytest.fixture(scope="module")
def guarded(bundle: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Api]:
    """A service that takes tokens, on a clock that stands where they were issued."""
    jwks = tmp_path_factory.mktemp("issuer") / "jwks.json"
    jwks.write_text(json.dumps({"keys": [public_jwk("RS256", "k1"), public_jwk("EdDSA", "k2")]}))
    auth = {
        "jwks_file": jwks,
        "jwt_issuer": ISSUER,
        "jwt_audience": AUDIENCE,
        "jwt_skew_s": SKEW_S,
    }
    limits = {"wrong_credentials": 10_000, "requests_per_s": None}
    with api(make_settings(bundle, auth=auth, limits=limits), FakeClock(NOW)) as running:
        yield running


def ask(running: Api, spec: RouteSpec, bearer: str) -> httpx.Response:
    """A request to a route, whatever its ids."""
    path = spec.path
    for name in spec.path_names:
        path = path.replace("{" + name + "}", VALUES.get(name, "x"))
    return running.request(spec.method, path, headers={"Authorization": f"Bearer {bearer}"})


def refused(answer: httpx.Response) -> None:
    """401, without a word of why: whoever tries tokens learns nothing."""
    problem = problem_of(Answer(answer.status_code, answer.headers, answer.content))
    assert (answer.status_code, problem["code"]) == (401, "unauthorized")
    assert answer.headers["www-authenticate"] == 'Bearer error="invalid_token"'


def test_an_expired_token_opens_no_route(guarded: Api) -> None:
    """401 on every route that wants a scope."""
    old = token(claims(scope=EVERY_SCOPE, iat=NOW - 900, exp=NOW - 300))
    good = token(claims(scope=EVERY_SCOPE))
    for spec in routes_of(guarded.app):
        if spec.scope is not None and "events" not in spec.path:
            refused(ask(guarded, spec, old))
            assert ask(guarded, spec, good).status_code not in (401, 403, 500), spec.name


@pytest.mark.parametrize(
    ("said", "opens"),
    [
        ({"exp": NOW - SKEW_S + 5}, True),
        ({"exp": NOW - SKEW_S - 5}, False),
        ({"iat": NOW + SKEW_S - 5}, True),
        ({"iat": NOW + SKEW_S + 5}, False),
        ({"nbf": NOW + SKEW_S - 5}, True),
        ({"nbf": NOW + SKEW_S + 5}, False),
        ({"exp": None}, False),
        ({"exp": "tomorrow"}, False),
        ({"exp": 1e300}, False),
        ({"exp": -1}, False),
        ({"iss": "https://elsewhere.example"}, False),
        ({"aud": "another"}, False),
        ({"aud": ["another", AUDIENCE]}, True),
        ({"tenant": None}, False),
        ({"tenant": "_site"}, False),
        ({"tenant": "a/b"}, False),
        ({"tenant": ["alpha", "beta"]}, False),
        ({"scope": ["read:scores"]}, True),
        ({"scope": 7}, False),
    ],
)
def test_claims(guarded: Api, said: dict[str, Any], opens: bool) -> None:
    """A clock may go wrong by as much as the site says, and no more; what a claim must not be opens nothing."""
    answer = guarded.get("/v1/calls", headers={"Authorization": f"Bearer {token(claims(**said))}"})
    if opens:
        assert answer.status_code == 200, answer.text
    elif said == {"scope": 7}:
        assert answer.status_code in (401, 403)
    else:
        refused(answer)


def part(value: object) -> str:
    """A part of a token."""
    return base64.urlsafe_b64encode(json.dumps(value).encode()).decode().rstrip("=")


def signed_by_text(secret: bytes, header: dict[str, Any]) -> str:
    """A token signed with HMAC."""
    text = f"{part(header)}.{part(claims())}"
    digest = hmac.new(secret, text.encode(), hashlib.sha256).digest()
    return f"{text}.{base64.urlsafe_b64encode(digest).decode().rstrip('=')}"


def forged() -> dict[str, str]:
    """Tokens that nobody issued."""
    good = token(claims())
    header, payload, signature = good.split(".")
    its_own = {"alg": "RS256", "kid": "k1", "jwk": public_jwk("RS256", "k1", 1)}
    public = private_key("RS256").public_key()
    pem = public.public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
    return {
        "unsigned": f"{part({'alg': 'none', 'kid': 'k1'})}.{payload}.",
        "unsigned, spelt another way": f"{part({'alg': 'nOnE', 'kid': 'k1'})}.{payload}.",
        "HMAC with the public key": signed_by_text(pem, {"alg": "HS256", "kid": "k1"}),
        "HMAC with nothing": signed_by_text(b"", {"alg": "HS256", "kid": "k1"}),
        "RS512": token(claims(), "RS512"),
        "another key": token(claims(), number=1),
        "a key of another kind": token(claims(), "EdDSA", kid="k1"),
        "an unknown key": token(claims(), kid="k9"),
        "no key": token(claims(), kid=None),
        "its own key": f"{part(its_own)}.{payload}.{signature}",
        "a path for a key": token(claims(), kid="../../etc/passwd"),
        "another payload": f"{header}.{part(claims(tenant='beta'))}.{signature}",
        "no signature": f"{header}.{payload}.",
        "half a signature": good[:-100],
        "two signatures": f"{good}.{signature}",
        "no JSON": "eyJhbGciOi.eyJ.x",
        "dots": "..",
        "long": "a." + "b" * 8_000 + ".c",
    }


@pytest.mark.parametrize("name", list(forged()))
def test_forged_tokens(guarded: Api, name: str) -> None:
    """Algorithms are those of the list, keys those of the issuer, whatever a token says of itself."""
    refused(guarded.get("/v1/calls", headers={"Authorization": f"Bearer {forged()[name]}"}))


WITHOUT_STORE = {
    *("GET /v1/models", "POST /v1/score", "PUT /v1/ingest/audiosocket/{uuid}", "GET /v1/erasures/key"),
    *("POST /v1/audit/pseudonym", "POST /v1/erasures", "DELETE /v1/calls/{call_id}"),
    *("GET /v1/lines", "GET /v1/lines/{line}", "GET /v1/lines/{line}/profile", "GET /v1/retention"),
    "GET /v1/events",
}
"""What goes on while the store is away: what needs none, what happens from now on, erasures (which wait), and lines as
this process knows them."""


def test_a_store_that_is_away(bundle: Path, tmp_path: Path) -> None:
    """Every other route answers 503 `store_unavailable`; what is wrong with a request is still said first; no 500."""
    carriers = {"audiosocket": {"tenant": BEFORE}}
    with (
        redis_server(tmp_path / "redis") as redis,
        world(bundle, tmp_path, redis, carriers=carriers) as made,
    ):
        made.owned[BEFORE]["uuid"] = [UUID]
        redis.kill()
        with made.client(made.before) as client:
            eventually(lambda: True if client.send("GET", "/readyz").json["status"] == "degraded" else None)
            for spec in made.routes:
                if spec.scope is None:
                    continue
                answer = send(made, spec)
                if spec.name in WITHOUT_STORE:
                    assert answer.status < 500 or problem_of(answer)["code"] == "store_unavailable", (
                        spec,
                        answer,
                    )
                else:
                    problem = problem_of(answer)
                    assert (answer.status, problem["code"]) == (503, "store_unavailable"), (spec.name, answer)
            for path in ("/v1/calls?limit=0", "/v1/calls?cursor=x", "/v1/stats?tz=x"):
                assert client.send("GET", path).status in (422, 503)
        with made.client(made.before, Scope.INGEST) as client:
            assert client.send("GET", "/v1/calls").status == 403


BODIES: dict[str, object] = {
    "POST /v1/erasures": {"subject": "somebody"},
    "POST /v1/utterances/{utterance_id}/feedback": {"label": "angry", "labeller": "rater"},
    "POST /v1/keys": {"name": "x", "scopes": ["erase"]},
    "POST /v1/webhook-endpoints": {"url": "https://hooks.example/x"},
    "POST /v1/dead-letters/redrive": {"endpoint_id": "we_" + "0" * 24},
    "POST /v1/alert-rules": {"kind": "valence", "below": -0.5},
    "PUT /v1/alert-rules/{rule_id}": {"kind": "valence", "below": -0.5},
    "PUT /v1/lines/{line}/profile": None,
    "POST /v1/audit/pseudonym": {"call_id": "x"},
}


def send(made: World, spec: RouteSpec) -> Answer:
    """A request to which nothing is wrong."""
    path = spec.path
    for name in spec.path_names:
        path = path.replace("{" + name + "}", made.owned[BEFORE][name][0])
    with made.client(made.before) as client:
        if not spec.has_body:
            return client.send(spec.method, path)
        body = BODIES.get(spec.name, {})
        if body is None:
            body = client.send("GET", path).json
        return client.send_json(spec.method, path, body)
