"""Twilio's signature of a Media Streams upgrade.

`X-Twilio-Signature: base64(HMAC-SHA1(Auth Token, URL))`, where the URL is the one written in the TwiML, with the scheme
`wss` (twilio.com/docs/usage/webhooks/webhooks-security; an upgrade is a GET without form fields). A Webhooks Rule
signs with a shared key and HMAC-SHA256 instead and says so in `X-Twilio-Webhooks-Signature-Settings`.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
from collections.abc import Callable, Iterable
from typing import Any

from app.wire.carrier import Authenticator, CarrierConfig, RefusedError, UpgradeRequest, same_secret

SIGNATURE_HEADER = "x-twilio-signature"
SETTINGS_HEADER = "x-twilio-webhooks-signature-settings"

_ALGORITHMS: dict[str, Callable[..., Any]] = {"HMAC_SHA1": hashlib.sha1, "HMAC_SHA256": hashlib.sha256}


class TwilioAuthenticator(Authenticator):
    """Admits a request signed with any of the secrets: Auth Tokens by account SID, or shared keys, by any name."""

    def __init__(self, config: CarrierConfig) -> None:
        self._secrets = tuple(config.secrets.values())
        self._public_origin = config.public_origin

    def check(self, request: UpgradeRequest, now_s: float) -> None:
        """Compare the signature with that of every address the request may have been signed for.

        Raises:
            RefusedError: 403, the signature is missing or wrong (Twilio logs it as 31920).
        """
        given = request.headers.get(SIGNATURE_HEADER, "")
        if not given:
            raise RefusedError(403, "missing_signature", "expected the header X-Twilio-Signature")
        algorithm = _algorithm(request.headers.get(SETTINGS_HEADER))
        origin = self._public_origin or f"wss://{request.headers.get('host', '')}"
        matches = False
        # All of them, always: how long it takes says nothing of which came close.
        for url in signed_urls(origin, request.path):
            for secret in self._secrets:
                matches |= same_secret(given, sign(url, secret, algorithm))
        if not matches:
            raise RefusedError(
                403,
                "invalid_signature",
                "X-Twilio-Signature is not that of this address and any configured secret",
            )


def sign(url: str, secret: str, algorithm: str = "HMAC_SHA1") -> str:
    """The signature of a request without form fields."""
    # surrogatepass: a raw path may hold any byte, and then only fails to match.
    digest = hmac.new(secret.encode(), url.encode("utf-8", "surrogatepass"), _ALGORITHMS[algorithm]).digest()
    return base64.b64encode(digest).decode("ascii")


def webhook_matches(
    given: str, origin: str, path: str, form: Iterable[tuple[str, str]], secrets: Iterable[str]
) -> bool:
    """Whether a webhook carries the signature of its address and its form: the fields by name, name + value.

    origin: of the service, whatever its scheme; webhooks are signed with `https`.
    """
    fields = "".join(name + value for name, value in sorted(form))
    host = origin.rpartition("://")[2]
    matches = False
    for secret in secrets:
        matches |= same_secret(given, sign(f"https://{host}{path}{fields}", secret))
    return matches


def signed_urls(origin: str, path: str) -> tuple[str, ...]:
    """The addresses Twilio may have signed: the origin as it is, without port, with `:443`; path with, without `/`.

    Whatever the scheme of the origin, Twilio signs `wss`.
    """
    host, slash, prefix = origin.rpartition("://")[2].rstrip("/").partition("/")
    bare, colon, port = host.rpartition(":")
    if not (colon and port.isdigit()):
        bare = host
    bases = dict.fromkeys(f"wss://{name}{slash}{prefix}" for name in (host, bare, f"{bare}:443"))
    stem = path.removesuffix("/")
    return tuple(base + tail for base in bases for tail in (stem, stem + "/"))


def _algorithm(settings: str | None) -> str:
    """The algorithm that `key=…,algorithm=…` names, HMAC-SHA1 without the header."""
    if settings is None:
        return "HMAC_SHA1"
    fields = dict(part.strip().partition("=")[::2] for part in settings.split(","))
    algorithm = fields.get("algorithm", "").upper()
    if algorithm not in _ALGORITHMS:
        raise RefusedError(
            403, "unsupported_signature", f"expected an algorithm among {', '.join(_ALGORITHMS)}"
        )
    return algorithm
