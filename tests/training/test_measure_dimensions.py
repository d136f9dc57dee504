"""Arousal is held against a corpus's own levels."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from tests.training import made
from training.measure_dimensions import METRIC, measure_arousal
from training.measurer import EvaluateConfig, Measurer

BUNDLE = Path(__file__).parents[2] / "models" / "bundles" / "kowairo-8k"


def test_concordance_is_of_rated_test_clips(tmp_path: Path) -> None:
    """By corpus and size of profile where the set allows it; training clips and constant ratings are left out."""
    clip = made.clip(emotion=None, corpus="baved", split="test", samples=8_000, lead=1_600, active=4_800)
    clips = [
        replace(clip, id=f"b{n}", speaker=f"baved:{n % 2}", arousal=(-0.7, 0.0, 0.7)[n % 3])
        for n in range(12)
    ]
    clips += [
        replace(clip, id="t", split="train", arousal=0.7),
        replace(clip, id="c", corpus="x", arousal=0.1),
    ]
    cache = made.write_cache(tmp_path, clips, teacher_dim=0)
    config = EvaluateConfig(bootstrap=20, draws=2, baselines=())
    rows = measure_arousal(Measurer(BUNDLE, "int8"), cache, (0, 6, 50), config)
    rated = [r for r in rows if r["set"] == "baved_arousal"]
    assert [(r["profile_n"], r["n"], r["speakers"], r["metric"]) for r in rated] == [
        (0, 12, 2, METRIC),
        (6, 12, 2, METRIC),
    ]
    assert all(-1 <= r["value"] <= 1 and r["low"] <= r["high"] for r in rated)
