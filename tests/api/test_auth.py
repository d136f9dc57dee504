"""Who comes in, over HTTP and by socket, and how everybody else is told."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError
from starlette.datastructures import Headers
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.typing import Subprotocol

from app.access.authenticator import Admission
from app.access.keyfile import CHECK_EVERY_S, add_to_file
from app.access.keys import new_key
from app.access.principal import SITE, Principal, Scope
from app.access.refusal import Reason, Refusal
from app.api import auth
from app.api.auth import (
    AccessError,
    access_problem,
    access_wire_error,
    looks_after_all,
    make_tokens,
    same_origin,
)
from app.main import build_services
from app.settings import AuthSettings, SettingsError
from app.wire.base import CloseCode
from tests.support.clock import FakeClock
from tests.support.issuer import AUDIENCE, ISSUER, claims, public_jwk, token
from tests.support.logs import logged
from tests.support.service import Api, ServerThread, api, make_settings, server
from tests.support.tenants import MADE_AT, Tenants, make_tenants

SITE_KEY = "a-plain-key-of-the-site"
CALLS = "/v1/calls"
START = {"type": "start", "encoding": "pcm_s16le", "sample_rate": 8000, "channels": ["customer"]}


@pytest.fixture(scope="module")
def tenants(tmp_path_factory: pytest.TempPathFactory) -> Tenants:
    """Two tenants."""
    return make_tenants(tmp_path_factory.mktemp("keys"))


@pytest.fixture(scope="module")
def groups(tenants: Tenants, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """Plain keys, a keys file, and an issuer of tokens."""
    jwks = tmp_path_factory.mktemp("issuer") / "jwks.json"
    jwks.write_text(json.dumps({"keys": [public_jwk("EdDSA", "k1")]}))
    issuer = {"jwks_file": jwks, "jwt_issuer": ISSUER, "jwt_audience": AUDIENCE}
    return {"auth": {"api_keys": [SITE_KEY], "keys_file": tenants.keys_file, **issuer}}


@pytest.fixture
def clock() -> FakeClock:
    """Where `tests.support.issuer` lives."""
    return FakeClock()


@pytest.fixture
def guarded(bundle: Path, groups: dict[str, Any], clock: FakeClock) -> Iterator[Api]:
    """A service that needs credentials."""
    with api(make_settings(bundle, **groups), clock) as running:
        yield running


def refused(running: Api, reason: Reason) -> float:
    """How often somebody was refused for a reason."""
    value = running.services.metrics.registry.get_sample_value(
        "kowairo_access_refused_total", {"reason": reason.value}
    )
    return value or 0.0


def test_every_kind_of_credential_opens(guarded: Api, tenants: Tenants) -> None:
    """In either header, where it belongs."""
    alpha = tenants.all[0]
    for headers in (
        {"Authorization": f"Bearer {SITE_KEY}"},
        {"X-API-Key": SITE_KEY},
        alpha.headers(),
        {"X-API-Key": alpha.key(Scope.READ_SCORES)},
        {"Authorization": f"Bearer {token(claims(), 'EdDSA')}"},
    ):
        assert guarded.get(CALLS, headers=headers).status_code == 200


@pytest.mark.parametrize(
    ("headers", "status", "code", "reason"),
    [
        ({}, 401, "unauthorized", Reason.NO_CREDENTIALS),
        ({"X-API-Key": "wrong"}, 401, "unauthorized", Reason.UNKNOWN_KEY),
        ({"Authorization": "Basic YTpi"}, 401, "unauthorized", Reason.NO_CREDENTIALS),
        (
            {"Authorization": "Bearer a-key", "X-API-Key": "another"},
            400,
            "ambiguous_credentials",
            Reason.AMBIGUOUS,
        ),
        ({"X-API-Key": "\xff\xfe"}, 401, "unauthorized", Reason.UNKNOWN_KEY),
        ({"Authorization": "Bearer a.b.c"}, 401, "unauthorized", Reason.BAD_TOKEN),
    ],
)
def test_a_refusal_is_a_problem(
    guarded: Api, headers: dict[str, str], status: int, code: str, reason: Reason
) -> None:
    """With its code, counted by its reason."""
    raw = {name: value.encode("latin-1") for name, value in headers.items()}
    answer = guarded.get(CALLS, headers=raw)
    assert (answer.status_code, answer.json()["code"]) == (status, code)
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.headers.get("www-authenticate", "Bearer").startswith("Bearer")
    assert refused(guarded, reason) == 1


def test_an_expired_token_is_told_so(guarded: Api, clock: FakeClock) -> None:
    """A minute after its end, for clocks differ."""
    headers = {"Authorization": f"Bearer {token(claims(exp=clock.now() + 100), 'EdDSA')}"}
    clock.advance(159)
    assert guarded.get(CALLS, headers=headers).status_code == 200
    clock.advance(1)
    answer = guarded.get(CALLS, headers=headers)
    assert answer.status_code == 401
    assert "expired" in answer.json()["detail"]
    assert answer.headers["www-authenticate"] == 'Bearer error="invalid_token"'


def test_a_scope_that_is_missing_is_named(guarded: Api, tenants: Tenants) -> None:
    """`admin` does not include the others."""
    answer = guarded.get(CALLS, headers=tenants.all[0].headers(Scope.ADMIN))
    assert (answer.status_code, answer.json()["code"]) == (403, "missing_scope")
    assert "read:scores" in answer.json()["detail"]
    assert refused(guarded, Reason.MISSING_SCOPE) == 1


def test_a_secret_in_an_address_is_refused_and_not_logged(guarded: Api, tenants: Tenants) -> None:
    """Also where it would be right, and beside right credentials."""
    key = tenants.all[0].key()
    with logged(level="debug") as log:
        for query in (f"token={key}", f"x={key}", f"api_key={SITE_KEY}"):
            answer = guarded.get(f"{CALLS}?{query}", headers=tenants.all[0].headers())
            assert (answer.status_code, answer.json()["code"]) == (400, "secret_in_query")
            assert key not in answer.text
            assert SITE_KEY not in answer.text
    assert "http_request" in log.getvalue()
    assert key not in log.getvalue()
    assert SITE_KEY not in log.getvalue()


def test_no_credential_is_logged(guarded: Api, tenants: Tenants) -> None:
    """Right or wrong, at any level."""
    secrets = [tenants.all[0].key(), tenants.all[0].key() + "x", token(claims(), "EdDSA"), SITE_KEY]
    with logged(level="debug") as log:
        for secret in secrets:
            guarded.get(CALLS, headers={"Authorization": f"Bearer {secret}"})
    assert not [secret for secret in secrets if secret in log.getvalue()]


def test_keys_are_rotated_without_a_restart(bundle: Path, tmp_path: Path, clock: FakeClock) -> None:
    """A key that comes into the file opens, one that goes does not, a second later."""
    tenants = make_tenants(tmp_path, ["alpha"])
    old = tenants.all[0].headers()
    with api(make_settings(bundle, **tenants.groups), clock) as running:
        assert running.get(CALLS, headers=old).status_code == 200
        key, record = new_key("alpha", "new", [Scope.READ_SCORES], now=MADE_AT)
        tenants.keys_file.unlink()
        add_to_file(tenants.keys_file, record)
        clock.advance(CHECK_EVERY_S)
        assert running.get(CALLS, headers={"X-API-Key": key}).status_code == 200
        assert running.get(CALLS, headers=old).status_code == 401


def test_a_keys_file_that_cannot_be_used_stops_the_start(bundle: Path, tmp_path: Path) -> None:
    """With the name of the variable."""
    with pytest.raises(SettingsError, match="KOWAIRO_AUTH__KEYS_FILE"):
        build_services(make_settings(bundle, auth={"keys_file": tmp_path / "none.json"}))


def test_wrong_credentials_put_an_address_off_but_not_those_beside_it(
    guarded: Api, tenants: Tenants, clock: FakeClock
) -> None:
    """After ten, longer each time; right credentials at hand open from the same address all the while."""
    right = tenants.all[0].headers()
    for _ in range(11):
        assert guarded.get(CALLS, headers={"X-API-Key": "wrong"}).status_code == 401
    answer = guarded.get(CALLS, headers={"X-API-Key": "wrong"})
    assert (answer.status_code, answer.json()["code"]) == (429, "too_many_failures")
    assert answer.headers["retry-after"] == "1"
    assert guarded.get(CALLS, headers=right).status_code == 200
    assert guarded.get(CALLS).status_code == 401
    clock.advance(1)
    assert guarded.get(CALLS, headers={"X-API-Key": "wrong"}).status_code == 401
    answer = guarded.get(CALLS, headers={"X-API-Key": "wrong"})
    assert answer.headers["retry-after"] == "2"
    value = guarded.services.metrics.registry.get_sample_value(
        "kowairo_rate_limited_total", {"what": "credentials"}
    )
    assert value == 2


def test_a_page_of_another_site_changes_nothing_where_nobody_needs_credentials(web: Api) -> None:
    """A form anywhere could otherwise act on the service of its visitor's own machine."""
    foreign = {"Origin": "https://elsewhere.example"}
    answer = web.request("POST", "/v1/calls/x/pause", headers=foreign)
    assert (answer.status_code, answer.json()["code"]) == (403, "foreign_origin")
    own = {"Origin": "http://127.0.0.1"}
    assert web.request("POST", "/v1/calls/x/pause", headers=own).json()["code"] == "call_not_found"


