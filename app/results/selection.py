"""Which calls are meant: what every store decides the same way."""

from __future__ import annotations

from collections.abc import Iterator

from app.results.store import CallFilter, CallInfo, CallState


def matches(info: CallInfo, which: CallFilter) -> bool:
    """Whether a call is one of those asked for."""
    checks: Iterator[bool] = iter(
        (
            which.line in (None, info.line),
            which.state in (None, info.state),
            which.team in (None, info.team),
            which.outcome in (None, info.outcome),
            which.since is None or info.started_at >= which.since,
            which.until is None or info.started_at < which.until,
        )
    )
    return all(checks)


def resumable(info: CallInfo, secret_digest: str, now: float) -> bool:
    """Whether the call broke off, not long ago, and this is the digest of its secret."""
    return (
        info.state is CallState.ENDED
        and info.resume is not None
        and info.resume == secret_digest
        and info.resume_until is not None
        and now < info.resume_until
    )
