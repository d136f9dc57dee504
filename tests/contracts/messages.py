"""Messages against the published schemas, strictly: no member that is not named."""

from __future__ import annotations

import json
from collections.abc import Mapping
from functools import cache
from typing import Any

from jsonschema import Draft202012Validator

from app.api.contracts.schemas import message_schemas


@cache
def validators() -> Mapping[str, Draft202012Validator]:
    """By published name."""
    return {name: Draft202012Validator(schema) for name, schema in message_schemas(strict=True).items()}


def check(name: str, message: Any) -> None:
    """Holds a message, as text or as JSON, to its schema."""
    validators()[name].validate(json.loads(message) if isinstance(message, str | bytes) else message)


def check_live(message: str | bytes, *, of_call: bool) -> str:
    """Holds a WebSocket's message of a live feed to the schema of its type; the type."""
    kind: str = json.loads(message)["type"]
    check(_named("live", kind, of_call), message)
    return kind


def check_event(kind: str, data: str | bytes, *, of_call: bool) -> None:
    """Holds a server-sent event to the schema of its type."""
    check(_named("event", kind, of_call), data)


def _named(family: str, kind: str, of_call: bool) -> str:
    name = f"{family}.{kind}"
    return name if of_call or f"{name}.feed" not in validators() else f"{name}.feed"
