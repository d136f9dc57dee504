"""Which model is served, on what, and when it says nothing."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Literal

from pydantic import Field

from app.settings.base import Group


class BundleSettings(Group):
    """Which model is served. `path` None: the bundle that ships with the code."""

    path: Path | None = None
    variant: Literal["auto", "fp32", "int8"] = "auto"

    def resolved_path(self) -> Path:
        """The folder to load, relative paths taken from the working directory."""
        if self.path is not None:
            return self.path
        return Path(__file__).resolve().parents[2] / "models" / "bundles" / "kowairo-8k"


class InferenceSettings(Group):
    """Where and how wide the model runs.

    threads: inside one model run. workers: calls worked on at the same time. max_batch: GPU only. lines_flush_s:
    between two merges of what was learned of lines into what all processes share.
    """

    provider: Literal["auto", "cpu", "cuda"] = "auto"
    threads: int = Field(default=1, ge=1, le=256)
    workers: int = Field(default_factory=lambda: os.cpu_count() or 1, ge=1, le=256)
    max_batch: int = Field(default=32, ge=1, le=1024)
    lines_flush_s: float = Field(default=10.0, gt=0, le=3_600, allow_inf_nan=False)


class AbstainSettings(Group):
    """A site's own abstention thresholds; None keeps the bundle's.

    quality_widens: poor sound needs more confidence than `min_confidence` (`app.inference.doubt`).
    """

    min_speech_s: float | None = Field(default=None, ge=0, allow_inf_nan=False)
    min_snr_db: float | None = Field(default=None, allow_inf_nan=False)
    min_confidence: float | None = Field(default=None, ge=0, le=1)
    quality_widens: bool = True
