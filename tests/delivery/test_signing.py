"""Signatures, held against the scheme's own package."""

from __future__ import annotations

import base64
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st
from standardwebhooks import Webhook, WebhookVerificationError

from app.delivery.signing import SecretError, new_secret, secret_bytes, signature, signed_headers


@given(
    body=st.binary().filter(lambda raw: raw.decode("utf-8", "ignore").encode() == raw),
    key=st.binary(min_size=24, max_size=64),
)
def test_the_schemes_own_package_accepts_every_signature(body: bytes, key: bytes) -> None:
    """Whatever the body and the key."""
    secret = "whsec_" + base64.b64encode(key).decode()
    headers = dict(signed_headers([secret], "msg_1", int(time.time()), body))
    Webhook(secret).verify(body, headers, json_parse=False)


def test_a_known_signature() -> None:
    """A vector that was computed with openssl."""
    secret = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
    body = b'{"test": 2432232314}'
    expected = "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="
    assert signature(secret, "msg_p5jXN8AQM9LWM0D4loKWxJek", 1_614_265_330, body) == expected


def test_while_secrets_change_either_verifies() -> None:
    """Two signatures in one header; a third party's secret fits neither."""
    old, new = new_secret(), new_secret()
    headers = dict(signed_headers([new, old], "msg_1", int(time.time()), b"{}"))
    assert headers["webhook-signature"].count("v1,") == 2
    for secret in (old, new):
        assert Webhook(secret).verify(b"{}", headers) == {}
    with pytest.raises(WebhookVerificationError):
        Webhook(new_secret()).verify(b"{}", headers)


def test_secrets_are_random_and_of_the_schemes_form() -> None:
    """`whsec_` and base64 of 32 bytes."""
    secrets = {new_secret() for _ in range(20)}
    assert len(secrets) == 20
    assert {len(secret_bytes(secret)) for secret in secrets} == {32}


@pytest.mark.parametrize(
    "secret",
    [
        "",
        "whsec_",
        "whsec_!",
        "whsec_" + base64.b64encode(b"x" * 23).decode(),
        base64.b64encode(b"x" * 32).decode(),
    ],
)
def test_what_is_no_secret_is_refused(secret: str) -> None:
    """Too short, not base64, without the prefix; the message does not quote it."""
    with pytest.raises(SecretError, match="expected whsec_ and base64 of 24 to 64 bytes"):
        secret_bytes(secret)
