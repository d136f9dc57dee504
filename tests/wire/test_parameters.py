"""What a call says of itself: a few names mean something, the rest is metadata within bounds."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.domain import AudioFormat, CallStart, Encoding, Leg
from app.wire.base import CloseCode, WireError
from app.wire.carrier import CarrierConfig
from app.wire.parameters import (
    MAX_NAME_CHARS,
    MAX_PARAMETERS,
    MAX_TOTAL_CHARS,
    MAX_VALUE_CHARS,
    describe,
    query_parameters,
    safe_call_id,
)

FORMAT = AudioFormat(Encoding.PCM_MULAW, 8_000, (Leg.CUSTOMER,))
SITE = CarrierConfig(line="site", inbound=Leg.AGENT, single=Leg.MIXED)


def codes(parameters: dict[str, Any]) -> list[str]:
    """The codes of the notices."""
    return [notice.code for notice in describe(parameters, CarrierConfig()).notices]


def test_without_parameters_the_site_decides() -> None:
    """Defaults come from the configuration."""
    described = describe({}, SITE)
    assert described.start("call", FORMAT) == CallStart("call", FORMAT, line="site")
    assert (described.inbound, described.outbound, described.single) == (Leg.AGENT, Leg.CUSTOMER, Leg.MIXED)
    assert described.notices == ()


def test_known_names_say_more_than_the_site() -> None:
    """They win over the configuration and are no metadata."""
    parameters = {"line": "t.1", "language": "de-AT", "consent": "Yes", "notice_given": "1"}
    parameters |= {"inbound_is": "customer", "leg": "agent", "queue": "sales"}
    described = describe(parameters, SITE)
    assert described.start("call", FORMAT, {"carrier": "x"}) == CallStart(
        "call",
        FORMAT,
        line="t.1",
        language="de-AT",
        consent=True,
        notice_given=True,
        metadata={"queue": "sales", "carrier": "x"},
    )
    assert (described.inbound, described.outbound, described.single) == (Leg.CUSTOMER, Leg.AGENT, Leg.AGENT)
    assert described.notices == ()


def test_the_carrier_knows_better_than_the_caller() -> None:
    """Metadata the carrier states wins over a parameter of the same name."""
    assert describe({"carrier": "forged"}, SITE).start("c", FORMAT, {"carrier": "x"}).metadata == {
        "carrier": "x"
    }


@pytest.mark.parametrize("value", ["", None])
def test_empty_values_count_as_absent(value: object) -> None:
    """Dialplans write empty variables; they are no mistake."""
    described = describe(dict.fromkeys(["line", "language", "inbound_is", "leg", "consent"], value), SITE)
    assert (described.line, described.language, described.inbound, described.consent) == (
        "site",
        None,
        Leg.AGENT,
        False,
    )
    assert described.notices == ()


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("line", "two words"), ("line", "x" * 65), ("line", 7), ("language", "de_AT"), ("language", ["de"]),
        ("inbound_is", "mixed"), ("inbound_is", "Agent"), ("leg", "both"), ("leg", {}), ("leg", True),
    ],
)  # fmt: skip
def test_what_is_not_of_its_form_is_noticed(name: str, value: object) -> None:
    """The default stays; the notice names the parameter, never its value."""
    described = describe({name: value}, SITE)
    assert describe({}, SITE).start("c", FORMAT) == described.start("c", FORMAT)
    (notice,) = described.notices
    assert notice.code == "invalid_parameter"
    assert f"`{name}`" in notice.detail
    assert "two words" not in notice.detail


@pytest.mark.parametrize(
    ("value", "yes"), [(True, True), ("TRUE", True), ("no", False), (1, False), ("0", False), (False, False)]
)
def test_flags(value: object, yes: bool) -> None:
    """`true`, `1` and `yes` in any case are yes, everything else is no; the site's yes stays."""
    assert describe({"consent": value}, SITE).consent is yes
    assert describe({"notice_given": value}, CarrierConfig(notice_given=True)).notice_given


