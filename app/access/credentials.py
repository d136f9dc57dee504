"""What a client presents, and where: two headers, or the subprotocols of a browser's socket. Never an address."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Protocol
from urllib.parse import parse_qsl

from app.access.refusal import Reason, Refusal

API_KEY_HEADER = "x-api-key"
SUBPROTOCOL = "kowairo"
"""The subprotocol that is chosen where a client offers it."""

BEARER_SUBPROTOCOL = "bearer."
"""What a browser, which cannot set headers on a socket, puts before its key or token, beside `kowairo`."""

MAX_CREDENTIAL_CHARS = 8_192

_SECRET_NAMES = frozenset(
    ("api_key", "apikey", "api-key", "x-api-key", "access_token", "token", "authorization", "bearer", "jwt")
)
_SECRET_FORM = re.compile(r"kw_[a-z2-7]{16}_|eyJ[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]*\.")


class HeaderLike(Protocol):
    """Headers of a request or of an upgrade; a name may come more than once, in any case."""

    def items(self) -> Iterable[tuple[str, str]]:
        """Every name with its value."""
        ...


@dataclass(frozen=True, slots=True)
class Credential:
    """A key or token. bearer: it came where tokens may come."""

    secret: str = field(repr=False)
    bearer: bool


def presented(headers: HeaderLike) -> Credential | Refusal | None:
    """What the client presents: None for nothing. Empty values are nothing; the same secret twice is once.

    Which of several credentials counts is nothing that two parts of a chain should be able to see differently, so
    different ones are refused.
    """
    found = []
    for name, value in headers.items():
        header = name.lower()
        if header == "authorization":
            scheme, _, secret = value.strip().partition(" ")
            if scheme.lower() == "bearer" and secret.strip():
                found.append(Credential(secret.strip(), bearer=True))
        elif header == API_KEY_HEADER and value.strip():
            found.append(Credential(value.strip(), bearer=False))
        elif header == "sec-websocket-protocol":
            found.extend(_from_subprotocols(value))
    if not found:
        return None
    if len({credential.secret for credential in found}) > 1:
        return Refusal(Reason.AMBIGUOUS)
    if len(found[0].secret) > MAX_CREDENTIAL_CHARS:
        return Refusal(Reason.MALFORMED)
    return Credential(found[0].secret, any(credential.bearer for credential in found))


def chosen_subprotocol(offered: Iterable[str]) -> str | None:
    """The subprotocol to answer with: `kowairo` where it is offered; never what carries a secret."""
    return SUBPROTOCOL if SUBPROTOCOL in offered else None


def secret_in_query(query: str) -> bool:
    """Whether the query of an address carries what looks like a key or token, by its name or its form."""
    if _SECRET_FORM.search(query):
        return True
    try:
        pairs = parse_qsl(query, keep_blank_values=False, max_num_fields=100)
    except ValueError:
        return False  # so many fields are nobody's; the route will say what it takes
    return any(name.lower() in _SECRET_NAMES or _SECRET_FORM.search(value) for name, value in pairs)


def _from_subprotocols(value: str) -> list[Credential]:
    offered = [part.strip() for part in value.split(",")]
    if SUBPROTOCOL not in offered:
        return []
    return [
        Credential(part.removeprefix(BEARER_SUBPROTOCOL), bearer=True)
        for part in offered
        if part.startswith(BEARER_SUBPROTOCOL) and part != BEARER_SUBPROTOCOL
    ]
