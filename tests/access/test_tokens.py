"""Signed tokens: what a good one says, and every way in which one is not good."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import hmac
import json
from dataclasses import replace
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from hypothesis import given
from hypothesis import strategies as st

from app.access.jwks import ALGORITHMS, Jwks, JwksError, JwksTiming
from app.access.principal import Principal, Scope
from app.access.refusal import Reason, Refusal
from app.access.tokens import TokenRules, TokenVerifier, Verified
from tests.support.clock import FakeClock
from tests.support.issuer import AUDIENCE, ISSUER, NOW, claims, private_key, public_jwk, token

RULES = TokenRules(ISSUER, AUDIENCE, skew_s=60)
READER = frozenset({Scope.READ_SCORES, Scope.READ_STATS})
KEYS = json.dumps(
    {
        "keys": [
            *(public_jwk(algorithm, f"k-{algorithm}") for algorithm in ALGORITHMS),
            public_jwk("RS256", "k1"),
        ]
    }
).encode()
ANN = Principal("alpha", "ann", READER, "token")


class Source:
    """An issuer of one key for each algorithm."""

    def __init__(self) -> None:
        self.asked = 0
        self.down = False

    async def fetch(self) -> bytes:
        """Its keys."""
        self.asked += 1
        if self.down:
            raise JwksError("down")
        return KEYS


def verify(
    presented: str, rules: TokenRules = RULES, clock: FakeClock | None = None, source: Source | None = None
) -> Verified | Refusal:
    """Who presents a token, to a service that never saw one."""
    clock = clock or FakeClock(NOW)

    async def work() -> Verified | Refusal:
        verifier = TokenVerifier(Jwks(source or Source(), clock, JwksTiming()), rules, clock)
        try:
            return await verifier.verify(presented)
        finally:
            await verifier.close()

    return asyncio.run(work())


def b64(data: bytes | dict[str, Any]) -> str:
    """A part of a token."""
    raw = data if isinstance(data, bytes) else json.dumps(data).encode()
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_a_good_token_says_who_it_is(algorithm: str) -> None:
    """Its tenant, its subject, its scopes, and until when it holds."""
    assert verify(token(claims(), algorithm, f"k-{algorithm}")) == Verified(ANN, NOW + 660)


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"exp": NOW - 60}, Reason.EXPIRED_TOKEN),
        ({"exp": NOW - 59}, None),
        ({"exp": None}, Reason.BAD_TOKEN),
        ({"exp": "soon"}, Reason.BAD_TOKEN),
        ({"exp": True}, Reason.BAD_TOKEN),
        ({"exp": 1e300}, Reason.BAD_TOKEN),
        ({"exp": float("nan")}, Reason.BAD_TOKEN),
        ({"exp": float("inf")}, Reason.BAD_TOKEN),
        ({"exp": -1}, Reason.BAD_TOKEN),
        ({"exp": 10**400}, Reason.BAD_TOKEN),
        ({"nbf": NOW + 60}, None),
        ({"nbf": NOW + 61}, Reason.EARLY_TOKEN),
        ({"nbf": "now"}, Reason.BAD_TOKEN),
        ({"iat": NOW + 61}, Reason.EARLY_TOKEN),
        ({"iat": None}, None),
        ({"iat": []}, Reason.BAD_TOKEN),
        ({"iss": "https://other.example"}, Reason.WRONG_ISSUER),
        ({"iss": None}, Reason.WRONG_ISSUER),
        ({"iss": [ISSUER]}, Reason.WRONG_ISSUER),
        ({"aud": "other"}, Reason.WRONG_AUDIENCE),
        ({"aud": None}, Reason.WRONG_AUDIENCE),
        ({"aud": ["other", AUDIENCE]}, None),
        ({"aud": [["kowairo"]]}, Reason.WRONG_AUDIENCE),
        ({"aud": f"x {AUDIENCE}"}, Reason.WRONG_AUDIENCE),
        ({"aud": {"kowairo": 1}}, Reason.WRONG_AUDIENCE),
        ({"sub": None}, Reason.BAD_TOKEN),
        ({"sub": ""}, Reason.BAD_TOKEN),
        ({"sub": 7}, Reason.BAD_TOKEN),
        ({"sub": "x" * 129}, Reason.BAD_TOKEN),
        ({"tenant": None}, Reason.WRONG_TENANT),
        ({"tenant": "_site"}, Reason.WRONG_TENANT),
        ({"tenant": ["alpha"]}, Reason.WRONG_TENANT),
        ({"tenant": "../alpha"}, Reason.WRONG_TENANT),
    ],
)
def test_claims(changes: dict[str, Any], reason: Reason | None) -> None:
    """Each claim alone decides; clocks may differ by the skew and no more."""
    found = verify(token(claims(**changes)))
    if reason is None:
        assert isinstance(found, Verified)
    else:
        assert found == Refusal(reason)


@given(st.integers(-200, 250), st.sampled_from([0.0, 30.0, 120.0]))
def test_skew(late_s: int, skew_s: float) -> None:
    """A token holds from its `nbf` less the skew to its `exp` plus the skew, whatever the machine's own clock says."""
    said = claims(exp=NOW + 100, nbf=NOW, iat=NOW)
    found = verify(token(said, "EdDSA", "k-EdDSA"), replace(RULES, skew_s=skew_s), FakeClock(NOW + late_s))
    assert isinstance(found, Verified) == (-skew_s <= late_s < 100 + skew_s)


