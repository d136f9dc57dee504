"""How Genesys signs the upgrade of an AudioHook connection.

`Signature` and `Signature-Input` as in `app.wire.http_signature`, with an API key that the site gave (`X-API-KEY`,
repeated as `keyid`) and a client secret. A key without a secret may come unsigned (the reference implementation's
`authenticator.ts`: purecloudlabs/audiohook-reference-implementation).
"""

from __future__ import annotations

import binascii
import secrets

from app.wire.carrier import Authenticator, CarrierConfig, RefusedError, UpgradeRequest, same_secret
from app.wire.http_signature import (
    Signature,
    SignatureError,
    authority_of,
    matches,
    read_signature,
    request_components,
    signature_base,
)

REQUIRED_COMPONENTS = frozenset(
    {
        "@request-target",
        "@authority",
        "audiohook-organization-id",
        "audiohook-session-id",
        "audiohook-correlation-id",
        "x-api-key",
    }
)
"""What a signature must cover; it may cover more, in any order."""

MAX_SKEW_S = 3
MAX_AGE_S = 10
"""A signature is accepted while -3 s <= now - created <= 10 s, and now <= expires."""

MIN_NONCE_CHARS = 22
MAX_NONCE_CHARS = 256
MAX_NONCES = 65_536
"""Signatures remembered; more than 5,000 new connections a second would be needed to fill it."""


class NonceCache:
    """What was used within the time a signature is accepted, so that it is accepted once. Bounded.

    Nothing is forgotten before its time: when the cache is full, new signatures are refused.
    """

    def __init__(self, lifetime_s: float = MAX_SKEW_S + MAX_AGE_S, max_nonces: int = MAX_NONCES) -> None:
        self._lifetime_s = lifetime_s
        self._max_nonces = max_nonces
        self._used: dict[
            tuple[str, str], float
        ] = {}  # in the order of their arrival, which is that of their end

    def __len__(self) -> int:
        return len(self._used)

    def use(self, keyid: str, nonce: str, now_s: float) -> None:
        """Remember that a nonce was used with a key.

        Raises:
            RefusedError: it was before, or there is no room to remember it.
        """
        while self._used and next(iter(self._used.values())) < now_s:
            del self._used[next(iter(self._used))]
        if (keyid, nonce) in self._used:
            raise RefusedError(401, "signature_replayed", "expected a signature that was not used before")
        if len(self._used) >= self._max_nonces:
            raise RefusedError(401, "too_many_signatures", "too many connections at once, try again")
        self._used[keyid, nonce] = now_s + self._lifetime_s


class AudioHookAuthenticator(Authenticator):
    """Admits a request signed with the client secret of its API key.

    Raises:
        ValueError: a secret is not base64; it says which key's by number, not by name.
    """

    def __init__(self, config: CarrierConfig) -> None:
        self._keys = tuple(
            (name, _client_secret(secret, number))
            for number, (name, secret) in enumerate(config.secrets.items(), start=1)
        )
        self._origin = config.public_origin
        self._dummy = secrets.token_bytes(32)
        self._nonces = NonceCache()

    def check(self, request: UpgradeRequest, now_s: float) -> None:
        """Verify the signature.

        Raises:
            RefusedError: always 401, with the code of what is wrong. An unknown key is told like a wrong signature.
        """
        api_key = request.headers.get("x-api-key", "").strip()
        if not api_key:
            raise RefusedError(401, "api_key_missing", "expected the header X-API-KEY")
        secret = self._client_secret(api_key)
        try:
            signature = read_signature(request.headers)
            if signature is None:
                if secret == b"":
                    return
                raise SignatureError(
                    "signature_missing", "expected the headers Signature-Input and Signature"
                )
            nonce = _check_terms(signature, api_key, now_s)
            authority = authority_of(request.headers.get("host", ""), self._origin)
            base = signature_base(signature, request_components(request, authority))
        except SignatureError as error:
            raise RefusedError(401, error.code, error.detail) from error
        # An unknown key, and one without a secret, take the same time as any other.
        genuine = matches(signature, base, secret or self._dummy)
        if not (genuine and secret):
            detail = "the signature is not that of this request and the client secret of its API key"
            raise RefusedError(401, "signature_invalid", detail)
        self._nonces.use(api_key, nonce, now_s)

    def _client_secret(self, api_key: str) -> bytes | None:
        """The key's secret, empty where it has none, None where the key is not known; all keys are compared."""
        found: bytes | None = None
        for name, secret in self._keys:
            if same_secret(api_key, name):
                found = secret
        return found


def _client_secret(text: str, number: int) -> bytes:
    try:
        return binascii.a2b_base64(text, strict_mode=True) if text else b""
    except ValueError as error:  # binascii.Error is of it
        raise ValueError(f"the client secret of API key {number} is not base64") from error


def _check_terms(signature: Signature, api_key: str, now_s: float) -> str:
    """Check what a signature says of itself; its nonce."""
    if missing := REQUIRED_COMPONENTS - set(signature.components):
        raise SignatureError(
            "signature_component_missing", f"the signature does not cover {', '.join(sorted(missing))}"
        )
    if signature.alg not in (None, "hmac-sha256"):
        raise SignatureError("signature_unsupported", "expected alg hmac-sha256")
    if signature.keyid is None or not same_secret(signature.keyid, api_key):
        raise SignatureError("signature_key_mismatch", "expected keyid to be that of X-API-KEY")
    nonce = signature.nonce or ""
    if not MIN_NONCE_CHARS <= len(nonce) <= MAX_NONCE_CHARS:
        expected = f"expected a nonce of {MIN_NONCE_CHARS} to {MAX_NONCE_CHARS} characters"
        raise SignatureError("signature_nonce", expected)
    if signature.created is None:
        raise SignatureError("signature_undated", "expected the parameter created")
    age_s = now_s - signature.created
    if age_s < -MAX_SKEW_S:
        raise SignatureError("signature_from_future", f"created is more than {MAX_SKEW_S} s ahead")
    if age_s > MAX_AGE_S or (signature.expires is not None and now_s > signature.expires):
        raise SignatureError("signature_expired", f"expected a signature of the last {MAX_AGE_S} s")
    return nonce
