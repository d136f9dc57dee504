"""API keys: what one looks like, what is kept of it, and whether it holds.

A key is `kw_<key_id>_<secret>`. Kept is the SHA-256 of the whole of it. No salt and no slow hash is needed: those
protect what people choose, and the secret is 256 random bits that nobody can try out; the key id, which is part of
what is hashed, makes every digest one of its own. A slow hash would only let strangers keep the processor busy.
"""

from __future__ import annotations

import hashlib
import hmac
import re
import secrets
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Any

from app.access.principal import Principal, Scope
from app.access.refusal import Reason, Refusal

SITE_TENANT = "_site"
"""Whose keys look after all tenants; has no calls of its own, and no token may claim it."""

KEY_ID_CHARS = 16
SECRET_BYTES = 32
MAX_TIME_S = 7_258_118_400.0
"""The year 2200: times beyond it are a mistake."""

_KEY = re.compile(r"kw_(?P<id>[a-z2-7]{16})_(?P<secret>[A-Za-z0-9_-]{32,128})")
_KEY_ID = re.compile(r"[a-z2-7]{16}")
_TENANT = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
_NAME = re.compile(r"[A-Za-z0-9 ._:@+-]{1,64}")
_DIGEST = re.compile(r"sha256:[0-9a-f]{64}")
_ALPHABET = "abcdefghijklmnopqrstuvwxyz234567"
_MEMBERS = frozenset(
    ("key_id", "tenant", "name", "scopes", "digest", "created_at", "expires_at", "revoked_at", "made_by")
)


class KeyFormatError(ValueError):
    """What is kept of a key cannot be read; the message says what was expected, and holds no secret."""


@dataclass(frozen=True, slots=True)
class KeyRecord:
    """What is kept of a key.

    name: what people call it. digest: `sha256:<hex>` of the whole key. created_at, expires_at, revoked_at: epoch
    seconds; a key without `expires_at` holds until it is revoked. made_by: the id of the key that made it.
    """

    key_id: str
    tenant: str
    name: str
    scopes: frozenset[Scope]
    digest: str = field(repr=False)
    created_at: float
    expires_at: float | None = None
    revoked_at: float | None = None
    made_by: str | None = None

    def verify(self, key: str, now: float) -> Principal | Refusal:
        """Who presents the key. Only who has the whole key learns that it is expired or revoked."""
        if not hmac.compare_digest(digest_of(key), self.digest):
            return Refusal(Reason.UNKNOWN_KEY)
        return self.standing(now)

    def standing(self, now: float) -> Principal | Refusal:
        """Who the holder of the key is at a time."""
        if self.revoked_at is not None and now >= self.revoked_at:
            return Refusal(Reason.REVOKED_KEY)
        if self.expires_at is not None and now >= self.expires_at:
            return Refusal(Reason.EXPIRED_KEY)
        return Principal(self.tenant, self.name, self.scopes, self.key_id)

    def ending(self, at: float) -> KeyRecord:
        """The same key, no longer valid from a time on (or earlier, if it was to end earlier)."""
        return replace(self, expires_at=at if self.expires_at is None else min(at, self.expires_at))

    def to_json(self) -> dict[str, Any]:
        """As the keys file and the store hold it."""
        return {
            "key_id": self.key_id,
            "tenant": self.tenant,
            "name": self.name,
            "scopes": sorted(self.scopes),
            "digest": self.digest,
            "created_at": timestamp(self.created_at),
            "expires_at": None if self.expires_at is None else timestamp(self.expires_at),
            "revoked_at": None if self.revoked_at is None else timestamp(self.revoked_at),
            "made_by": self.made_by,
        }

    @classmethod
    def from_json(cls, members: object) -> KeyRecord:
        """Reads what `to_json` gives; `expires_at`, `revoked_at` and `made_by` may be left out.

        Raises:
            KeyFormatError: a member is missing, unknown, or holds something else.
        """
        if not isinstance(members, Mapping):
            raise KeyFormatError("expected a JSON object for each key")
        if unknown := set(members) - _MEMBERS:
            raise KeyFormatError(
                f"{len(unknown)} members that a key does not have; known: {', '.join(sorted(_MEMBERS))}"
            )
        made_by = members.get("made_by")
        if made_by is not None and not isinstance(made_by, str):
            raise KeyFormatError("made_by: expected text or null")
        created_at = _seconds(members, "created_at")
        if created_at is None:
            raise KeyFormatError("created_at: expected a time such as 2026-01-31T12:00:00Z")
        return cls(
            key_id=_text(members, "key_id", _KEY_ID, "16 of a-z and 2-7"),
            tenant=known_tenant(members.get("tenant"), site=True),
            name=_text(members, "name", _NAME, "1 to 64 letters, digits, blanks and . _ : @ + -"),
            scopes=_scopes(members.get("scopes")),
            digest=_text(members, "digest", _DIGEST, "sha256: and 64 hexadecimal digits"),
            created_at=created_at,
            expires_at=_seconds(members, "expires_at"),
            revoked_at=_seconds(members, "revoked_at"),
            made_by=made_by,
        )


