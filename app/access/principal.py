"""Who somebody is, once their credentials were checked."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from app.domain import DEFAULT_TENANT


class Scope(StrEnum):
    """What a principal may do."""

    INGEST = "ingest"
    READ_SCORES = "read:scores"
    READ_STATS = "read:stats"
    LABEL = "label"
    ERASE = "erase"
    ADMIN = "admin"


@dataclass(frozen=True, slots=True)
class Principal:
    """Somebody who was let in. tenant: whose data they see, and nothing else of anybody's.

    subject: who they are, as far as the credentials say; goes to the audit log and nowhere else. key_id: of the key
    or the token's issuer, for limits.
    """

    tenant: str
    subject: str
    scopes: frozenset[Scope]
    key_id: str

    def may(self, scope: Scope) -> bool:
        """Whether the scope was granted; `admin` does not include the others."""
        return scope in self.scopes


SITE = Principal(DEFAULT_TENANT, "site", frozenset(Scope), "site")
"""Everybody, where no credentials are configured; and the holder of a plain site key."""
