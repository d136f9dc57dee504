"""What can be set about a store in Redis."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True, slots=True)
class RedisOptions:
    """Bounds and times to live.

    connect_timeout_s, timeout_s: of a connection, and of each answer. max_connections: at the same time.
    durable: whether Redis writes to disk before it answers; `auto` asks it.
    live_ttl_s: a live call nobody writes to goes after so long. max_records_per_call: the oldest go.
    feed_entries, feed_ttl_s: bounds of a tenant's feed. stats_ttl_s, queue_ttl_s: how long statistics and work nobody
    does (counted from when it is due) are kept. scan_calls: calls looked at for one page of a list.
    """

    connect_timeout_s: float = 1.0
    timeout_s: float = 2.0
    max_connections: int = 32
    durable: Literal["auto", "yes", "no"] = "auto"
    live_ttl_s: float = 48 * 3_600.0
    max_records_per_call: int = 2_000
    feed_entries: int = 100_000
    feed_ttl_s: float = 86_400.0
    stats_ttl_s: float = 90 * 86_400.0
    queue_ttl_s: float = 14 * 86_400.0
    scan_calls: int = 2_000

    @property
    def tenant_ttl_s(self) -> float:
        """How long a tenant that does nothing is known: longer than anything of it is kept."""
        return 1.1 * max(self.live_ttl_s, self.feed_ttl_s, self.stats_ttl_s)
