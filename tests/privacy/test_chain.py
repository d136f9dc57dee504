"""A chain shows every entry that was changed, taken out or put in between; what left by age is accounted for."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.privacy.chain import START, TRIM, ChainCheck, link
from app.results.documents import JournalEntry


def chain(bodies: list[dict[str, Any]]) -> list[JournalEntry]:
    """A whole chain."""
    entries: list[JournalEntry] = []
    previous = START
    for number, body in enumerate(bodies, start=1):
        value = link(number, body, previous)
        entries.append(JournalEntry(number, value))
        previous = value["hash"]
    return entries


def check(entries: list[JournalEntry]) -> ChainCheck:
    """The verdict on a chain."""
    verdict = ChainCheck()
    if all(verdict.take(entry) for entry in entries):
        verdict.finish()
    return verdict


PLAIN = [{"action": "calls.read", "n": number} for number in range(6)]


def test_a_whole_chain_is_valid() -> None:
    """From the first entry, and from any that was checked before."""
    entries = chain(PLAIN)
    verdict = check(entries)
    assert (verdict.broken_at, verdict.first, verdict.last, verdict.entries) == (None, 1, 6, 6)
    assert verdict.head == entries[-1].value["hash"]
    later = ChainCheck()
    later.begin_after(entries[2])
    assert all(later.take(entry) for entry in entries[3:])
    assert later.finish()
    assert check([]).broken_at is None


@given(st.integers(0, 5), st.sampled_from(["change", "remove", "swap", "rehash"]))
def test_whatever_is_done_to_it_shows(index: int, deed: str) -> None:
    """But for the newest entry being cut off, which needs a witness."""
    entries = chain(PLAIN)
    victim = entries[index]
    if deed == "change":
        entries[index] = JournalEntry(victim.number, {**victim.value, "n": 99})
    elif deed == "remove" and index < 5:
        del entries[index]
    elif deed == "swap":
        other = entries[index - 1]
        entries[index] = JournalEntry(victim.number, other.value)
    else:
        body = {"action": "calls.read", "n": 99}
        entries[index] = JournalEntry(victim.number, link(victim.number, body, "1" * 64))
    assert check(entries).broken_at is not None


def test_a_fraction_is_a_change_and_not_a_fault() -> None:
    """What has no canonical form was never written by us."""
    entries = chain(PLAIN)
    entries[3] = JournalEntry(4, {**entries[3].value, "n": 0.5})
    verdict = check(entries)
    assert (verdict.broken_at, verdict.why) == (4, "it was changed")


@pytest.mark.parametrize(("before", "valid"), [(3, True), (4, False)])
def test_what_left_by_age_is_accounted_for(before: int, valid: bool) -> None:
    """The last entry says what left; what left beyond that is missing."""
    entries = chain(PLAIN[:5])
    last_gone = entries[before - 2].value["hash"]
    detail = {"before": before, "hash": last_gone}
    entries = chain([*PLAIN[:5], {"action": TRIM, "detail": detail}])
    verdict = check(entries[2:])
    assert (verdict.broken_at is None) is valid
    assert valid or verdict.why == "entries before it are missing"
