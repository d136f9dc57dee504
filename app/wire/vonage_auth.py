"""Vonage's `Authorization` of a WebSocket upgrade: a signed JWT, or a value of the site's own.

The NCCO's endpoint says which: `{"type": "vonage"}` gives `Bearer <JWT>`, HS256 with the account's signature secret
(developer.vonage.com, signed webhooks); `{"type": "custom", "value": …}` gives the value verbatim.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping
from typing import Any

import jwt

from app.wire.carrier import Authenticator, CarrierConfig, RefusedError, UpgradeRequest, same_secret

CUSTOM = "authorization"
"""The name in `secrets` of a custom `Authorization` value; all other names are API keys."""

ISSUER = "Vonage"
MAX_AGE_S = 300.0
SKEW_S = 30.0
"""By so much may the clocks differ, either way."""

MAX_TOKEN_CHARS = 4_096
MAX_REMEMBERED = 65_536
"""Tokens that are remembered; beyond it the oldest is forgotten early (180 calls a second would be needed)."""

_MAX_TIME_S = 1 << 40
# What PyJWT would hold against its own clock, or against an audience that is not there, is checked here or not at all.
_NO_CLAIMS: Any = {f"verify_{claim}": False for claim in ("exp", "nbf", "iat", "aud", "iss", "sub", "jti")}
_UNVERIFIED: Any = {**_NO_CLAIMS, "verify_signature": False}


class VonageAuthenticator(Authenticator):
    """Admits the site's custom value, or a JWT that is fresh, unused and signed for a known API key.

    secrets: API key → signature secret, and `authorization` → custom value. Tokens are remembered by this process.
    """

    def __init__(self, config: CarrierConfig) -> None:
        self._custom = config.secrets.get(CUSTOM)
        self._keys = {name: secret for name, secret in config.secrets.items() if name != CUSTOM}
        self._application_id = config.options.get("application_id")
        self._used: OrderedDict[tuple[str, str], float] = OrderedDict()

    def check(self, request: UpgradeRequest, now_s: float) -> None:
        """Admit a request by its `Authorization` header.

        Raises:
            RefusedError: 401, no or wrong credentials, too old, or used before; 403, of another application.
        """
        given = request.headers.get("authorization", "")
        if not given:
            raise _unauthorized("expected the header Authorization")
        if self._custom is not None and same_secret(given, self._custom):
            return
        scheme, _, token = given.partition(" ")
        if not self._keys or scheme.lower() != "bearer":
            raise _unauthorized("the value of Authorization is not known")
        claims = self._verified(token.strip())
        api_key, jti = claims["api_key"], claims.get("jti")
        if claims.get("iss") != ISSUER:
            raise _unauthorized(f"the token is not issued by {ISSUER}")
        _check_times(claims, now_s)
        if not isinstance(jti, str) or not 1 <= len(jti) <= 128:
            raise _unauthorized("the token has no jti")
        if self._application_id is not None and claims.get("application_id") != self._application_id:
            raise RefusedError(403, "forbidden", "the token is of another application")
        self._use((api_key, jti), now_s)

    def _verified(self, token: str) -> Mapping[str, Any]:
        """The claims of a token whose signature holds; the claim `api_key` is one of ours."""
        if len(token) > MAX_TOKEN_CHARS:
            raise _unauthorized("the token is too long")
        try:
            unverified = jwt.decode_complete(token, options=_UNVERIFIED)
            header = unverified["header"]
            if header.get("alg") != "HS256" or str(header.get("typ", "JWT")).upper() != "JWT":
                raise _unauthorized("the token is not signed with HS256")
            api_key = unverified["payload"].get("api_key")
            secret = self._keys.get(api_key) if isinstance(api_key, str) else None
            if secret is None:
                raise _unauthorized("the token's api_key is not configured")
            claims: dict[str, Any] = jwt.decode(token, secret, algorithms=["HS256"], options=_NO_CLAIMS)
        except (jwt.PyJWTError, ValueError, RecursionError):
            raise _unauthorized("the token is malformed or its signature does not hold") from None
        return claims

    def _use(self, token: tuple[str, str], now_s: float) -> None:
        while self._used and next(iter(self._used.values())) <= now_s:
            self._used.popitem(last=False)
        if token in self._used:
            raise _unauthorized("the token was used before")
        if len(self._used) >= MAX_REMEMBERED:
            self._used.popitem(last=False)
        # No token admitted now is still fresh after this.
        self._used[token] = now_s + MAX_AGE_S + 3 * SKEW_S


def _check_times(claims: Mapping[str, Any], now_s: float) -> None:
    """`iat` is required, within five minutes; `exp` and `nbf` are not documented but count where they are."""
    issued_s = _time(claims.get("iat"))
    if issued_s is None or not -SKEW_S <= now_s - issued_s <= MAX_AGE_S + SKEW_S:
        raise _unauthorized("the token is not of the last five minutes, or has no iat")
    for name, side in (("exp", -1), ("nbf", 1)):
        if name in claims:
            at_s = _time(claims[name])
            if at_s is None or side * (at_s - now_s) > SKEW_S:
                raise _unauthorized(f"the token's {name} does not allow it now")


def _time(value: object) -> float | None:
    """Seconds since the epoch; NaN, infinity and what is beyond belief are none."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= _MAX_TIME_S:
        return None
    return float(value)


def _unauthorized(detail: str) -> RefusedError:
    return RefusedError(401, "unauthorized", detail)
