"""Signatures of webhooks as Standard Webhooks defines them (https://www.standardwebhooks.com)."""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import secrets as randomness
from collections.abc import Sequence

PREFIX = "whsec_"
_SECRET_BYTES = 32
_SECRET_RANGE = range(24, 65)
"""The scheme's own bounds, in bytes."""


class SecretError(ValueError):
    """A secret that is not one of the scheme's."""


def new_secret() -> str:
    """A random secret, `whsec_` and base64."""
    return PREFIX + base64.b64encode(randomness.token_bytes(_SECRET_BYTES)).decode()


def secret_bytes(secret: str) -> bytes:
    """The key inside a secret.

    Raises:
        SecretError: it does not begin with `whsec_`, is not base64, or not of 24 to 64 bytes.
    """
    try:
        key = base64.b64decode(secret.removeprefix(PREFIX), validate=True)
    except binascii.Error:
        key = b""
    if not secret.startswith(PREFIX) or len(key) not in _SECRET_RANGE:
        raise SecretError(f"expected {PREFIX} and base64 of {_SECRET_RANGE[0]} to {_SECRET_RANGE[-1]} bytes")
    return key


def signature(secret: str, message_id: str, timestamp: int, body: bytes) -> str:
    """`v1,` and the base64 of HMAC-SHA256 over `id.timestamp.body`. timestamp: of the attempt, epoch seconds.

    Raises:
        SecretError: the secret cannot be used.
    """
    signed = b"%s.%d.%s" % (message_id.encode(), timestamp, body)
    return "v1," + base64.b64encode(hmac.digest(secret_bytes(secret), signed, hashlib.sha256)).decode()


def signed_headers(
    secrets: Sequence[str], message_id: str, timestamp: int, body: bytes
) -> list[tuple[str, str]]:
    """The scheme's three headers; several secrets (while one replaces another) give several signatures."""
    return [
        ("webhook-id", message_id),
        ("webhook-timestamp", str(timestamp)),
        ("webhook-signature", " ".join(signature(one, message_id, timestamp, body) for one in secrets)),
    ]
