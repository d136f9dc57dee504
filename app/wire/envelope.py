"""What carriers' JSON messages have in common: objects, fields, numbers as text, base64."""

from __future__ import annotations

import binascii
from collections.abc import Mapping

import orjson

from app.wire.base import CloseCode, WireError

MAX_TEXT_BYTES = 64 * 1024
"""The largest text message of a carrier; theirs are of a few hundred bytes."""

MAX_NUMBER = 1 << 48
"""The largest clock or counter that is believed."""


def too_big(limit: int) -> WireError:
    """A message exceeds the limit."""
    return WireError(
        "message_too_big",
        "A message is too big",
        f"expected at most {limit} bytes a message",
        CloseCode.TOO_BIG,
    )


def invalid(where: str, expected: str) -> WireError:
    """A field is missing or holds something else; what came is not repeated."""
    return WireError(
        "invalid_field", "A field has a wrong value", f"{where}: expected {expected}", CloseCode.INVALID
    )


def unsupported(where: str, expected: str) -> WireError:
    """A field asks for what this service cannot do."""
    return WireError(
        "unsupported", "Something is asked that is not supported", f"{where}: expected {expected}",
        CloseCode.UNSUPPORTED,
    )  # fmt: skip


def out_of_order(detail: str) -> WireError:
    """A message came when it may not."""
    return WireError("out_of_order", "A message came out of its order", detail, CloseCode.POLICY)


def unauthorized(detail: str) -> WireError:
    """The first message did not show the secret that is asked for."""
    return WireError("unauthorized", "Valid credentials are needed", detail, CloseCode.POLICY)


def parse_object(text: str, max_bytes: int = MAX_TEXT_BYTES) -> dict[str, object]:
    """A text message as a JSON object.

    Raises:
        WireError: `message_too_big`, `invalid_json`.
    """
    if len(text) > max_bytes:
        raise too_big(max_bytes)
    try:
        message = orjson.loads(text)
    except (orjson.JSONDecodeError, UnicodeEncodeError) as error:
        raise not_json() from error
    if not isinstance(message, dict):
        raise not_json()
    return message


def not_json() -> WireError:
    """A text message is no JSON object."""
    return WireError(
        "invalid_json", "A message is not a JSON object", "expected a JSON object", CloseCode.INVALID
    )


def object_field(message: Mapping[str, object], name: str) -> dict[str, object]:
    """A member that must be an object.

    Raises:
        WireError: `invalid_field`.
    """
    value = message.get(name)
    if not isinstance(value, dict):
        raise invalid(name, "an object")
    return value


def text_field(message: Mapping[str, object], name: str, max_chars: int = 256) -> str:
    """A member that must be text of at least one character.

    Raises:
        WireError: `invalid_field`.
    """
    value = message.get(name)
    if not isinstance(value, str) or not 1 <= len(value) <= max_chars:
        raise invalid(name, f"text of 1 to {max_chars} characters")
    return value


def optional_text(message: Mapping[str, object], name: str, max_chars: int = 256) -> str | None:
    """A member that may be text; anything else, or too much of it, counts as absent."""
    value = message.get(name)
    return value if isinstance(value, str) and 1 <= len(value) <= max_chars else None


def number_field(message: Mapping[str, object], name: str) -> int:
    """A whole number from 0 to `MAX_NUMBER`, written as a number or as text.

    Raises:
        WireError: `invalid_field`.
    """
    value = message.get(name)
    if isinstance(value, str) and value.isascii() and value.isdigit() and len(value) <= 16:
        value = int(value)
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value <= MAX_NUMBER:
        raise invalid(name, "a whole number")
    return value


def base64_field(message: Mapping[str, object], name: str) -> bytes:
    """A member that must be base64 text (RFC 4648 §4, padded); empty is nothing.

    Raises:
        WireError: `invalid_field`.
    """
    value = message.get(name)
    if not isinstance(value, str):
        raise invalid(name, "base64 text")
    try:
        return binascii.a2b_base64(value, strict_mode=True) if value else b""
    except (binascii.Error, ValueError) as error:
        raise invalid(name, "base64 text") from error


def dtmf_digit(value: object) -> str | None:
    """A key of a telephone as one character, or None where it is none."""
    if isinstance(value, int) and not isinstance(value, bool):
        value = str(value)
    return (
        value.upper()
        if isinstance(value, str) and len(value) == 1 and value in "0123456789*#ABCDabcd"
        else None
    )
