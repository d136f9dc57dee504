"""Why somebody was not let in."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class Reason(StrEnum):
    """Every reason there is: the values of the label `reason` of `kowairo_access_refused_total`."""

    NO_CREDENTIALS = "no_credentials"
    AMBIGUOUS = "ambiguous"
    SECRET_IN_QUERY = "secret_in_query"  # noqa: S105 (a name, not a secret)
    MALFORMED = "malformed"
    UNKNOWN_KEY = "unknown_key"
    EXPIRED_KEY = "expired_key"
    REVOKED_KEY = "revoked_key"
    BAD_TOKEN = "bad_token"  # noqa: S105 (a name, not a secret)
    EXPIRED_TOKEN = "expired_token"  # noqa: S105 (a name, not a secret)
    EARLY_TOKEN = "early_token"  # noqa: S105 (a name, not a secret)
    WRONG_ALGORITHM = "wrong_algorithm"
    WRONG_AUDIENCE = "wrong_audience"
    WRONG_ISSUER = "wrong_issuer"
    WRONG_TENANT = "wrong_tenant"
    UNKNOWN_SIGNER = "unknown_signer"
    UNVERIFIABLE = "unverifiable"
    TOO_MANY_FAILURES = "too_many_failures"
    RATE_LIMITED = "rate_limited"
    MISSING_SCOPE = "missing_scope"
    FOREIGN_ORIGIN = "foreign_origin"


_DETAILS = {
    Reason.NO_CREDENTIALS: "expected 'Authorization: Bearer <key or token>' or 'X-API-Key: <key>'",
    Reason.AMBIGUOUS: "expected one credential; several that differ were sent",
    Reason.SECRET_IN_QUERY: (
        "a key or token in an address ends up in logs: send it as 'Authorization: Bearer', and replace this one"
    ),
    Reason.MALFORMED: "expected an API key or a signed token (JWT) of at most 8192 characters",
    Reason.UNKNOWN_KEY: "the key is not known",
    Reason.EXPIRED_KEY: "the key has expired",
    Reason.REVOKED_KEY: "the key was revoked",
    Reason.BAD_TOKEN: "the token is malformed, or its signature does not hold",
    Reason.EXPIRED_TOKEN: "the token has expired",
    Reason.EARLY_TOKEN: "the token is not valid yet; is a clock wrong?",
    Reason.WRONG_ALGORITHM: "the token is signed with an algorithm that is not accepted here",
    Reason.WRONG_AUDIENCE: "the token is for somebody else (aud)",
    Reason.WRONG_ISSUER: "the token is issued by somebody else (iss)",
    Reason.WRONG_TENANT: "the token names no tenant, or none that can be one",
    Reason.UNKNOWN_SIGNER: "the token is signed with a key that its issuer does not publish",
    Reason.UNVERIFIABLE: "the credentials cannot be checked at the moment; try again",
    Reason.TOO_MANY_FAILURES: "too many wrong credentials came from this address; try again later",
    Reason.RATE_LIMITED: "too many requests came with these credentials; try again later",
    Reason.MISSING_SCOPE: "the credentials do not reach so far",
    Reason.FOREIGN_ORIGIN: "pages of other sites may not connect",
}


@dataclass(frozen=True, slots=True)
class Refusal:
    """Somebody is not let in. retry_after_s: when trying again may help, None where it will not."""

    reason: Reason
    retry_after_s: float | None = None

    @property
    def detail(self) -> str:
        """For whoever was refused; says nothing of what is right."""
        return _DETAILS[self.reason]

    @property
    def guessed(self) -> bool:
        """Whether this is what somebody who guesses would get: counts against their address."""
        return self.reason in _GUESSES


_GUESSES = frozenset(
    {
        Reason.MALFORMED,
        Reason.UNKNOWN_KEY,
        Reason.BAD_TOKEN,
        Reason.WRONG_ALGORITHM,
        Reason.UNKNOWN_SIGNER,
    }
)
