"""Credentials come in headers or in a browser's subprotocols, one at a time, and never in an address."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.access.credentials import Credential, chosen_subprotocol, presented, secret_in_query
from app.access.refusal import Reason, Refusal
from tests.support.issuer import claims, token

KEY = f"kw_{'a' * 16}_{'b' * 43}"
"""Of the form that `new_key` gives; the same in every run, since test ids hold it."""


class Pairs:
    """Headers in which a name may come twice."""

    def __init__(self, *pairs: tuple[str, str]) -> None:
        self._pairs = pairs

    def items(self) -> tuple[tuple[str, str], ...]:
        """Every name with its value."""
        return self._pairs


@pytest.mark.parametrize(
    ("pairs", "found"),
    [
        ([], None),
        ([("authorization", "Bearer k")], Credential("k", True)),
        ([("Authorization", "bearer   k ")], Credential("k", True)),
        ([("x-api-key", " k ")], Credential("k", False)),
        ([("authorization", "Bearer "), ("x-api-key", "k")], Credential("k", False)),
        ([("authorization", "Basic abc")], None),
        ([("authorization", "Basic abc"), ("x-api-key", "k")], Credential("k", False)),
        ([("x-api-key", "")], None),
        ([("authorization", "Bearer k"), ("x-api-key", "k")], Credential("k", True)),
        ([("authorization", "Bearer k"), ("x-api-key", "l")], Refusal(Reason.AMBIGUOUS)),
        ([("authorization", "Bearer k"), ("authorization", "Bearer l")], Refusal(Reason.AMBIGUOUS)),
        ([("sec-websocket-protocol", "kowairo, bearer.k")], Credential("k", True)),
        ([("sec-websocket-protocol", "bearer.k,kowairo")], Credential("k", True)),
        (
            [("sec-websocket-protocol", "kowairo"), ("sec-websocket-protocol", "bearer.k")],
            None,
        ),
        ([("sec-websocket-protocol", "bearer.k")], None),
        ([("sec-websocket-protocol", "kowairo, bearer.")], None),
        ([("sec-websocket-protocol", "kowairo, bearer.k, bearer.l")], Refusal(Reason.AMBIGUOUS)),
        ([("sec-websocket-protocol", "kowairo, bearer.k"), ("x-api-key", "l")], Refusal(Reason.AMBIGUOUS)),
        ([("x-api-key", "k" * 8193)], Refusal(Reason.MALFORMED)),
        ([("cookie", "authorization=Bearer k"), ("x-api-keys", "k")], None),
    ],
)
def test_where_credentials_come_from(pairs: list[tuple[str, str]], found: object) -> None:
    """Two headers and the subprotocols; several that differ are refused."""
    assert presented(Pairs(*pairs)) == found


@given(
    st.lists(st.tuples(st.sampled_from(["authorization", "x-api-key", "sec-websocket-protocol"]), st.text()))
)
def test_any_headers_are_an_answer_not_an_error(pairs: list[tuple[str, str]]) -> None:
    """Whatever a client sends."""
    found = presented(Pairs(*pairs))
    assert found is None or isinstance(found, Credential | Refusal)


def test_a_credential_does_not_show_itself() -> None:
    """Not in a log, not in a traceback."""
    assert KEY not in repr(presented(Pairs(("x-api-key", KEY))))


@pytest.mark.parametrize(
    ("offered", "chosen"),
    [
        (["kowairo", "bearer.k"], "kowairo"),
        (["bearer.k", "kowairo"], "kowairo"),
        (["bearer.k"], None),
        ([], None),
        (["other"], None),
    ],
)
def test_the_secret_is_never_the_chosen_subprotocol(offered: list[str], chosen: str | None) -> None:
    """What is chosen is sent back, and in clear."""
    assert chosen_subprotocol(offered) == chosen


@pytest.mark.parametrize(
    "query",
    [
        "token=abc",
        "a=1&access_token=abc",
        "API_KEY=abc",
        "api%5Fkey=abc",
        f"x={KEY}",
        f"{KEY}",
        f"x=%6Bw{KEY[2:]}",
        f"x={token(claims())}",
        "authorization=Bearer+x",
    ],
)
def test_a_secret_in_an_address_is_noticed(query: str) -> None:
    """By its name, or by its form, however it is written."""
    assert secret_in_query(query)


@pytest.mark.parametrize(
    "query",
    ["", "limit=5", "cursor=eyJhIjoxfQ", "line=kw_sales", "token=", "call_id=token", "a;b", "&" * 500],
)
def test_other_queries_are_not(query: str) -> None:
    """A cursor or a line that looks a little like one is none."""
    assert not secret_in_query(query)


@given(st.text())
def test_any_query_is_an_answer(query: str) -> None:
    """No text breaks the check."""
    assert secret_in_query(query) in (True, False)
