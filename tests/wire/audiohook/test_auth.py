"""Who may open an AudioHook session: the vendor's rules, the vectors, and what is refused."""

from __future__ import annotations

import base64
import dataclasses
import hashlib
import hmac
from typing import Any

import pytest

from app.wire.audiohook import CARRIER
from app.wire.audiohook_auth import AudioHookAuthenticator, NonceCache
from app.wire.carrier import CarrierConfig, RefusedError, UpgradeRequest

# The vector of the protocol page (§7): a secret of the bytes 0 to 31.
SECRET = "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8="
KEY = "kowairo-test-key"
CREATED = 1_760_000_000
COMPONENTS = (
    '"@request-target" "@authority" "audiohook-organization-id" "audiohook-session-id" '
    '"audiohook-correlation-id" "x-api-key"'
)
VECTOR = UpgradeRequest(
    path="/v1/audiohook",
    query="tenant=a",
    headers={
        "host": "kowairo.example:8443",
        "audiohook-organization-id": "11111111-1111-4111-8111-111111111111",
        "audiohook-session-id": "22222222-2222-4222-8222-222222222222",
        "audiohook-correlation-id": "33333333-3333-4333-8333-333333333333",
        "x-api-key": KEY,
        "signature-input": f'sig1=({COMPONENTS});keyid="{KEY}";nonce="a293YWlyby1ub25jZS0wMDAx"'
        f';alg="hmac-sha256";created={CREATED};expires={CREATED + 30}',
        "signature": "sig1=:vJ7uGUc2nHZY2BlDygHo9/0zQjFrVB/0QfXfPrVucns=:",
    },
)
CONFIG = CarrierConfig(secrets={"another": "", KEY: SECRET})


def check(request: UpgradeRequest, now_s: float = CREATED + 1, config: CarrierConfig = CONFIG) -> None:
    """Check one request anew."""
    AudioHookAuthenticator(config).check(request, now_s)


def refused(request: UpgradeRequest, now_s: float = CREATED + 1, config: CarrierConfig = CONFIG) -> str:
    """The code with which a request is refused."""
    with pytest.raises(RefusedError) as caught:
        check(request, now_s, config)
    assert caught.value.status == 401
    assert KEY not in str(caught.value)
    return caught.value.code


def with_headers(request: UpgradeRequest = VECTOR, **headers: str | None) -> UpgradeRequest:
    """A request with other headers (`_` for `-`); one of None is left out."""
    changed = {**request.headers, **{name.replace("_", "-"): value for name, value in headers.items()}}
    return dataclasses.replace(
        request, headers={name: value for name, value in changed.items() if value is not None}
    )


def signed(
    components: str = COMPONENTS,
    label: str = "sig1",
    secret: str = SECRET,
    request: UpgradeRequest = VECTOR,
    **params: Any,
) -> UpgradeRequest:
    """The vector's request, signed anew; a parameter of None is left out."""
    given = {
        "keyid": KEY,
        "nonce": "0123456789012345678901",
        "alg": "hmac-sha256",
        "created": CREATED,
        "expires": CREATED + 30,
    } | params
    texts = [
        f';{name}="{value}"' if isinstance(value, str) else f";{name}={value}"
        for name, value in given.items()
        if value is not None
    ]
    stated = f"({components})" + "".join(texts)
    values = {
        "@request-target": f"{request.path}?{request.query}",
        "@authority": request.headers["host"],
        "@method": "GET",
        "@path": request.path,
        "@query": f"?{request.query}",
    } | dict(request.headers)
    names = [name.strip('"') for name in components.split()]
    lines = [f'"{name}": {values.get(name, "")}' for name in names]
    base = "\n".join([*lines, f'"@signature-params": {stated}'])
    mac = base64.b64encode(hmac.digest(base64.b64decode(secret), base.encode(), hashlib.sha256)).decode()
    return with_headers(request, signature_input=f"{label}={stated}", signature=f"{label}=:{mac}:")


@pytest.mark.parametrize("after_s", [-3, 0, 0.5, 7, 10])
def test_the_vector_is_admitted_while_it_is_fresh(after_s: float) -> None:
    """From 3 s before it was made (clocks differ) to 10 s after."""
    check(VECTOR, CREATED + after_s)


