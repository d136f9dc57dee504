"""Cursors of lists: opaque, and good only for the query that gave them."""

from __future__ import annotations

import base64
import binascii
import hashlib

import orjson

from app.results.store import BadCursorError

_DIGEST_BYTES = 6


def seal(place: str | None, *query: object) -> str | None:
    """A store's own cursor as clients get it; None stays None. query: the filters it belongs to, plain JSON values."""
    if place is None:
        return None
    return base64.urlsafe_b64encode(_digest(query) + place.encode()).decode().rstrip("=")


def unseal(cursor: str | None, *query: object) -> str | None:
    """The store's own cursor again.

    Raises:
        BadCursorError: not a cursor, or one of another query.
    """
    if cursor is None:
        return None
    try:
        raw = base64.b64decode(cursor.encode("ascii") + b"=" * (-len(cursor) % 4), b"-_", validate=True)
        digest, place = raw[:_DIGEST_BYTES], raw[_DIGEST_BYTES:].decode()
    except (binascii.Error, ValueError):
        raise BadCursorError("not a cursor") from None
    if digest != _digest(query) or not place:
        raise BadCursorError("a cursor of another query")
    return place


def _digest(query: tuple[object, ...]) -> bytes:
    return hashlib.sha256(orjson.dumps(query)).digest()[:_DIGEST_BYTES]
