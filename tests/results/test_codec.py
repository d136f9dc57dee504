"""Every change goes through bytes unharmed, and nothing else is taken for one."""

from __future__ import annotations

import json
from dataclasses import replace
from types import MappingProxyType

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.domain import AbstainReason, Leg
from app.results.codec import CodecError, call_key, decode, encode
from app.results.store import CallInfo, CallState
from app.results.writes import (
    AddFeedEntry,
    AddMetadata,
    AppendRecord,
    CloseCall,
    Enqueue,
    EraseCall,
    OpenCall,
    Write,
)
from tests.support.records import make_record

NUMBERS = st.floats(allow_nan=False, allow_infinity=False)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | NUMBERS | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=6,
)
OBJECTS = st.dictionaries(st.text(), JSON, max_size=4)
WORDS = st.none() | st.text(max_size=20)
CALLS = st.builds(
    CallInfo,
    call_id=st.text(),
    line=st.text(),
    legs=st.lists(st.sampled_from(Leg), max_size=3).map(tuple),
    started_at=NUMBERS,
    state=st.sampled_from(CallState),
    metadata=OBJECTS,
    summary=st.none() | OBJECTS,
    tenant=st.text(),
    team=WORDS,
    subject=WORDS,
    owner=st.text(),
    resume=WORDS,
    resume_until=st.none() | NUMBERS,
)
RECORDS = st.builds(
    lambda call_id, index, leg, reason, changes: replace(
        make_record(call_id, index, leg=leg, reason=reason), **changes
    ),
    st.text(),
    st.integers(0, 10**6),
    st.sampled_from(Leg),
    st.none() | st.sampled_from(AbstainReason),
    st.fixed_dictionaries(
        {
            "seq": st.integers(1, 2**53),
            "created_at": st.floats(0, 4e9),
            "durable": st.booleans(),
            "salience": st.none() | st.lists(NUMBERS).map(tuple),
            "scores": st.none() | st.dictionaries(st.text(), NUMBERS, max_size=3),
            "detail": WORDS,
            "event": WORDS,
            "latency_ms": st.none() | NUMBERS,
        }
    ),
)
WRITES: st.SearchStrategy[Write] = st.one_of(
    st.builds(OpenCall, CALLS, OBJECTS),
    st.builds(AppendRecord, st.text(), RECORDS, st.text()),
    st.builds(AddMetadata, st.text(), st.text(), OBJECTS),
    st.builds(
        CloseCall,
        st.text(),
        st.text(),
        st.text(),
        NUMBERS,
        st.none() | OBJECTS,
        OBJECTS,
        NUMBERS,
        st.none() | NUMBERS,
        st.text(),
    ),
    st.builds(AddFeedEntry, st.text(), st.text(), st.text(), st.text(), OBJECTS, st.text()),
    st.builds(Enqueue, st.text(), st.text(), st.text(), OBJECTS, NUMBERS, WORDS),
    st.builds(EraseCall, st.text(), st.text(), st.text()),
)


@given(WRITES)
def test_every_change_goes_there_and_back(write: Write) -> None:
    """What is decoded equals what was encoded, to the last digit, and the bytes are ASCII."""
    data = encode(write)
    assert data.isascii()
    assert decode(data) == write


@given(WRITES, st.text(max_size=5))
def test_the_id_of_a_call_can_be_found_in_the_bytes(write: Write, other: str) -> None:
    """The bytes hold the call's id as JSON writes it, so that erasure can look for it."""
    key = call_key(write)
    if key is not None:
        assert json.dumps(key[1]).encode() in encode(write)


def test_read_only_mappings_are_objects() -> None:
    """Metadata may be any mapping, at any depth."""
    values = MappingProxyType({"a": MappingProxyType({"b": 1})})
    assert decode(encode(AddMetadata("t", "c", values))) == AddMetadata("t", "c", {"a": {"b": 1}})


def test_what_is_not_json_is_refused() -> None:
    """A value that JSON does not know, or one that contains itself, is an error that quotes nothing."""
    with pytest.raises(CodecError) as caught:
        encode(AddMetadata("t", "c", {"name": {1, 2}}))
    assert "name" not in str(caught.value)
    endless: list[object] = []
    endless.append(endless)
    with pytest.raises(CodecError):
        encode(AddMetadata("t", "c", {"x": endless}))


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\xff",
        b"[]",
        b"null",
        b"{}",
        b'{"v":2,"type":"erase_call","value":{"tenant":"t","call_id":"c"}}',
        b'{"v":1,"type":"other","value":{}}',
        b'{"v":1,"type":"erase_call","value":{"tenant":"t"}}',
        b'{"v":1,"type":"erase_call","value":{"tenant":"t","call_id":"c","new":1}}',
        b'{"v":1,"type":"erase_call","value":[]}',
        b'{"v":1,"type":"open_call","value":{"call":{"legs":["nobody"]},"body":{}}}',
        b'{"v":1,"type":"append_record","value":{"record":{}}}',
        b"[" * 100_000,
    ],
)
def test_what_is_no_change_is_refused(data: bytes) -> None:
    """Other versions, other types and broken values raise one typed error."""
    with pytest.raises(CodecError):
        decode(data)


def test_older_entries_get_the_defaults() -> None:
    """A member that was added later with a default may be missing."""
    data = b'{"v":1,"type":"erase_call","value":{"tenant":"t","call_id":"c"}}'
    assert decode(data) == EraseCall("t", "c")


def test_work_without_a_call_has_no_key() -> None:
    """Only what belongs to a call is erased with one."""
    assert call_key(Enqueue("t", "q", "k", {}, 0.0)) is None
    assert call_key(Enqueue("t", "q", "k", {}, 0.0, "c")) == ("t", "c")
