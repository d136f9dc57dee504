"""JSON survives its way to Redis and back, also what orjson refuses."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from app.results.redis.text import dumps, loads

NUMBERS = st.integers() | st.floats(allow_nan=False, allow_infinity=False)
JSON: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | NUMBERS | st.text(st.characters(exclude_categories=())),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
)


@settings(max_examples=40)
@given(JSON)
def test_json_survives(value: Any) -> None:
    """Any JSON value is the same when it is read back, large integers and lone surrogates too."""
    assert loads(dumps(value)) == value


def test_what_is_not_json_is_refused() -> None:
    """A value that is not JSON is an error of the caller."""
    with pytest.raises(TypeError):
        dumps({"a": object()})
