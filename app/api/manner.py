"""How kinds of connections are treated."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from app.domain import CallStart


@dataclass(frozen=True, slots=True)
class Manner:
    """How a kind of connection is treated.

    start_timeout_s: longest wait for the start of the call. idle_timeout_s: longest silence of the peer afterwards,
    None for any. tick_s: how often the protocol is told the time while nothing comes, None for never.
    ids: how many ids are tried where the call's is taken (`<id>.2` …); 1 refuses it. prepare: what else must hold
    for a call to be taken; may complete its start, raises `WireError`. resumable: `ready` gives the secret with which
    a call that breaks off may be taken up again.
    """

    start_timeout_s: float
    idle_timeout_s: float | None = None
    tick_s: float | None = None
    ids: int = 1
    prepare: Callable[[CallStart], CallStart] = lambda start: start
    resumable: bool = False


def always(tenant: str) -> Callable[[], Awaitable[str]]:
    """For peers that were let in before: whose calls they bring."""

    async def admit() -> str:
        return tenant

    return admit
