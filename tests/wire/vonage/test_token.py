"""Vonage's `Authorization`, against the vector of the protocol page."""

from __future__ import annotations

import base64
import json
from typing import Any

import jwt
import pytest

from app.wire import vonage_auth
from app.wire.carrier import Authenticator, CarrierConfig, RefusedError, UpgradeRequest
from app.wire.vonage import CARRIER

SECRET = "kowairo-test-signature-secret-0001"
ISSUED_S = 1_767_225_600
VECTOR = (
    "eyJhbGciOiJIUzI1NiIsInR5cCI6IkpXVCJ9.eyJpYXQiOjE3NjcyMjU2MDAsImp0aSI6IjExMTExMTExLTIyMjItMzMzMy00NDQ0LTU1"
    "NTU1NTU1NTU1NSIsImlzcyI6IlZvbmFnZSIsImFwaV9rZXkiOiJhMWIyYzNkNCIsImFwcGxpY2F0aW9uX2lkIjoiYWFhYWFhYWEtYmJiYi1j"
    "Y2NjLWRkZGQtMDEyMzQ1Njc4OWFiIn0.bP779Hai7gJ9YYqMot1dqTZqqnZCg8vdQ4nd6AQw9-I"
)
APPLICATION = "aaaaaaaa-bbbb-cccc-dddd-0123456789ab"
CLAIMS: dict[str, Any] = {
    "iat": ISSUED_S,
    "jti": "11111111-2222-3333-4444-555555555555",
    "iss": "Vonage",
    "api_key": "a1b2c3d4",
}


def authenticator(application_id: str | None = None, **secrets: str) -> Authenticator:
    """An authenticator that knows the vector's API key, and these."""
    options = {} if application_id is None else {"application_id": application_id}
    return CARRIER.new_authenticator(CarrierConfig(secrets={"a1b2c3d4": SECRET, **secrets}, options=options))


def answer(door: Authenticator, value: str | None, now_s: float = ISSUED_S) -> int:
    """The HTTP status of a refusal; 101 where the request comes in."""
    headers = {} if value is None else {"authorization": value}
    try:
        door.check(UpgradeRequest("/v1/ingest/vonage", headers=headers), now_s)
    except RefusedError as refused:
        return refused.status
    return 101


def token(secret: str = SECRET, header: dict[str, Any] | None = None, **claims: Any) -> str:
    """A `Bearer` value; claims of None are left out."""
    body = {name: value for name, value in (CLAIMS | claims).items() if value is not None}
    return "Bearer " + jwt.encode(body, secret, algorithm="HS256", headers=header)


def unsigned(header: object, claims: object) -> str:
    """A `Bearer` value of these parts, without a signature."""
    parts = [
        base64.urlsafe_b64encode(json.dumps(part).encode()).rstrip(b"=").decode() for part in (header, claims)
    ]
    return f"Bearer {'.'.join(parts)}."


def test_the_vector_of_the_protocol_page() -> None:
    """It comes in at its time, once, for its application or where none is named."""
    assert answer(authenticator(), f"Bearer {VECTOR}") == 101
    assert answer(authenticator(APPLICATION), f"bearer  {VECTOR}") == 101
    assert answer(authenticator("another"), f"Bearer {VECTOR}") == 403
    assert answer(authenticator(APPLICATION), token()) == 403  # names no application


@pytest.mark.parametrize(
    ("after_s", "status"),
    [(0, 101), (-30, 101), (-31, 401), (300, 101), (330, 101), (331, 401), (86_400, 401)],
)
def test_tokens_are_good_for_five_minutes(after_s: float, status: int) -> None:
    """Plus half a minute either way for clocks that differ."""
    assert answer(authenticator(), f"Bearer {VECTOR}", ISSUED_S + after_s) == status