def test_the_published_example_is_admitted() -> None:
    """The example of Genesys's documentation, from the reference's test of its verifier."""
    key = "SGVsbG8sIEkgYW0gdGhlIEFQSSBrZXkh"
    request = UpgradeRequest(
        path="/api/v1/voicebiometrics/ws",
        headers={
            "host": "audiohook.example.com",
            "audiohook-organization-id": "d7934305-0972-4844-938e-9060eef73d05",
            "audiohook-session-id": "30b0e395-84d3-4570-ac13-9a62d8f514c0",
            "audiohook-correlation-id": "e160e428-53e2-487c-977d-96989bf5c99d",
            "x-api-key": key,
            "signature": "sig1=:NZBwyBHRRyRoeLqy1IzOa9VYBuI8TgMFt2GRDkDuJh4=:",
            "signature-input": f'sig1=({COMPONENTS});keyid="{key}";nonce="VGhpc0lzQVVuaXF1ZU5vbmNl"'
            ';alg="hmac-sha256";created=1641013200;expires=3282026430',
        },
    )
    config = CarrierConfig(secrets={key: "TXlTdXBlclNlY3JldEtleVRlbGxOby0xITJAMyM0JDU="})
    check(request, 1_641_013_201, config)
    assert refused(request, 1_641_013_211, config) == "signature_expired"


def test_any_order_and_more_components_are_admitted() -> None:
    """The base is built in the order that the signature states; the label is the client's choice."""
    reverse = " ".join(reversed(COMPONENTS.split()))
    check(signed(reverse, label="genesys-1"))
    check(signed(f'"@method" {COMPONENTS} "@path" "@query" "x-more"', request=with_headers(x_more="a, b")))


def test_expires_and_alg_may_be_missing() -> None:
    """Only the age counts then; the algorithm is the only one there is."""
    check(signed(expires=None, alg=None))


def test_the_public_origin_is_what_was_signed() -> None:
    """Behind a proxy the Host header is another; the default port is never signed."""
    behind = with_headers(host="10.0.0.7:8000")
    assert refused(behind) == "signature_invalid"
    config = dataclasses.replace(CONFIG, public_origin="wss://Kowairo.Example:8443")
    check(behind, config=config)
    public = signed(request=with_headers(host="kowairo.example"))
    for origin in ("wss://kowairo.example", "wss://KOWAIRO.example:443/"):
        check(with_headers(public, host="10.0.0.7"), config=dataclasses.replace(CONFIG, public_origin=origin))
    check(with_headers(public, host="Kowairo.Example:443"))


def test_headers_may_be_padded() -> None:
    """Space around a value is not signed; the API key is compared without it, too."""
    check(
        with_headers(
            audiohook_session_id=f"  {VECTOR.headers['audiohook-session-id']}\t", x_api_key=f" {KEY} "
        )
    )


def test_an_unsigned_request_needs_a_key_without_secret() -> None:
    """The key itself is the credential then; a signature for such a key does not hold."""
    bare = with_headers(signature=None, signature_input=None)
    check(bare, config=CarrierConfig(secrets={KEY: ""}))
    assert refused(bare) == "signature_missing"
    assert refused(with_headers(bare, x_api_key="unknown")) == "signature_missing"
    assert refused(signed(secret=""), config=CarrierConfig(secrets={KEY: ""})) == "signature_invalid"


REFUSED: list[tuple[str, UpgradeRequest, str]] = [
    ("no key", with_headers(x_api_key=None), "api_key_missing"),
    ("an empty key", with_headers(x_api_key=" "), "api_key_missing"),
    ("no signature", with_headers(signature=None), "signature_malformed"),
    ("no input", with_headers(signature_input=None), "signature_malformed"),
    ("a broken signature", with_headers(signature="sig1=:A:"), "signature_malformed"),
    ("another label", with_headers(signature="sig2=:vJ7u:"), "signature_malformed"),
    ("a short signature", with_headers(signature="sig1=:vJ7u:"), "signature_invalid"),
    (
        "a wrong signature",
        with_headers(signature="sig1=:wJ7uGUc2nHZY2BlDygHo9/0zQjFrVB/0QfXfPrVucns=:"),
        "signature_invalid",
    ),
    ("another secret", signed(secret="AAAA"), "signature_invalid"),
    ("another path", dataclasses.replace(VECTOR, path="/v1/other"), "signature_invalid"),
    ("another query", dataclasses.replace(VECTOR, query="tenant=b"), "signature_invalid"),
    ("no query", dataclasses.replace(VECTOR, query=""), "signature_invalid"),
    ("another host", with_headers(host="kowairo.example"), "signature_invalid"),
    ("another session", with_headers(audiohook_session_id="x"), "signature_invalid"),
    ("no session", with_headers(audiohook_session_id=None), "signature_component_missing"),
    ("an empty session", with_headers(audiohook_session_id=""), "signature_component_missing"),
    ("no host", with_headers(host=None), "signature_component_missing"),
    (
        "an unknown key",
        signed(request=with_headers(x_api_key="unknown"), keyid="unknown"),
        "signature_invalid",
    ),
    ("another keyid", signed(keyid="other"), "signature_key_mismatch"),
    ("no keyid", signed(keyid=None), "signature_key_mismatch"),
    ("no nonce", signed(nonce=None), "signature_nonce"),
    ("a short nonce", signed(nonce="0" * 21), "signature_nonce"),
    ("a long nonce", signed(nonce="0" * 257), "signature_nonce"),
    ("another algorithm", signed(alg="rsa-v1_5-sha256"), "signature_unsupported"),
    ("no created", signed(created=None), "signature_undated"),
    ("from the future", signed(created=CREATED + 5), "signature_from_future"),
    ("stale", signed(created=CREATED - 10), "signature_expired"),
    ("expired", signed(expires=CREATED), "signature_expired"),
    ("a parameter unknown", signed(tag="x"), "signature_malformed"),
    ("created as text", signed(created="x"), "signature_malformed"),
    ("keyid as a number", signed(keyid=7), "signature_malformed"),
    (
        "too few components",
        signed('"@request-target" "@authority" "x-api-key"'),
        "signature_component_missing",
    ),
    ("a component twice", signed(f'{COMPONENTS} "x-api-key"'), "signature_malformed"),
    ("an unknown component", signed(f'{COMPONENTS} "@status"'), "signature_component_missing"),
    ("a header that is not there", signed(f'{COMPONENTS} "date"'), "signature_component_missing"),
]


