"""Which calls are meant: what every store decides the same way."""

from __future__ import annotations

from app.results.store import CallFilter, CallInfo, CallState


def matches(info: CallInfo, which: CallFilter) -> bool:
    """Whether a call is one of those asked for."""
    return (
        which.line in (None, info.line)
        and which.state in (None, info.state)
        and which.team in (None, info.team)
        and which.outcome in (None, info.outcome)
        and (which.since is None or info.started_at >= which.since)
        and (which.until is None or info.started_at < which.until)
    )


def resumable(info: CallInfo, secret_digest: str, now: float) -> bool:
    """Whether the call broke off, not long ago, and this is the digest of its secret."""
    return (
        info.state is CallState.ENDED
        and info.resume is not None
        and info.resume == secret_digest
        and info.resume_until is not None
        and now < info.resume_until
    )