@given(
    st.one_of(
        st.none(),
        st.integers(),
        st.text(),
        st.lists(st.sampled_from([*Scope, "openid", "everything"]) | st.integers()),
        st.dictionaries(st.text(), st.text()),
        st.lists(st.sampled_from([*Scope, "openid", "ADMIN"])).map(" ".join),
    )
)
def test_only_known_scopes_are_granted(value: Any) -> None:
    """Text or list; what is not known grants nothing, and nothing else than a name is a name."""
    found = verify(token(claims(scope=value), "EdDSA", "k-EdDSA"))
    assert isinstance(found, Verified)
    words = value.split() if isinstance(value, str) else value if isinstance(value, list) else []
    assert found.principal.scopes == {scope for scope in Scope if scope.value in words}


def test_claims_of_other_names() -> None:
    """As the site has configured them."""
    rules = replace(RULES, tenant_claim="https://example/org", scope_claim="permissions")
    said = claims(tenant="beta", scope="admin") | {"https://example/org": "alpha", "permissions": ["label"]}
    found = verify(token(said), rules)
    assert isinstance(found, Verified)
    assert found.principal == replace(ANN, scopes=frozenset({Scope.LABEL}))


def test_a_token_without_a_signature_is_refused() -> None:
    """`alg: none`, in any spelling, with or without one."""
    for name in ("none", "None", "NONE", ""):
        unsigned = f"{b64({'alg': name, 'kid': 'k1', 'typ': 'JWT'})}.{b64(claims())}."
        assert verify(unsigned) in (Refusal(Reason.WRONG_ALGORITHM), Refusal(Reason.BAD_TOKEN))
        assert verify(unsigned + b64(b"x" * 256)) == Refusal(Reason.WRONG_ALGORITHM)


@pytest.mark.parametrize("form", ["pem", "der", "jwk"])
def test_a_public_key_is_no_shared_secret(form: str) -> None:
    """The algorithm confusion: HS256 keyed with the issuer's public key, which everybody has."""
    public = private_key("RS256").public_key()
    secret = {
        "pem": public.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo),
        "der": public.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo),
        "jwk": json.dumps(public_jwk("RS256", "k1")).encode(),
    }[form]
    signed = f"{b64({'alg': 'HS256', 'kid': 'k1', 'typ': 'JWT'})}.{b64(claims())}"
    forged = f"{signed}.{b64(hmac.new(secret, signed.encode(), hashlib.sha256).digest())}"
    assert verify(forged) == Refusal(Reason.WRONG_ALGORITHM)


def test_an_algorithm_that_the_key_is_not_for() -> None:
    """A key that says RS256 verifies no PS256, and one of another kind nothing at all."""
    assert verify(token(claims(), "PS256", "k1")) == Refusal(Reason.UNKNOWN_SIGNER)
    assert verify(token(claims(), "ES256", "k-EdDSA")) == Refusal(Reason.UNKNOWN_SIGNER)
    assert verify(token(claims(), "RS512", "k1")) == Refusal(Reason.WRONG_ALGORITHM)


