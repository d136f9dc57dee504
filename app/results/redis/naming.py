"""Names of keys, and values written so that Redis sorts them."""

from __future__ import annotations

import hashlib
import math
import re
import struct
from base64 import urlsafe_b64decode, urlsafe_b64encode
from urllib.parse import quote

from app.results.store import BadCursorError

TENANTS = "kowairo:tenants"
_MAX_MS = 10 * 365 * 86_400_000
_MEMBER = re.compile(r"[0-9a-f]{16}.*", re.DOTALL)
_ENCODED = re.compile(r"[A-Za-z0-9_-]+")


def meta_key(tenant: str) -> str:
    """The key that stands for a tenant; the others begin like it. Two tenants never have one in common."""
    return f"kowairo:{{{quoted(tenant) or '%'}}}:meta"


def owner_key(owner: str) -> str:
    """Where an owner's heartbeat is noted."""
    return f"kowairo:owner:{owner}"


def quoted(name: str) -> str:
    """A name without the characters that part keys."""
    return quote(name, safe="", errors="surrogatepass")


def digest(text: str) -> str:
    """A short name for a text that should not stand in a key."""
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:32]


def sortable(moment: float) -> str:
    """A number as 16 hex digits that sort like it, exactly."""
    bits: int = struct.unpack(">Q", struct.pack(">d", moment + 0.0))[0]
    return f"{bits ^ 0xFFFFFFFFFFFFFFFF if bits >> 63 else bits | 1 << 63:016x}"


def milliseconds(seconds: float) -> int:
    """A time to live as Redis takes it: at least a millisecond, at most ten years."""
    return max(1, math.ceil(seconds * 1_000)) if seconds * 1_000 < _MAX_MS else _MAX_MS


def to_cursor(name: str) -> str:
    """A place in a list, for the client to hand back."""
    return urlsafe_b64encode(name.encode("utf-8", "surrogatepass")).decode("ascii").rstrip("=")


def from_cursor(cursor: str) -> str:
    """The place.

    Raises:
        BadCursorError: `to_cursor` never made this.
    """
    try:
        if not _ENCODED.fullmatch(cursor):
            raise ValueError
        name = urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4)).decode("utf-8", "surrogatepass")
        if to_cursor(name) != cursor:
            raise ValueError
    except ValueError:
        raise BadCursorError("not a cursor of this list") from None
    return name


def call_from_cursor(cursor: str) -> str:
    """The place in a list of calls.

    Raises:
        BadCursorError: no list of calls gave this.
    """
    name = from_cursor(cursor)
    if not _MEMBER.fullmatch(name):
        raise BadCursorError("not a cursor of this list")
    return name


def key_to_cursor(key: str) -> str:
    """A place in a list of documents."""
    return to_cursor(f"={key}")


def key_from_cursor(cursor: str) -> str:
    """The place in a list of documents.

    Raises:
        BadCursorError: no list of documents gave this.
    """
    name = from_cursor(cursor)
    if not name.startswith("="):
        raise BadCursorError("not a cursor of this list")
    return name[1:]