@pytest.mark.parametrize(
    ("headers", "same"),
    [
        ({"host": "127.0.0.1:8000"}, True),
        ({"host": "127.0.0.1:8000", "origin": "http://127.0.0.1:8000"}, True),
        ({"host": "Calls.example", "origin": "https://calls.example"}, True),
        ({"host": "127.0.0.1:8000", "origin": "http://127.0.0.1:9000"}, False),
        ({"host": "127.0.0.1:8000", "origin": "null"}, False),
        ({"host": "", "origin": "null"}, False),
        ({"host": "127.0.0.1:8000", "origin": "http://["}, False),
        ({"host": "127.0.0.1:8000", "origin": "https://Desk.example"}, True),
        ({"host": "127.0.0.1:8000", "origin": "http://desk.example"}, False),
    ],
)
def test_origins_are_compared_with_the_host_and_those_allowed(headers: dict[str, str], same: bool) -> None:
    """A page of this very service, of one that is allowed, or no page at all."""
    assert same_origin(Headers(headers), {"https://desk.example"}) is same


def test_keys_of_an_issuer_come_from_an_address_too(groups: dict[str, Any]) -> None:
    """Of https only; one of the two, with issuer and audience."""
    issuer = {"jwt_issuer": ISSUER, "jwt_audience": AUDIENCE}
    settings = AuthSettings.model_validate({"jwks_url": "https://login.example/keys", **issuer})
    assert make_tokens(settings, FakeClock()) is not None
    assert make_tokens(AuthSettings(), FakeClock()) is None
    for wrong in (
        {"jwks_url": "http://login.example/keys", **issuer},
        {"jwks_url": "https://user@login.example/keys", **issuer},
        {"jwks_url": "https://login.example/keys"},
        {"jwks_url": "https://login.example/keys", "jwks_file": "keys.json", **issuer},
        {"jwks_url": "https://login.example/keys", "jwt_algorithms": "HS256", **issuer},
        {"jwks_url": "https://login.example/keys", "jwt_algorithms": "none", **issuer},
    ):
        with pytest.raises(ValidationError):
            AuthSettings.model_validate(wrong)