def new_key(
    tenant: str,
    name: str,
    scopes: Iterable[Scope],
    *,
    now: float,
    expires_at: float | None = None,
    made_by: str | None = None,
) -> tuple[str, KeyRecord]:
    """A new key, and what is to be kept of it.

    Raises:
        KeyFormatError: a name that cannot be one, no scope, or a key that is expired already.
    """
    if expires_at is not None and not now < expires_at < MAX_TIME_S:
        raise KeyFormatError("expires_at: expected a time to come, before the year 2200")
    key_id = "".join(secrets.choice(_ALPHABET) for _ in range(KEY_ID_CHARS))
    key = f"kw_{key_id}_{secrets.token_urlsafe(SECRET_BYTES)}"
    record = KeyRecord(
        key_id, tenant, name, frozenset(scopes), digest_of(key), now, expires_at, None, made_by
    )
    return key, KeyRecord.from_json(record.to_json())  # to the millisecond, as it will be read again


def key_id_of(key: str) -> str | None:
    """The id in a key; None of what has not the form of one."""
    found = _KEY.fullmatch(key)
    return None if found is None else found["id"]


def is_key_id(text: str) -> bool:
    """Whether a text has the form of a key id."""
    return _KEY_ID.fullmatch(text) is not None


def digest_of(key: str) -> str:
    """What is kept of a key instead of it; of any text."""
    return f"sha256:{hashlib.sha256(key.encode('utf-8', 'surrogatepass')).hexdigest()}"


def known_tenant(value: object, *, site: bool = False) -> str:
    """A tenant's name. site: `_site` is one too.

    Raises:
        KeyFormatError: this is none.
    """
    if isinstance(value, str) and (_TENANT.fullmatch(value) or (site and value == SITE_TENANT)):
        return value
    raise KeyFormatError("tenant: expected 1 to 64 letters, digits and . _ -, the first a letter or digit")


def parse_scopes(text: str) -> frozenset[Scope]:
    """Scopes as people write them: separated by commas or blanks.

    Raises:
        KeyFormatError: none, or one that is not known.
    """
    return _scopes(text.replace(",", " ").split())


def timestamp(seconds: float) -> str:
    """A time as RFC 3339 in UTC, to the millisecond."""
    moment = datetime.fromtimestamp(seconds, UTC)
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def parse_time(text: str) -> float:
    """A time with its zone, RFC 3339, as epoch seconds.

    Raises:
        KeyFormatError: it is none, or says no zone.
    """
    try:
        moment = datetime.fromisoformat(text)
        if moment.tzinfo is None or not 0 <= moment.timestamp() <= MAX_TIME_S:
            raise ValueError("no zone, or no time of ours")
        return moment.timestamp()
    except (ValueError, OverflowError):
        raise KeyFormatError("expected a time with its zone, such as 2026-01-31T12:00:00Z") from None


def _scopes(value: object) -> frozenset[Scope]:
    if not isinstance(value, list) or not value or not all(isinstance(item, str) for item in value):
        raise KeyFormatError(f"scopes: expected one or more of {', '.join(Scope)}")
    try:
        return frozenset(Scope(item) for item in value)
    except ValueError:
        raise KeyFormatError(f"scopes: expected one or more of {', '.join(Scope)}") from None


def _text(members: Mapping[Any, Any], name: str, form: re.Pattern[str], expected: str) -> str:
    value = members.get(name)
    if not isinstance(value, str) or not form.fullmatch(value):
        raise KeyFormatError(f"{name}: expected {expected}")
    return value


def _seconds(members: Mapping[Any, Any], name: str) -> float | None:
    value = members.get(name)
    if value is None:
        return None
    if not isinstance(value, str):
        raise KeyFormatError(f"{name}: expected a time as text, or null")
    try:
        return parse_time(value)
    except KeyFormatError as error:
        raise KeyFormatError(f"{name}: {error}") from None
