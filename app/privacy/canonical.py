"""JSON in one form only, so that it can be hashed and signed (the part of RFC 8785 without fractions)."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

MAX_INTEGER = 2**53 - 1
"""What every reader of JSON reads exactly."""


def canonical(value: Any) -> bytes:
    """A JSON value as bytes: members by name, no spaces, UTF-8.

    Raises:
        ValueError: a fraction, an integer beyond `MAX_INTEGER`, a name that is not ASCII, or no JSON at all.
    """
    _check(value)
    return json.dumps(value, ensure_ascii=False, sort_keys=True, separators=(",", ":")).encode()


def _check(value: Any) -> None:
    match value:
        case None | bool() | str():
            return
        case int():
            if abs(value) > MAX_INTEGER:
                raise ValueError(f"expected an integer of at most {MAX_INTEGER}")
        case Mapping():
            for name, member in value.items():
                if not isinstance(name, str) or not name.isascii():
                    raise ValueError("expected names of ASCII characters")
                _check(member)
        case Sequence() if not isinstance(value, bytes):
            for item in value:
                _check(item)
        case _:
            raise ValueError(f"expected JSON without fractions, got {type(value).__name__}")
