"""A receipt says what, how much, where and when, and never whose."""

from __future__ import annotations

import hashlib
import json

from app.privacy.canonical import canonical
from app.privacy.traces import Found
from app.privacy.writeup import MAX_NAMED, PLACES, receipt_body

VIEW = {
    "id": "e1",
    "of": "subject",
    "object": "subject:12ab",
    "requested_at": "2026-01-01T00:00:00.000Z",
    "requested_by": {"who": "officer", "key_id": "k1"},
}


def test_what_it_says() -> None:
    """Counts are those of all calls together; nothing in it is a fraction, so it can be signed."""
    body = receipt_body(
        VIEW,
        found=[Found(1, 2), Found(1, 3, 1)],
        calls=["call:b", "call:a"],
        completed_at=1_700_000_000.0,
        audit={"number": 3, "hash": "00"},
    )
    assert (body["counts"]["calls"], body["counts"]["records"], body["counts"]["metadata"]) == (2, 5, 1)
    assert (body["outcome"], body["completed_at"]) == ("erased", "2023-11-14T22:13:20.000Z")
    assert body["calls"] == ["call:a", "call:b"]
    assert set(body["places"]) == set(PLACES)
    assert canonical(body)


def test_of_very_many_calls_it_holds_the_digest() -> None:
    """Whoever has the list can still check it."""
    calls = [f"call:{number:05d}" for number in range(MAX_NAMED + 5)]
    body = receipt_body(VIEW, found=[], calls=calls, completed_at=0.0, audit={})
    assert len(body["calls"]) == MAX_NAMED
    listed = json.dumps(calls, separators=(",", ":")).encode()
    assert body["calls_sha256"] == hashlib.sha256(listed).hexdigest()
    assert body["outcome"] == "nothing_held"
