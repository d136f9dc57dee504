"""API keys: who may come in at all."""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Sequence
from urllib.parse import urlsplit

from starlette.datastructures import Headers

from app.settings import Settings

API_KEY_HEADER = "x-api-key"


class KeyRing:
    """The configured keys, kept as digests. Without keys everybody is admitted."""

    def __init__(self, keys: Sequence[str]) -> None:
        self._digests = [_digest(key) for key in keys]

    @classmethod
    def from_settings(cls, settings: Settings) -> KeyRing:
        """The site's keys."""
        return cls([key.get_secret_value() for key in settings.auth.api_keys])

    def admits(self, headers: Headers) -> bool:
        """True when a key is not needed, or `Authorization: Bearer` or `X-API-Key` holds one of them."""
        if not self._digests:
            return True
        presented = presented_key(headers)
        if presented is None:
            return False
        digest = _digest(presented)
        # Every key is compared, and in constant time, so that timing tells nothing of them.
        return sum(hmac.compare_digest(digest, known) for known in self._digests) > 0


def presented_key(headers: Headers) -> str | None:
    """The key that a client sent, if any."""
    scheme, _, value = headers.get("authorization", "").partition(" ")
    if scheme.lower() == "bearer" and value.strip():
        return value.strip()
    return headers.get(API_KEY_HEADER)


def same_origin(headers: Headers) -> bool:
    """False when a browser says that a page of another site opens the connection.

    A socket is not bound by the same-origin rule, so a page anywhere could otherwise use a service that
    listens on its visitor's own machine.
    """
    origin = headers.get("origin")
    return origin is None or urlsplit(origin).netloc.lower() == headers.get("host", "").lower()


def _digest(key: str) -> bytes:
    return hashlib.sha256(key.encode("utf-8", "surrogateescape")).digest()
