"""Traces."""

from __future__ import annotations

from pydantic import Field, SecretStr

from app.settings.base import Group


class TracingSettings(Group):
    """OpenTelemetry. salt: of the opaque ids that name calls in traces and logs; None: one of this process."""

    enabled: bool = False
    endpoint: str = Field(default="http://127.0.0.1:4318/v1/traces", pattern=r"^https?://[^\s@]+$")
    sample_ratio: float = Field(default=1.0, ge=0, le=1)
    service_name: str = Field(default="kowairo", min_length=1, max_length=64)
    salt: SecretStr | None = None
