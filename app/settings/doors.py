"""Limits of what comes in: live calls and uploads."""

from __future__ import annotations

from pydantic import Field

from app.settings.base import Group


class StreamSettings(Group):
    """Limits of the live socket.

    resume_window_s: how long a call that broke off may be taken up again. drain_grace_s: how long, at a shutdown,
    calls may go on before they are told to reconnect elsewhere.
    """

    max_message_bytes: int = Field(default=1024 * 1024, ge=1024)
    max_calls: int = Field(default=500, ge=1)
    start_timeout_s: float = Field(default=10.0, gt=0, allow_inf_nan=False)
    send_timeout_s: float = Field(default=10.0, gt=0, allow_inf_nan=False)
    queue_seconds: float = Field(default=30.0, gt=0, allow_inf_nan=False)
    outbox_messages: int = Field(default=256, ge=8)
    drain_timeout_s: float = Field(default=20.0, gt=0, allow_inf_nan=False)
    farewell_timeout_s: float = Field(default=5.0, gt=0, allow_inf_nan=False)
    resume_window_s: float = Field(default=60.0, ge=0, allow_inf_nan=False)
    drain_grace_s: float = Field(default=0.0, ge=0, allow_inf_nan=False)


class UploadSettings(Group):
    """Limits of `POST /v1/score`. workers: recordings worked on at a time; max_pending: these and the waiting."""

    max_bytes: int = Field(default=64 * 1024 * 1024, ge=1024)
    max_duration_s: float = Field(default=3600.0, gt=0, allow_inf_nan=False)
    workers: int = Field(default=1, ge=1, le=64)
    max_pending: int = Field(default=8, ge=1)
