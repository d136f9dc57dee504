"""Webhooks."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from pydantic import Field, IPvAnyNetwork

from app.settings.base import Group


class DeliverySettings(Group):
    """Webhooks (`app.delivery.config.DeliveryConfig` says what each does). retry_s: what is waited after each try."""

    allow_http: bool = False
    allowed_networks: tuple[IPvAnyNetwork, ...] = ()
    allowed_ports: tuple[Annotated[int, Field(ge=1, le=65535)], ...] = (443, 8443)
    ca_file: Path | None = None
    timeout_s: float = Field(default=15.0, gt=0, le=60, allow_inf_nan=False)
    retry_s: tuple[Annotated[float, Field(gt=0, le=7 * 86_400)], ...] = (
        5.0, 300.0, 1_800.0, 7_200.0, 18_000.0, 36_000.0, 50_400.0, 72_000.0, 86_400.0,
    )  # fmt: skip
    max_parallel: int = Field(default=32, ge=1, le=1_000)
    max_per_endpoint: int = Field(default=4, ge=1, le=100)
    poll_s: float = Field(default=1.0, gt=0, le=60, allow_inf_nan=False)
    cache_s: float = Field(default=5.0, ge=0, le=300, allow_inf_nan=False)
    dead_letter_ttl_s: float = Field(default=14 * 86_400.0, gt=0, allow_inf_nan=False)
    rotation_overlap_s: float = Field(default=86_400.0, ge=0, allow_inf_nan=False)
    drain_s: float = Field(default=5.0, ge=0, le=60, allow_inf_nan=False)
