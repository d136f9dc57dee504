"""Where results are kept."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Literal

from pydantic import Field, field_serializer

from app.settings.base import Group

_URL = r"^(memory://|(unix|rediss?(\+cluster)?)://.+)$"
_PASSWORD = re.compile(r"(?<=://)[^/]*(?=@)|(?<=[?&]password=)[^&]*")


class StoreSettings(Group):
    """Where results are kept and for how long.

    url: `memory://`, or a Redis (`redis://`, `rediss://`, `unix://`, `redis+cluster://`, `rediss+cluster://`). durable:
    whether what Redis acknowledges survives its being killed; `auto` asks it. connect_timeout_s, timeout_s: after so
    long it is away.
    spool_path: where records wait while it is. spool_fsync: when what waits is forced to the disk.
    """

    url: str = Field(default="memory://", pattern=_URL, repr=False)
    max_calls: int = Field(default=2_000, ge=1)
    max_records_per_call: int = Field(default=2_000, ge=1)
    ttl_s: float = Field(default=24 * 3600, gt=0, allow_inf_nan=False)
    feed_entries: int = Field(default=100_000, ge=1)
    stats_ttl_s: float = Field(default=90 * 24 * 3600, gt=0, allow_inf_nan=False)
    durable: Literal["auto", "yes", "no"] = "auto"
    connect_timeout_s: float = Field(default=1.0, gt=0, allow_inf_nan=False)
    timeout_s: float = Field(default=2.0, gt=0, allow_inf_nan=False)
    spool_path: Path = Path("spool")
    spool_max_bytes: int = Field(default=256 * 1024 * 1024, ge=64 * 1024)
    spool_fsync: Literal["always", "interval", "never"] = "always"
    spool_fsync_interval_s: float = Field(default=0.1, gt=0, le=60, allow_inf_nan=False)
    heartbeat_s: float = Field(default=5.0, gt=0, le=300, allow_inf_nan=False)

    @property
    def in_memory(self) -> bool:
        """True where nothing outlives the process."""
        return self.url == "memory://"

    @field_serializer("url")
    def _without_password(self, url: str) -> str:
        return _PASSWORD.sub("***", url)
