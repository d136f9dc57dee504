"""Baselines that a card sets its figures beside: quoted from the design notes, not recomputed here.

UAR after 8 kHz µ-law. The first four were trained on RAVDESS speakers 01–18 only; `all train splits` on every
train split of the shared corpora, like the bundle. LR: logistic regression.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Baseline:
    """One quoted figure; profile_n: unlabelled utterances of the source, 0 when cold."""

    system: str
    set: str
    value: float
    profile_n: int = 0


_EGEMAPS = "eGeMAPSv02 + LR"
_TINY = "Whisper-tiny encoder (8 M, frozen), layer 1 + LR"
_BASE = "Whisper-base encoder (20 M, frozen), layer 1 + LR"
_BASE_ALL = "Whisper-base encoder (20 M, frozen), all layers + LR"
_BASE_DATA = "Whisper-base encoder (20 M, frozen), layer 3 + LR, all train splits"

BASELINES = (
    Baseline(_EGEMAPS, "ravdess7", 0.544),
    Baseline(_EGEMAPS, "emodb4", 0.414),
    Baseline(_EGEMAPS, "emodb4_loso", 0.757),
    Baseline(_TINY, "ravdess7", 0.736),
    Baseline(_TINY, "emodb4", 0.617),
    Baseline(_TINY, "emodb4_loso", 0.889),
    Baseline(_BASE, "ravdess7", 0.739),
    Baseline(_BASE, "emodb4", 0.614),
    Baseline(_BASE, "emodb4_loso", 0.899),
    Baseline(_BASE_ALL, "ravdess7", 0.762),
    Baseline(_BASE_ALL, "emodb4", 0.600),
    Baseline(_BASE_ALL, "emodb4_loso", 0.940),
    Baseline(_BASE_DATA, "emodb4", 0.682),
    Baseline(_BASE_DATA, "emodb4", 0.797, profile_n=20),
    Baseline(_BASE_DATA, "emodb4", 0.809, profile_n=50),
    Baseline(_BASE_DATA, "emodb4", 0.822, profile_n=200),
)
