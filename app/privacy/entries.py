"""What an audit log holds."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any
from uuid import uuid4

from app.access.principal import Principal
from app.records import epoch_s, rfc3339

SERVICE = "service"
"""Who did what nobody asked for."""
MAX_CHARS = 256


def fresh_id() -> str:
    """What tells an entry from every other."""
    return uuid4().hex


@dataclass(frozen=True, slots=True)
class AuditEntry:
    """One thing that somebody did.

    at, until: epoch seconds; `count` times between them. who, key_id: of the principal. action: a static name.
    object: a pseudonym of a call or a subject, or what names nobody (`line:trunk`, `*`). outcome: a static name.
    """

    tenant: str
    who: str
    key_id: str
    action: str
    object: str
    outcome: str
    at: float
    count: int = 1
    until: float | None = None
    detail: Mapping[str, Any] | None = None
    id: str = field(default_factory=fresh_id)

    @classmethod
    def by(
        cls, principal: Principal, action: str, about: str, outcome: str, at: float, **more: Any
    ) -> AuditEntry:
        """What a principal did."""
        return cls(
            principal.tenant,
            _text(principal.subject),
            _text(principal.key_id),
            action,
            about,
            outcome,
            at,
            **more,
        )

    @property
    def sameness(self) -> tuple[str, ...]:
        """What repeats have in common."""
        return (self.tenant, self.who, self.key_id, self.action, self.object, self.outcome)

    def body(self) -> dict[str, Any]:
        """As it is written."""
        return {
            "id": self.id,
            "at": rfc3339(self.at),
            "until": None if self.until is None else rfc3339(self.until),
            "count": self.count,
            "who": self.who,
            "key_id": self.key_id,
            "action": self.action,
            "object": self.object,
            "outcome": self.outcome,
            "detail": None if self.detail is None else dict(self.detail),
        }


@dataclass(frozen=True, slots=True)
class AuditQuery:
    """Which entries to list; None does not filter. since, until: of `at`, epoch seconds, [since, until)."""

    action: str | None = None
    object: str | None = None
    since: float | None = None
    until: float | None = None

    def matches(self, value: Mapping[str, Any]) -> bool:
        """Whether an entry is wanted."""
        at = epoch_s(value["at"])
        return (
            (self.action is None or value["action"] == self.action)
            and (self.object is None or value["object"] == self.object)
            and (self.since is None or at >= self.since)
            and (self.until is None or at < self.until)
        )


def _text(text: str) -> str:
    """What credentials say, as text that can be written anywhere."""
    return text[:MAX_CHARS].encode("utf-8", "replace").decode()
