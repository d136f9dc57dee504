"""Names of keys are one to one, and sort as what they stand for."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.results.redis.naming import (
    call_from_cursor,
    digest,
    key_from_cursor,
    key_to_cursor,
    meta_key,
    milliseconds,
    sortable,
    to_cursor,
)
from app.results.store import BadCursorError

ANY_TEXT = st.text(st.characters(exclude_categories=()))


@given(st.floats(allow_nan=False), st.floats(allow_nan=False))
def test_moments_sort_as_text(first: float, second: float) -> None:
    """Texts of numbers compare like the numbers."""
    assert (sortable(first) < sortable(second)) == (first < second)
    assert (sortable(first) == sortable(second)) == (first == second)
    assert len(sortable(first)) == 16


@given(ANY_TEXT, ANY_TEXT)
def test_tenants_share_no_key(first: str, second: str) -> None:
    """No two tenants have a key in common, and each has a hash tag."""
    assert (meta_key(first) == meta_key(second)) == (first == second)
    key = meta_key(first)
    tag = key[key.index("{") + 1 : key.index("}")]
    assert tag
    assert key == f"kowairo:{{{tag}}}:meta"


@given(ANY_TEXT)
def test_cursors_come_back(name: str) -> None:
    """What was made into a cursor is read from it, and from no other text."""
    cursor = key_to_cursor(name)
    assert key_from_cursor(cursor) == name
    assert call_from_cursor(to_cursor(sortable(1.0) + name)) == sortable(1.0) + name
    for other in (cursor + "=", cursor + "A", " " + cursor, cursor[:-1]):
        try:
            assert key_to_cursor(key_from_cursor(other)) == other
        except BadCursorError:
            continue


def test_cursors_of_other_lists_are_refused() -> None:
    """A list of calls takes no cursor of a list of documents, nor the other way round."""
    with pytest.raises(BadCursorError):
        call_from_cursor(key_to_cursor("key"))
    with pytest.raises(BadCursorError):
        key_from_cursor(to_cursor(sortable(1.0) + "call"))


def test_times_to_live_stay_in_bounds() -> None:
    """Nothing lives for less than a millisecond, or longer than Redis can count."""
    assert [milliseconds(seconds) for seconds in (-1.0, 0.0, 0.0001, 1.5)] == [1, 1, 1, 1_500]
    assert (
        milliseconds(1e300)
        == milliseconds(float("inf"))
        == milliseconds(float("nan"))
        == 10 * 365 * 86_400_000
    )


def test_digests_hide_and_tell_apart() -> None:
    """A digest does not hold its text, and differs for another."""
    assert "subject" not in digest("subject")
    assert digest("a") != digest("b")
