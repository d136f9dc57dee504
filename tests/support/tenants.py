"""Tenants with keys, in a keys file: whoever wants to walk through the service as one of two."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from app.access.credentials import BEARER_SUBPROTOCOL, SUBPROTOCOL
from app.access.keyfile import add_to_file
from app.access.keys import new_key
from app.access.principal import Scope

EVERYTHING = frozenset(Scope)
MADE_AT = 1_600_000_000.0
"""Before the present, and before where `FakeClock` begins."""


@dataclass(frozen=True, slots=True)
class Tenant:
    """A tenant and its keys, by what they may do: one for everything, one for each scope alone."""

    name: str
    keys: dict[frozenset[Scope], str]

    def key(self, *scopes: Scope) -> str:
        """The key with exactly this scope; with everything, if none is named."""
        return self.keys[frozenset(scopes) or EVERYTHING]

    def headers(self, *scopes: Scope) -> dict[str, str]:
        """What a request sends to be this tenant."""
        return {"Authorization": f"Bearer {self.key(*scopes)}"}

    def subprotocols(self, *scopes: Scope) -> list[str]:
        """What a browser's socket offers to be this tenant."""
        return [SUBPROTOCOL, BEARER_SUBPROTOCOL + self.key(*scopes)]


@dataclass(frozen=True, slots=True)
class Tenants:
    """Tenants of one keys file."""

    keys_file: Path
    all: tuple[Tenant, ...]

    @property
    def groups(self) -> dict[str, Any]:
        """Groups for `make_settings`: the service knows these tenants and nobody else."""
        return {"auth": {"keys_file": self.keys_file}}


def make_tenants(folder: Path, names: Sequence[str] = ("alpha", "beta")) -> Tenants:
    """Tenants with keys that never expire, in a new keys file of the folder."""
    keys_file = folder / "keys.json"
    tenants = []
    for name in names:
        keys = {}
        for scopes in (EVERYTHING, *(frozenset({scope}) for scope in Scope)):
            key, record = new_key(name, f"{name} test", scopes, now=MADE_AT)
            add_to_file(keys_file, record)
            keys[scopes] = key
        tenants.append(Tenant(name, keys))
    return Tenants(keys_file, tuple(tenants))
