"""The bench of the hot path measures what it says: every stage, on a valid bundle."""

from pathlib import Path

import pytest

from app.bundle.loader import load_bundle
from app.ort import Runtime
from bench.hot_path import SAMPLE, cpu_seconds, measure, prepare
from tests.support.tiny_bundle import write_tiny_bundle


def test_every_stage_is_measured(tmp_path: Path) -> None:
    """Seven stages, each with a cost, the baseline first."""
    bundle = load_bundle(write_tiny_bundle(tmp_path / "tiny"), Runtime("cpu", 1))
    work = prepare(SAMPLE)
    assert work.seconds == pytest.approx(47.6)
    assert len(work.messages) == len(work.frames) == 2380
    rows = measure(work, bundle, 1)
    assert [name.split(",")[0].split(":")[0] for name, _ in rows] == [
        "receive",
        "voice activity",
        "tones",
        "tokenizer",
        f"encoder ({bundle.variant})",
        "head",
        "the whole call",
    ]
    assert all(cost >= 0 for _, cost in rows)


def test_the_least_of_several_runs_counts() -> None:
    """One run to warm up, then as many as asked for."""
    runs = []
    assert cpu_seconds(lambda: runs.append(1), 3) >= 0
    assert len(runs) == 4
