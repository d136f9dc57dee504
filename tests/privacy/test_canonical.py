"""One form of JSON: what is equal has equal bytes, what cannot be read exactly is refused."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.privacy.canonical import MAX_INTEGER, canonical

texts = st.text(st.characters(exclude_categories=("Cs",)))
names = st.text(st.characters(max_codepoint=127))
values = st.recursive(
    st.none() | st.booleans() | st.integers(-MAX_INTEGER, MAX_INTEGER) | texts,
    lambda inner: st.lists(inner) | st.dictionaries(names, inner),
)


@given(values)
def test_it_is_json_and_says_the_same(value: object) -> None:
    """Reading it gives the value back, and writing that gives the same bytes."""
    text = canonical(value)
    assert json.loads(text) == value
    assert canonical(json.loads(text)) == text


def test_order_and_spaces_do_not_matter() -> None:
    """As the examples of RFC 8785 have it."""
    one = json.loads('{ "b": [1, true, null], "a": "\\u20ac\\n" }')
    assert canonical(one) == '{"a":"€\\n","b":[1,true,null]}'.encode()


@pytest.mark.parametrize("value", [1.5, {"é": 1}, {1: 1}, MAX_INTEGER + 1, b"x", object(), [0.0], "\ud800"])
def test_what_has_no_one_form_is_refused(value: object) -> None:
    """Fractions, names in other scripts, integers that some readers round, half characters."""
    with pytest.raises(ValueError):  # noqa: PT011
        canonical(value)
