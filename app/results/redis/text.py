"""JSON as it lies in Redis."""

from __future__ import annotations

import json
from typing import Any

import orjson


def dumps(value: Any) -> str:
    """A JSON-ready value as text; also integers beyond 64 bits and texts that are not valid Unicode."""
    try:
        return orjson.dumps(value).decode()
    except TypeError:
        return json.dumps(value, separators=(",", ":"))


def loads(text: str) -> Any:
    """The value of which `dumps` made this."""
    try:
        return orjson.loads(text)
    except ValueError:
        return json.loads(text)