def test_a_carrier_with_wrong_credentials_is_put_off(bundle: Path) -> None:
    """And comes in as before with right ones, from the same address."""
    secret = "secret-of-the-address"
    carriers = {"twilio": {"path_secret": secret}}
    limits = {"wrong_credentials": 2}
    with server(make_settings(bundle, carriers=carriers, limits=limits)) as running:
        url = running.stream_url.replace("stream", "ingest/twilio/")

        async def status(path: str) -> int:
            try:
                async with connect(url + path):
                    return 101
            except InvalidStatus as refusal:
                return refusal.response.status_code

        statuses = [asyncio.run(status("wrong-secret-of-it")) for _ in range(3)]
        assert statuses == [403, 403, 429]
        assert asyncio.run(status(secret)) == 101


@pytest.mark.parametrize("reason", Reason)
def test_every_reason_can_be_told(reason: Reason) -> None:
    """As a problem and as the end of a socket; trying again is offered where it may help."""
    error = AccessError(Refusal(reason, 1.2))
    problem, wire = access_problem(error), access_wire_error(error)
    assert 400 <= problem.status < 504
    assert problem.code == wire.code
    assert problem.headers["Retry-After"] == "2"
    assert wire.reason == f"{wire.code}; retry-after=2"
    assert (wire.close_code is CloseCode.OVERLOADED) == (problem.status in (429, 503))
    assert access_wire_error(AccessError(Refusal(reason))).reason == wire.code


@pytest.mark.parametrize(
    ("principal", "all_of_them"),
    [
        (SITE, True),
        (Principal("_site", "ops", frozenset({Scope.ADMIN}), "a" * 16), True),
        (Principal("_site", "ops", frozenset({Scope.INGEST}), "a" * 16), False),
        (Principal("default", "site", frozenset(Scope), "a" * 16), False),
        (Principal("default", "site", frozenset(Scope), "token"), False),
    ],
)
def test_who_looks_after_all_tenants(principal: Principal, all_of_them: bool) -> None:
    """Plain site keys and administrators of the site; nobody who only has the same names."""
    assert looks_after_all(principal) is all_of_them


