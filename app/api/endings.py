"""How a connection ends: what goes on record, and what the peer is told."""

from __future__ import annotations

from dataclasses import dataclass

from app.wire.base import CloseCode, WireError


@dataclass(frozen=True, slots=True)
class Ending:
    """How a connection ends. close_code None: the socket is gone already."""

    outcome: str
    close_code: CloseCode | None
    reason: str = ""
    error: WireError | None = None


COMPLETED = Ending("completed", CloseCode.DONE, "done")
HUNG_UP = Ending("completed", None)
DISCONNECTED = Ending("disconnected", None)
DRAINED = Ending("drained", CloseCode.DRAINING, "draining")
TURNED_AWAY = Ending("drained", CloseCode.DRAINING, "draining; retry-after=1")
"""Of a call that came when the process was about to end."""
IDLE = Ending("idle", CloseCode.DRAINING, "idle")
SUPERSEDED = Ending("disconnected", CloseCode.POLICY, "superseded")
SLOW_READER = Ending("slow_reader", CloseCode.POLICY, "slow_reader")


def refused(error: WireError) -> Ending:
    """The ending of a client that broke the protocol or may not come in."""
    return Ending("rejected", error.close_code, error.reason, error)


def failed() -> Ending:
    """The ending of a call that the service could not go on with."""
    detail = "this call cannot go on; the fault was logged"
    error = WireError("internal_error", "The service failed", detail, CloseCode.SERVER)
    return Ending("failed", CloseCode.SERVER, "internal_error", error)


def overloaded() -> WireError:
    """There is no place."""
    return WireError(
        "overloaded",
        "There is no place for another call",
        "try again in a while, or elsewhere",
        CloseCode.OVERLOADED,
    )
