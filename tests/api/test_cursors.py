"""A cursor is opaque, and goes with one query."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.api.cursors import seal, unseal
from app.results.store import BadCursorError

parts = st.none() | st.text(max_size=20) | st.integers(-(2**53), 2**53) | st.booleans()


@given(st.text(min_size=1, max_size=300), st.lists(parts, max_size=4))
def test_a_store_gets_its_own_cursor_back(place: str, query: list[object]) -> None:
    """Whatever it looks like; what clients get fits into a URL as it is."""
    sealed = seal(place, *query)
    assert sealed is not None
    assert all(char.isascii() and (char.isalnum() or char in "-_") for char in sealed)
    assert unseal(sealed, *query) == place


@given(st.text(min_size=1, max_size=30), st.lists(parts, max_size=3), st.lists(parts, max_size=3))
def test_a_cursor_of_another_query_is_refused(place: str, one: list[object], other: list[object]) -> None:
    """A page of other filters would have holes."""
    if repr(one) == repr(other):
        return
    with pytest.raises(BadCursorError):
        unseal(seal(place, *one), *other)


@given(st.text(max_size=100))
def test_any_text_is_a_cursor_or_refused(text: str) -> None:
    """No other exception comes out."""
    with pytest.raises(BadCursorError):
        unseal(text, "calls")


def test_no_cursor_stays_none() -> None:
    """The first page has none, the last one gives none."""
    assert seal(None, "calls") is None
    assert unseal(None, "calls") is None