@pytest.mark.parametrize(
    "value",
    [
        pytest.param(None, id="none"),
        pytest.param("", id="empty"),
        pytest.param("Bearer", id="no token"),
        pytest.param(VECTOR, id="no scheme"),
        pytest.param(f"Basic {VECTOR}", id="another scheme"),
        pytest.param(f"Bearer {VECTOR}, Bearer {VECTOR}", id="twice"),
        pytest.param(f"Bearer {VECTOR[:-2]}", id="cut off"),
        pytest.param("Bearer a.b.c", id="no JWT"),
        pytest.param("Bearer \u00e9.\udcff.x", id="no ASCII"),
        pytest.param("Bearer " + "a" * 10_000, id="giant"),
        pytest.param(token("another-secret-that-is-32-bytes-long"), id="another secret"),
        pytest.param(token(api_key="another"), id="another API key"),
        pytest.param(token(api_key=None), id="no API key"),
        pytest.param(token(api_key=["a1b2c3d4"]), id="a nested API key"),
        pytest.param(token(iss="Nexmo"), id="another issuer"),
        pytest.param(token(iss=None), id="no issuer"),
        pytest.param(token(iat=None), id="no time"),
        pytest.param(token(iat=True), id="a time that is none"),
        pytest.param(token(iat=str(ISSUED_S)), id="a time as text"),
        pytest.param(token(iat=10**400), id="a time beyond belief"),
        pytest.param(token(iat=float("nan")), id="no number"),
        pytest.param(token(jti=None), id="no jti"),
        pytest.param(token(jti=""), id="an empty jti"),
        pytest.param(token(jti="x" * 129), id="a giant jti"),
        pytest.param(token(exp=ISSUED_S - 31), id="expired"),
        pytest.param(token(exp="soon"), id="an expiry that is none"),
        pytest.param(token(nbf=ISSUED_S + 31), id="not yet valid"),
        pytest.param(token(header={"typ": "JOSE"}), id="another kind"),
        pytest.param(
            "Bearer " + jwt.encode(CLAIMS, SECRET * 2, algorithm="HS512"), id="another algorithm, wrong key"
        ),
        pytest.param(
            "Bearer " + jwt.encode(CLAIMS, SECRET + "x" * 40, algorithm="HS384"), id="another algorithm"
        ),
        pytest.param(unsigned({"alg": "none", "typ": "JWT"}, CLAIMS), id="alg none"),
        pytest.param(unsigned({"alg": "HS256", "typ": "JWT"}, CLAIMS), id="no signature"),
        pytest.param(unsigned({"alg": "HS256"}, [CLAIMS]), id="claims that are no object"),
        pytest.param(unsigned([], CLAIMS), id="a header that is no object"),
        pytest.param(unsigned({"alg": ["HS256"]}, CLAIMS), id="a nested algorithm"),
        pytest.param(f"Bearer {base64.urlsafe_b64encode(b'[' * 2_700).decode()}.e30.x", id="nested too deep"),
    ],
)
def test_what_does_not_come_in(value: str | None) -> None:
    """One answer to all of it, which repeats nothing of what was sent."""
    assert answer(authenticator(), value) == 401


def test_the_same_secret_with_another_algorithm() -> None:
    """HS256 and nothing else, however well it is signed."""
    secret = SECRET * 2
    for algorithm, status in [("HS256", 101), ("HS384", 401), ("HS512", 401)]:
        value = "Bearer " + jwt.encode(CLAIMS, secret, algorithm=algorithm)
        assert answer(authenticator(a1b2c3d4=secret), value) == status


def test_documented_and_unknown_claims_do_no_harm() -> None:
    """`aud`, `payload_hash`, a valid expiry and what later versions add."""
    value = token(aud="x", sub=7, payload_hash="0" * 64, exp=ISSUED_S + 60, nbf=ISSUED_S, later={})
    assert answer(authenticator(), value) == 101
    assert answer(authenticator(), token(iat=ISSUED_S + 0.5)) == 101


def test_the_api_key_selects_the_secret() -> None:
    """Another account's secret does not sign for this one."""
    other = "another-secret-that-is-32-bytes-long"
    assert answer(authenticator(second=other), token(other, api_key="second")) == 101
    assert answer(authenticator(second=other), token(other)) == 401
    assert answer(authenticator(second=other), token(api_key="second")) == 401


def test_a_token_is_used_once() -> None:
    """For as long as it could be fresh; another jti, or the same of another account, is another token."""
    door = authenticator(second=SECRET)
    assert answer(door, token()) == 101
    assert answer(door, token(), ISSUED_S + 1) == 401
    assert answer(door, token(), ISSUED_S + 330) == 401
    assert answer(door, token(jti="other")) == 101
    assert answer(door, token(api_key="second")) == 101
    assert answer(door, token(iat=ISSUED_S + 400), ISSUED_S + 400) == 101  # forgotten, and no longer the same


def test_refused_tokens_are_not_remembered() -> None:
    """Nobody can use up the jti of another by sending it badly signed."""
    door = authenticator(APPLICATION)
    assert answer(door, token("another-secret-that-is-32-bytes-long", application_id=APPLICATION)) == 401
    assert answer(door, token(application_id="another")) == 403
    assert answer(door, token(application_id=APPLICATION)) == 101


def test_memory_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """Beyond the bound the oldest token is forgotten."""
    monkeypatch.setattr(vonage_auth, "MAX_REMEMBERED", 2)
    door = authenticator()
    assert [answer(door, token(jti=jti)) for jti in ("a", "b", "c", "c", "b", "a")] == [
        101,
        101,
        101,
        401,
        401,
        101,
    ]


def test_a_custom_value_is_compared_as_it_is() -> None:
    """`authorization` among the secrets is no API key; both ways may be open at once."""
    custom = CARRIER.new_authenticator(CarrierConfig(secrets={"authorization": "Bearer abc"}))
    assert [answer(custom, value) for value in ("Bearer abc", "Bearer abc")] == [101, 101]
    assert [answer(custom, value) for value in ("bearer abc", "Bearer abcd", f"Bearer {VECTOR}", None)] == [
        401
    ] * 4
    both = authenticator(authorization="Bearer abc")
    assert [answer(both, value) for value in ("Bearer abc", f"Bearer {VECTOR}", "Bearer x")] == [
        101,
        101,
        401,
    ]
    assert answer(both, token("Bearer abc" * 4, api_key="authorization")) == 401