def test_it_is_noticed_when_credentials_end(
    guarded: Api, tenants: Tenants, monkeypatch: pytest.MonkeyPatch
) -> None:
    """For sockets and streams that outlast them."""
    monkeypatch.setattr(auth, "RECHECK_S", 0.0)
    access = guarded.services.access
    ended = Admission(Principal("alpha", "ann", frozenset({Scope.LABEL}), "token"), until=0.0)
    assert asyncio.run(access.ended(ended)) == Refusal(Reason.EXPIRED_TOKEN)

    key, _ = new_key("alpha", "gone", [Scope.LABEL], now=MADE_AT)
    gone = Admission(Principal("alpha", "gone", frozenset({Scope.LABEL}), key.split("_")[1]), renewable=True)
    assert asyncio.run(access.ended(gone)) == Refusal(Reason.REVOKED_KEY)
    key_id = tenants.all[0].key(Scope.LABEL).split("_")[1]
    less = Admission(Principal("alpha", "alpha test", frozenset(Scope), key_id), renewable=True)
    assert asyncio.run(access.ended(less)) == Refusal(Reason.MISSING_SCOPE)

    async def lasting() -> None:
        async with asyncio.timeout(0.05):
            await access.ended(Admission(SITE))

    with pytest.raises(TimeoutError):
        asyncio.run(lasting())


@pytest.fixture(scope="module")
def socket(bundle: Path, groups: dict[str, Any]) -> Iterator[ServerThread]:
    """A real server that needs credentials; another site's pages may connect."""
    auth_group = groups["auth"] | {"allowed_origins": ["https://desk.example"]}
    with server(make_settings(bundle, auth=auth_group)) as running:
        yield running


def knock(running: ServerThread, **options: Any) -> tuple[str, str | None, int, str]:
    """The type or code of the first message, the subprotocol, the close code and its reason."""

    async def work() -> tuple[str, str | None, int, str]:
        said = []
        async with connect(running.stream_url, **options) as socket:
            with contextlib.suppress(ConnectionClosed):
                await socket.send(json.dumps(START))
            try:
                async for text in socket:
                    said.append(json.loads(text))
                    if said[-1]["type"] == "ready":
                        await socket.send(json.dumps({"type": "stop"}))
            except ConnectionClosed:
                pass  # with what code is looked at below
            await socket.wait_closed()
            first = said[0]
            assert socket.close_code is not None
            assert socket.close_reason is not None
            return (
                first.get("code", first["type"]),
                socket.subprotocol,
                socket.close_code,
                socket.close_reason,
            )

    return asyncio.run(work())


def test_a_browser_shows_its_key_as_a_subprotocol(socket: ServerThread, tenants: Tenants) -> None:
    """`kowairo` is what is answered; the key never comes back."""
    alpha = tenants.all[0]
    offered = [Subprotocol(name) for name in alpha.subprotocols(Scope.INGEST)]
    assert knock(socket, subprotocols=offered, origin="https://desk.example") == (
        "ready",
        "kowairo",
        1000,
        "done",
    )


@pytest.mark.parametrize(
    ("options", "code"),
    [
        ({}, "unauthorized"),
        ({"additional_headers": {"X-API-Key": "wrong"}}, "unauthorized"),
        ({"subprotocols": ["kowairo", "bearer.wrong"]}, "unauthorized"),
        ({"origin": "https://elsewhere.example"}, "foreign_origin"),
        (
            {"origin": "https://elsewhere.example", "additional_headers": {"X-API-Key": SITE_KEY}},
            "foreign_origin",
        ),
    ],
)
def test_a_socket_that_may_not_come_in_is_told_why(
    socket: ServerThread, options: dict[str, Any], code: str
) -> None:
    """And closed with 1008."""
    first, _, close_code, reason = knock(socket, **options)
    assert (first, close_code, reason) == (code, 1008, code)


def test_a_socket_needs_the_scope(socket: ServerThread, tenants: Tenants) -> None:
    """`ingest`; reading is not enough."""
    headers = tenants.all[0].headers(Scope.READ_SCORES)
    assert knock(socket, additional_headers=headers)[::2] == ("missing_scope", 1008)
    assert knock(socket, additional_headers=tenants.all[0].headers(Scope.INGEST))[0] == "ready"
