"""Keys are compared, never shown, and found in either header."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from starlette.datastructures import Headers

from app.api.auth import KeyRing, presented_key, same_origin

KEYS = ["first-key-of-the-site", "second-key-of-the-site"]


@pytest.mark.parametrize(
    ("headers", "admitted"),
    [
        ({}, False),
        ({"authorization": f"Bearer {KEYS[0]}"}, True),
        ({"authorization": f"bearer  {KEYS[1]} "}, True),
        ({"x-api-key": KEYS[1]}, True),
        ({"authorization": "Bearer ", "x-api-key": KEYS[0]}, True),
        ({"authorization": f"Basic {KEYS[0]}"}, False),
        ({"authorization": f"Bearer {KEYS[0]}x"}, False),
        ({"x-api-key": ""}, False),
    ],
)
def test_one_of_the_keys_opens(headers: dict[str, str], admitted: bool) -> None:
    """Bearer or X-API-Key, the whole key, nothing else."""
    assert KeyRing(KEYS).admits(Headers(headers)) is admitted


def test_without_keys_everybody_is_admitted() -> None:
    """Development needs no key."""
    assert KeyRing([]).admits(Headers({}))


@given(st.text(st.characters(max_codepoint=255, exclude_characters="\r\n\0")))
def test_any_header_value_is_an_answer_not_an_error(value: str) -> None:
    """Whatever bytes a client sends as a key, it is just not admitted."""
    raw = [(b"x-api-key", value.encode("latin-1"))]
    assert not KeyRing(KEYS).admits(Headers(raw=raw))
    assert presented_key(Headers(raw=raw)) == value


def test_a_ring_does_not_hold_the_keys_themselves() -> None:
    """Only digests stay, so a dump of the object shows no secret."""
    assert not any(key in repr(vars(KeyRing(KEYS))) for key in KEYS)


@pytest.mark.parametrize(
    ("headers", "same"),
    [
        ({"host": "127.0.0.1:8000"}, True),
        ({"host": "127.0.0.1:8000", "origin": "http://127.0.0.1:8000"}, True),
        ({"host": "Calls.example", "origin": "https://calls.example"}, True),
        ({"host": "127.0.0.1:8000", "origin": "http://127.0.0.1:9000"}, False),
        ({"host": "127.0.0.1:8000", "origin": "null"}, False),
    ],
)
def test_origins_are_compared_with_the_host(headers: dict[str, str], same: bool) -> None:
    """A page of this very service, or no page at all."""
    assert same_origin(Headers(headers)) is same
