"""What a receipt says."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from typing import Any

from app.privacy.canonical import canonical
from app.privacy.traces import Found
from app.records import rfc3339

TYPE = "kowairo.erasure/1"
MAX_NAMED = 1_000
"""Pseudonyms of calls that a receipt lists; it holds the digest of all of them in any case."""

PLACES: Mapping[str, str] = {
    "store": "erased, looked for and not found",
    "documents": "erased, looked for and not found",
    "feedback": "erased, looked for and not found",
    "dead_letters": "erased, looked for and not found",
    "feed": "erased",
    "statistics": "taken out",
    "queue": "erased",
    "spool": "erased",
    "viewers": "told",
}
"""Where something of a call can be, and what became of it. All of them, or there is no receipt."""


def receipt_body(
    view: Mapping[str, Any],
    *,
    found: Sequence[Found],
    calls: Sequence[str],
    completed_at: float,
    audit: Mapping[str, Any],
) -> dict[str, Any]:
    """A receipt before it is signed; nothing in it names a call or a subject.

    Args:
        view: the erasure, as `Erasures` shows it.
        found: what was held of each call.
        calls: the calls' pseudonyms.
        completed_at: epoch seconds.
        audit: number and hash of the entry in the audit log.
    """
    counts = sum(found, Found())
    ordered = sorted(calls)
    return {
        "type": TYPE,
        "id": view["id"],
        "of": view["of"],
        "object": view["object"],
        "requested_at": view["requested_at"],
        "requested_by": view["requested_by"],
        "completed_at": rfc3339(completed_at),
        "outcome": "erased" if counts.anything else "nothing_held",
        "counts": counts.body(),
        "places": dict(PLACES),
        "calls": ordered[:MAX_NAMED],
        "calls_sha256": hashlib.sha256(canonical(ordered)).hexdigest(),
        "audit": dict(audit),
    }
