"""How speech is found."""

from __future__ import annotations

from pydantic import Field

from app.settings.base import Group


class AudioSettings(Group):
    """How speech is found: `FrameVad` and `EndpointConfig` in `app.audio` say what each number does."""

    vad_aggressiveness: int = Field(default=2, ge=0, le=3)
    vad_gate_dbfs: float = Field(default=-60.0, le=0, allow_inf_nan=False)
    vad_floor_margin_db: float = Field(default=7.0, ge=0, le=60, allow_inf_nan=False)
    start_window_frames: int = Field(default=10, ge=1, le=100)
    start_voiced_frames: int = Field(default=6, ge=1, le=100)
    pre_roll_ms: int = Field(default=200, ge=0, le=2_000)
    hangover_ms: int = Field(default=500, ge=20, le=5_000)
    trailing_ms: int = Field(default=200, ge=0, le=5_000)
    min_speech_ms: int = Field(default=200, ge=0, le=10_000)
    long_utterance_s: float = Field(default=6.0, ge=0, le=60, allow_inf_nan=False)
    long_hangover_ms: int = Field(default=300, ge=20, le=5_000)
    max_utterance_s: float = Field(default=15.0, ge=2, le=60, allow_inf_nan=False)
    max_gap_s: float = Field(default=10.0, ge=0, le=600, allow_inf_nan=False)
    max_jump_s: float = Field(default=3_600.0, ge=600, le=86_400, allow_inf_nan=False)
    interim_every_s: float = Field(default=2.0, ge=0.5, le=60, allow_inf_nan=False)