@pytest.mark.parametrize(("request_", "code"), [one[1:] for one in REFUSED], ids=[one[0] for one in REFUSED])
def test_what_is_refused(request_: UpgradeRequest, code: str) -> None:
    """HTTP 401 with a stable code; an unknown key looks like a wrong signature."""
    assert refused(request_) == code


def test_a_base_that_was_not_canonical_is_refused() -> None:
    """What was signed is built anew from what was read: leading zeros or spaces do not survive it."""
    stated = VECTOR.headers["signature-input"]
    check(
        with_headers(signature_input=stated.replace(";created", "; created"))
    )  # reads, and is written, alike
    lax = with_headers(signature_input=stated.replace(f"created={CREATED}", f"created=00{CREATED}"))
    check(lax)  # the same number
    base_text = stated.removeprefix("sig1=").replace(";created", "; created")
    mac = base64.b64encode(hmac.digest(base64.b64decode(SECRET), base_text.encode(), hashlib.sha256)).decode()
    assert (
        refused(with_headers(signature_input=f"sig1={base_text}", signature=f"sig1=:{mac}:"))
        == "signature_invalid"
    )


def test_a_signature_is_admitted_once() -> None:
    """A replay is refused for as long as the signature would hold; a failed one is not remembered."""
    door = AudioHookAuthenticator(CONFIG)
    wrong = with_headers(signature="sig1=:vJ7u:")
    with pytest.raises(RefusedError):
        door.check(wrong, CREATED)
    door.check(VECTOR, CREATED - 3)
    for now_s in (CREATED - 3, CREATED, CREATED + 10):
        with pytest.raises(RefusedError) as caught:
            door.check(VECTOR, now_s)
        assert caught.value.code == "signature_replayed"
    with pytest.raises(RefusedError) as caught:
        door.check(VECTOR, CREATED + 10.1)
    assert caught.value.code == "signature_expired"
    door.check(signed(nonce="another-nonce-of-its-own"), CREATED + 1)


def test_the_cache_is_bounded_and_forgets_nothing_early() -> None:
    """Full, it refuses; what is over makes room."""
    cache = NonceCache(lifetime_s=10, max_nonces=2)
    cache.use("k", "a", 0.0)
    cache.use("k", "b", 1.0)
    cache_full = pytest.raises(RefusedError, match="too_many_signatures")
    with cache_full:
        cache.use("k", "c", 10.0)
    with pytest.raises(RefusedError, match="signature_replayed"):
        cache.use("k", "a", 10.0)
    cache.use("k", "c", 10.5)
    cache.use("other", "b", 11.5)
    assert len(cache) == 2


def test_a_secret_that_is_no_base64_is_refused_at_the_start() -> None:
    """It says which key, by number, and shows nothing."""
    config = CarrierConfig(secrets={"first-key": "", "second-key": "n*t base64"})
    with pytest.raises(ValueError, match="client secret of API key 2 is not base64") as caught:
        CARRIER.new_authenticator(config)
    assert "second-key" not in str(caught.value)
    assert "n*t" not in str(caught.value)
