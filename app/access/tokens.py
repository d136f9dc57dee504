"""Signed tokens (JWT, RFC 7519) of one issuer, checked as RFC 8725 asks."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import jwt

from app.access.jwks import ALGORITHMS, Jwks
from app.access.keys import KeyFormatError, known_tenant
from app.access.principal import Principal, Scope
from app.access.refusal import Reason, Refusal
from app.telemetry.clock import Clock

MAX_SUBJECT_CHARS = 128
MAX_KEY_ID_CHARS = 256
MAX_AUDIENCES = 64
ISSUER_KEY = "token"
"""The `key_id` of everybody who came with a token: there is one issuer."""

_TYPES = frozenset(("jwt", "at+jwt", "application/at+jwt"))
# PyJWT would take the time from the machine's clock; the claims are checked here, against the clock that was given.
_NO_CLAIMS: Any = {f"verify_{claim}": False for claim in ("exp", "nbf", "iat", "aud", "iss", "sub", "jti")}


@dataclass(frozen=True, slots=True)
class TokenRules:
    """What a token must say.

    issuer, audience: expected in `iss` and `aud`. skew_s: by so much clocks may differ, either way. tenant_claim,
    scope_claim: names of the claims that say whose data and what may be done with it. algorithms: of `ALGORITHMS`.
    """

    issuer: str
    audience: str
    skew_s: float = 60.0
    tenant_claim: str = "tenant"
    scope_claim: str = "scope"
    algorithms: tuple[str, ...] = ALGORITHMS


@dataclass(frozen=True, slots=True)
class Verified:
    """Who came with a token, and until when it holds (epoch seconds)."""

    principal: Principal
    until: float


class TokenVerifier:
    """Admits tokens that the issuer signed."""

    def __init__(self, jwks: Jwks, rules: TokenRules, clock: Clock) -> None:
        """Takes the rules.

        Raises:
            ValueError: an algorithm that is not among `ALGORITHMS`.
        """
        if not rules.algorithms or not set(rules.algorithms) <= set(ALGORITHMS):
            raise ValueError(f"expected some of {', '.join(ALGORITHMS)}")
        self._jwks = jwks
        self._rules = rules
        self._clock = clock

    async def verify(self, token: str, *, fetch: bool = True) -> Verified | Refusal:
        """Who presents the token. fetch: the issuer's keys may be fetched where the token names one not at hand."""
        signer = self._signer(token)
        if isinstance(signer, Refusal):
            return signer
        key_id, algorithm = signer
        key = await self._jwks.find(key_id, algorithm, fetch=fetch)
        if key is None:
            if not self._jwks.available:
                return Refusal(Reason.UNVERIFIABLE, max(1.0, self._jwks.retry_after_s()))
            return Refusal(Reason.UNKNOWN_SIGNER)
        try:
            claims: Mapping[str, Any] = jwt.decode(token, key, algorithms=[algorithm], options=_NO_CLAIMS)
        except (jwt.PyJWTError, ValueError, TypeError, RecursionError):
            return Refusal(Reason.BAD_TOKEN)
        return self._admit(claims, self._clock.now())

    async def close(self) -> None:
        """Stops what goes on in the background."""
        await self._jwks.close()

    def _signer(self, token: str) -> tuple[str, str] | Refusal:
        """The key id and the algorithm that the token names; not verified yet."""
        try:
            header = jwt.get_unverified_header(token)
        except (jwt.PyJWTError, ValueError, TypeError, RecursionError):
            return Refusal(Reason.BAD_TOKEN)
        algorithm, key_id, kind = header.get("alg"), header.get("kid"), header.get("typ", "JWT")
        if algorithm not in self._rules.algorithms:
            return Refusal(Reason.WRONG_ALGORITHM)
        if not isinstance(kind, str) or kind.lower() not in _TYPES or "crit" in header or "b64" in header:
            return Refusal(Reason.BAD_TOKEN)
        if not isinstance(key_id, str) or not 1 <= len(key_id) <= MAX_KEY_ID_CHARS:
            return Refusal(Reason.UNKNOWN_SIGNER)
        return key_id, algorithm

    def _admit(self, claims: Mapping[str, Any], now: float) -> Verified | Refusal:
        rules = self._rules
        expires_at = _time(claims.get("exp"))
        if expires_at is None:
            return Refusal(Reason.BAD_TOKEN)
        if now >= expires_at + rules.skew_s:
            return Refusal(Reason.EXPIRED_TOKEN)
        for name in ("nbf", "iat"):
            if name in claims:
                begins_at = _time(claims[name])
                if begins_at is None:
                    return Refusal(Reason.BAD_TOKEN)
                if now < begins_at - rules.skew_s:
                    return Refusal(Reason.EARLY_TOKEN)
        if claims.get("iss") != rules.issuer:
            return Refusal(Reason.WRONG_ISSUER)
        if rules.audience not in _texts(claims.get("aud"), split=False):
            return Refusal(Reason.WRONG_AUDIENCE)
        principal = self._principal(claims)
        return principal if isinstance(principal, Refusal) else Verified(principal, expires_at + rules.skew_s)

    def _principal(self, claims: Mapping[str, Any]) -> Principal | Refusal:
        subject = claims.get("sub")
        if not isinstance(subject, str) or not 1 <= len(subject) <= MAX_SUBJECT_CHARS:
            return Refusal(Reason.BAD_TOKEN)
        try:
            tenant = known_tenant(claims.get(self._rules.tenant_claim))
        except KeyFormatError:
            return Refusal(Reason.WRONG_TENANT)
        granted = _texts(claims.get(self._rules.scope_claim), split=True)
        return Principal(tenant, subject, frozenset(scope for scope in Scope if scope in granted), ISSUER_KEY)


def _texts(value: object, *, split: bool) -> frozenset[str]:
    """A claim that is one text (split at blanks, if told to) or a list of texts; anything else holds none."""
    if isinstance(value, str):
        return frozenset(value.split() if split else [value])
    if isinstance(value, list) and len(value) <= MAX_AUDIENCES:
        return frozenset(item for item in value if isinstance(item, str))
    return frozenset()


def _time(value: object) -> float | None:
    """Seconds since the epoch; not a number, infinity and what is beyond belief are none."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    return float(value) if 0 <= value < 1 << 40 else None
