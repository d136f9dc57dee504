"""What is read: live feeds, statistics, exports, labels."""

from __future__ import annotations

import re

from pydantic import Field, field_validator

from app.settings.base import Group


class LiveSettings(Group):
    """Limits of the live feeds (`docs/live.md`).

    max_subscribers, max_subscribers_per_tenant: viewers at a time. queue_events: held for one that is behind.
    page_events: read from the store at a time. send_timeout_s: a viewer that takes nothing for so long is cut off.
    poll_s: how often a tenant's feed is looked at that somebody watches, where nothing says that it grew.
    """

    max_subscribers: int = Field(default=1_000, ge=1)
    max_subscribers_per_tenant: int = Field(default=500, ge=1)
    queue_events: int = Field(default=256, ge=2)
    page_events: int = Field(default=100, ge=1, le=1_000)
    keepalive_s: float = Field(default=15.0, gt=0, allow_inf_nan=False)
    send_timeout_s: float = Field(default=10.0, gt=0, allow_inf_nan=False)
    poll_s: float = Field(default=0.5, gt=0, le=60, allow_inf_nan=False)


class StatsSettings(Group):
    """`/v1/stats`. min_group: what would describe fewer utterances is withheld; 1 withholds nothing."""

    min_group: int = Field(default=1, ge=1, le=1_000)


class ExportSettings(Group):
    """`/v1/exports`. stall_timeout_s: a reader that takes nothing for so long is left."""

    stall_timeout_s: float = Field(default=30.0, gt=0, le=600, allow_inf_nan=False)


class LabelSettings(Group):
    """Labels that people give utterances.

    pattern: labels that are taken beside the head's categories, a regular expression for the whole label.
    ttl_s: how long a label is kept, whatever becomes of its call's records.
    """

    pattern: str | None = None
    ttl_s: float = Field(default=365 * 24 * 3600, gt=0, allow_inf_nan=False)

    @field_validator("pattern")
    @classmethod
    def _compiles(cls, pattern: str | None) -> str | None:
        try:
            re.compile(pattern or "")
        except re.error as error:
            raise ValueError(f"is not a regular expression: {error}") from None
        return pattern