@pytest.mark.parametrize("token", [None, "", "T0k", "t0k ", 7, ["t0k"], "\ud800"])
def test_the_token_must_be_the_configured_one(token: object) -> None:
    """Missing or wrong it ends the connection, and is not repeated."""
    with pytest.raises(WireError) as caught:
        describe({"token": token}, CarrierConfig(message_secret="t0k"))
    assert (caught.value.code, caught.value.close_code) == ("unauthorized", CloseCode.POLICY)
    assert "t0k" not in str(caught.value)


def test_the_right_token_is_never_kept() -> None:
    """Nor is one that nobody asked for."""
    config = CarrierConfig(message_secret="t0k")
    assert describe({"token": "t0k", "a": "b"}, config).metadata == {"a": "b"}
    assert describe({"token": "t0k"}, CarrierConfig()).metadata == {}
    assert describe({"a": "b"}, config, trusted=True).metadata == {"a": "b"}


def test_numbers_and_flags_are_kept_and_what_is_nested_is_not() -> None:
    """Numbers as text; objects, arrays and null are dropped and counted."""
    described = describe({"a": 1, "b": 2.5, "c": True, "d": {}, "e": [1], "f": None}, SITE)
    assert described.metadata == {"a": "1", "b": "2.5", "c": True}
    assert [notice.detail for notice in described.notices] == ["3 parameters are too many or too long"]


def test_bounds() -> None:
    """Names, values, their number and their sum; what fits stays."""
    assert codes({"x" * MAX_NAME_CHARS: "y" * MAX_VALUE_CHARS}) == []
    assert (
        codes({"x" * (MAX_NAME_CHARS + 1): "y"})
        == codes({"x": "y" * (MAX_VALUE_CHARS + 1)})
        == ["parameters_dropped"]
    )
    many = {f"p{n}": "v" for n in range(MAX_PARAMETERS + 5)}
    assert list(describe(many, SITE).metadata) == list(many)[:MAX_PARAMETERS]
    big = {f"p{n}": "v" * MAX_VALUE_CHARS for n in range(10)} | {"small": "v"}
    kept = describe(big, SITE).metadata
    assert sum(len(name) + len(str(value)) for name, value in kept.items()) <= MAX_TOTAL_CHARS
    assert "small" in kept


@given(
    st.dictionaries(
        st.one_of(
            st.text(max_size=80),
            st.sampled_from(["line", "leg", "consent", "token", "inbound_is", "language"]),
        ),
        st.recursive(
            st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=600)),
            lambda inner: st.one_of(
                st.lists(inner, max_size=2), st.dictionaries(st.text(max_size=3), inner, max_size=2)
            ),
            max_leaves=4,
        ),
        max_size=40,
    )
)
def test_any_parameters_describe_a_call(parameters: dict[str, Any]) -> None:
    """Whatever a caller writes, nothing is raised and the bounds hold."""
    metadata = describe(parameters, SITE).metadata
    assert len(metadata) <= MAX_PARAMETERS
    assert all(isinstance(value, str | bool) for value in metadata.values())
    assert (
        sum(len(name) + len(str(value)) for name, value in metadata.items() if value not in (True, False))
        <= MAX_TOTAL_CHARS
    )


def test_queries() -> None:
    """The last of a name wins, escapes are undone, and nonsense is nothing."""
    assert query_parameters("a=1&b=%C3%A9+x&a=2&c=&d") == {"a": "2", "b": "é x", "c": "", "d": ""}
    assert query_parameters("") == query_parameters("&".join(["a=1"] * 100)) == {}
    assert query_parameters("%zz=%ff") == {"%zz": "\ufffd"}


@pytest.mark.parametrize(
    ("text", "made"),
    [
        ("CA1.b_c~d-9", "CA1.b_c~d-9"),
        ("a/b c\u00e9", "a-b-c-"),
        ("", "-"),
        ("x" * 200, "x" * 120),
        ("\n", "-"),
    ],
)
def test_call_ids_fit_into_a_path(text: str, made: str) -> None:
    """What a URL's path does not hold becomes a dash; the length is bounded."""
    assert safe_call_id(text) == made
