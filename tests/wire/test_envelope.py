"""The JSON envelope of carriers: objects, fields, numbers as text, base64, keys."""

from __future__ import annotations

import base64
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.wire.base import CloseCode, WireError
from app.wire.envelope import (
    MAX_NUMBER,
    MAX_TEXT_BYTES,
    base64_field,
    dtmf_digit,
    number_field,
    object_field,
    optional_text,
    out_of_order,
    parse_object,
    text_field,
    unauthorized,
    unsupported,
)

JUNK = [None, True, False, 0, -1, 1.5, "", "s3cret", [], ["s3cret"], {}, {"s3cret": 1}]


def refused(call: Callable[..., Any], *arguments: Any) -> WireError:
    """The error a call raises."""
    with pytest.raises(WireError) as caught:
        call(*arguments)
    assert "s3cret" not in str(caught.value)
    return caught.value


def test_an_object_is_read() -> None:
    """Members of any kind pass, also beyond ASCII."""
    assert parse_object('{"a":[1,null],"é":"☎"}') == {"a": [1, None], "é": "☎"}


@pytest.mark.parametrize(
    "text", ["", " ", "s3cret", "[]", "1", "null", '"s3cret"', '{"a":1', '{"a":NaN}', "\ud800", "[" * 9_999]
)
def test_what_is_no_object_is_refused(text: str) -> None:
    """Neither JSON of another kind, nor text that cannot be encoded, nor nesting without end."""
    error = refused(parse_object, text)
    assert (error.code, error.close_code) == ("invalid_json", CloseCode.INVALID)


def test_size_is_bounded() -> None:
    """The limit itself passes, one more does not, whatever it holds."""
    assert parse_object("{}" + " " * (MAX_TEXT_BYTES - 2)) == {}
    error = refused(parse_object, " " * (MAX_TEXT_BYTES + 1))
    assert (error.code, error.close_code) == ("message_too_big", CloseCode.TOO_BIG)
    assert refused(parse_object, "{} ", 2).code == "message_too_big"


@pytest.mark.parametrize("value", [junk for junk in JUNK if not isinstance(junk, dict)])
def test_an_object_field_must_be_one(value: object) -> None:
    """Missing and null are the same."""
    assert refused(object_field, {"a": value}, "a").code == "invalid_field"
    assert refused(object_field, {}, "a").detail == "a: expected an object"
    assert object_field({"a": {"b": value}}, "a") == {"b": value}


@pytest.mark.parametrize("value", [junk for junk in JUNK if junk != "s3cret"])
def test_text_must_be_text_within_bounds(value: object) -> None:
    """What is required is refused, what is optional counts as absent."""
    assert refused(text_field, {"a": value}, "a").code == "invalid_field"
    assert optional_text({"a": value}, "a") is None


def test_the_length_of_text_is_bounded() -> None:
    """In characters, the limit included."""
    assert text_field({"a": "xyz"}, "a", 3) == optional_text({"a": "xyz"}, "a", 3) == "xyz"
    assert refused(text_field, {"a": "xyzz"}, "a", 3).detail == "a: expected text of 1 to 3 characters"
    assert optional_text({"a": "xyzz"}, "a", 3) is None


@pytest.mark.parametrize("value", [0, 7, MAX_NUMBER, "0", "007", str(MAX_NUMBER)])
def test_numbers_may_be_text(value: Any) -> None:
    """Twilio and Telnyx write them so; leading zeros do no harm."""
    assert number_field({"a": value}, "a") == int(value)


@pytest.mark.parametrize(
    "value",
    [
        None,
        True,
        -1,
        1.0,
        MAX_NUMBER + 1,
        str(MAX_NUMBER + 1),
        "",
        "-1",
        "+1",
        "1.0",
        " 1",
        "1_0",
        "٣",
        "²",
        "9" * 17,
        [],
        {},
    ],
)
def test_what_is_no_number_is_refused(value: object) -> None:
    """Signs, fractions, other digits and what is beyond belief."""
    error = refused(number_field, {"a": value}, "a")
    assert (error.code, error.close_code) == ("invalid_field", CloseCode.INVALID)


@given(st.binary(max_size=400))
def test_base64_is_undone(payload: bytes) -> None:
    """Whatever was encoded comes back."""
    assert base64_field({"a": base64.b64encode(payload).decode()}, "a") == payload


@pytest.mark.parametrize(
    "value",
    [
        None,
        1,
        [],
        "s3cret!",
        "/w",
        "/w=",
        "/w===",
        "=",
        "/w==/w==",
        "/w==\n",
        " /w==",
        "-_-_",
        "/w=\u00e9",
        "\ud800",
        "A",
    ],
)
def test_what_is_no_base64_is_refused(value: object) -> None:
    """Strictly: padded, one alphabet, nothing between or after."""
    assert refused(base64_field, {"a": value}, "a").code == "invalid_field"


@pytest.mark.parametrize(
    ("value", "digit"),
    [
        ("0", "0"), ("9", "9"), ("*", "*"), ("#", "#"), ("A", "A"), ("d", "D"), (5, "5"),
        ("", None), ("10", None), ("E", None), (10, None), (-1, None), (True, None), (5.0, None), (None, None),
        ([], None), ("٣", None),
    ],
)  # fmt: skip
def test_keys_of_a_telephone(value: object, digit: str | None) -> None:
    """Sixteen keys, as text or as a number."""
    assert dtmf_digit(value) == digit


def test_errors_have_stable_codes() -> None:
    """Code and close code are what clients program against."""
    errors = [unsupported("rate", "8000"), out_of_order("later"), unauthorized("no")]
    assert [(error.code, error.close_code) for error in errors] == [
        ("unsupported", CloseCode.UNSUPPORTED),
        ("out_of_order", CloseCode.POLICY),
        ("unauthorized", CloseCode.POLICY),
    ]
    assert errors[0].detail == "rate: expected 8000"