def test_an_algorithm_that_the_site_does_not_allow() -> None:
    """Of those that are known, a site may allow fewer; never others."""
    rules = replace(RULES, algorithms=("ES256",))
    assert verify(token(claims()), rules) == Refusal(Reason.WRONG_ALGORITHM)
    assert isinstance(verify(token(claims(), "ES256", "k-ES256"), rules), Verified)
    for wrong in ((), ("HS256",), ("ES256", "none")):
        with pytest.raises(ValueError, match="RS256"):
            TokenVerifier(
                Jwks(Source(), FakeClock(), JwksTiming()), replace(RULES, algorithms=wrong), FakeClock()
            )


@pytest.mark.parametrize("kid", [None, "", "x" * 257, "unknown"])
def test_a_token_that_names_no_known_key(kid: str | None) -> None:
    """Also where its signature would hold with some key."""
    assert verify(token(claims(), kid=kid)) == Refusal(Reason.UNKNOWN_SIGNER)


def test_another_key_of_the_same_name() -> None:
    """The signature decides."""
    assert verify(token(claims(), number=1)) == Refusal(Reason.BAD_TOKEN)


@pytest.mark.parametrize(
    "header",
    [
        {"crit": ["exp"]},
        {"crit": ["b64"], "b64": False},
        {"typ": "secevent+jwt"},
        {"typ": 5},
        {"jwk": public_jwk("RS256", "k1", 1), "kid": "mine"},
        {"jku": "https://evil.example/keys", "kid": "mine"},
        {"kid": ["k1"]},
        {"kid": "../../etc/passwd"},
    ],
)
def test_headers_that_are_not_followed(header: dict[str, Any]) -> None:
    """Critical extensions, other kinds of token, keys that a token brings itself."""
    signed = f"{b64({'alg': 'RS256', 'kid': 'k1', 'typ': 'JWT'} | header)}.{b64(claims())}"
    forged = f"{signed}.{b64(b'x' * 256)}"
    assert verify(forged) in (Refusal(Reason.BAD_TOKEN), Refusal(Reason.UNKNOWN_SIGNER))


@pytest.mark.parametrize("kind", ["JWT", "at+jwt", "application/at+JWT"])
def test_access_tokens_may_say_what_they_are(kind: str) -> None:
    """RFC 9068's type, and the plain one."""
    signed = jwt.encode(claims(), private_key("RS256"), algorithm="RS256", headers={"kid": "k1", "typ": kind})
    assert isinstance(verify(signed), Verified)


@given(st.text() | st.lists(st.binary().map(b64), min_size=3, max_size=3).map(".".join))
def test_any_text_is_refused(text: str) -> None:
    """And none of it is a fault."""
    assert isinstance(verify(text), Refusal)


@given(st.integers(0, 10_000), st.sampled_from("Aa0-_.="))
def test_a_token_changed_anywhere_does_not_hold(place: int, other: str) -> None:
    """But for the bits that base64 does not use."""
    good = token(claims(), "EdDSA", "k-EdDSA")
    place %= len(good) - 1  # the last character of a signature has such bits
    changed = good[:place] + other + good[place + 1 :]
    if changed != good:
        assert isinstance(verify(changed), Refusal)


def test_a_body_that_is_no_object() -> None:
    """Signed, and still nothing."""
    for body in (b"[]", b"1", b"{", b"[" * 5000, b'"x"', b"\xff"):
        signed = f"{b64({'alg': 'EdDSA', 'kid': 'k-EdDSA'})}.{b64(body)}"
        whole = f"{signed}.{b64(private_key('EdDSA').sign(signed.encode()))}"
        assert verify(whole) == Refusal(Reason.BAD_TOKEN)


def test_while_no_key_was_ever_had_tokens_cannot_be_told() -> None:
    """That is told apart from a wrong token, with when to try again."""
    source = Source()
    source.down = True
    found = verify(token(claims()), source=source)
    assert found == Refusal(Reason.UNVERIFIABLE, 30.0)
