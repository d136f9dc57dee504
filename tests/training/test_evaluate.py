"""One call measures a bundle, seals its card in and writes the report; the figures are the same each time."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from app.bundle.loader import load_bundle
from app.ort import Runtime
from tests.training import made
from training.card_schema import Evaluation
from training.corpora.errors import CorpusError
from training.evaluate import evaluate
from training.measurer import EvaluateConfig

BUNDLE = Path(__file__).parents[2] / "models" / "bundles" / "kowairo-8k"
CONFIG = EvaluateConfig(bootstrap=20, draws=1, grid_clips=3, tones=1, profile_sizes=(5,), baselines=())
FACTS: dict[str, Any] = {
    "parameters": {"encoder": 1}, "commit": "abc", "config": "made.yaml", "seconds": 1.0, "seed": 0, "stages": [],
    "teachers": [], "corpora": [{"name": "made", "licence": "none", "clips": 1, "hours": 0.1, "used_for": "tests"}],
}  # fmt: skip


def run(folder: Path, **changes: Any) -> Evaluation:
    """Evaluate a copy of the shipped bundle on made clips."""
    shutil.copytree(BUNDLE, folder / "bundle")
    clips = made.labelled_clips(per_category=1)
    clips.append(replace(clips[-1], id="noise/3", kind="background_office"))
    made.write_cache(folder / "prepare", clips, teacher_dim=0)
    return evaluate(CONFIG, folder / "bundle", folder / "prepare", folder / "evaluate", FACTS, **changes)


def test_everything_is_written(tmp_path: Path) -> None:
    """The bundle is sealed with card and figures, the report lies where it was asked for, extras are kept."""
    extra = {"av": {"retrieval": 0.5}, "experiments": [{"label share": 0.1, "UAR": 0.4}], "other": 1}
    found = run(tmp_path, reports=tmp_path / "reports", extra=extra)
    bundle = load_bundle(tmp_path / "bundle", Runtime("cpu", 1))
    assert {"MODEL_CARD.md", "evaluation.json"} <= set(bundle.manifest.files)
    assert bundle.manifest.metrics["uar_made7_profile_0"] == pytest.approx(found.results[0].value, abs=1e-4)
    report = tmp_path / "reports" / "kowairo-8k"
    card = (report / "MODEL_CARD.md").read_text(encoding="utf-8")
    assert card == (tmp_path / "bundle" / "MODEL_CARD.md").read_text(encoding="utf-8")
    assert "## Experiments" in card
    assert (report / "tables" / "experiments_1.csv").read_text() == "label share,UAR\n0.100,0.400\n"
    assert (report / "plots" / "robustness.svg").exists()
    read = Evaluation.model_validate_json((tmp_path / "evaluate" / "evaluation.json").read_text())
    assert read == found
    assert read.av == {"retrieval": 0.5}
    assert {r.condition for r in read.results} >= {"clean", "snr_0db", "loss_10pct", "calls_balanced"}
    assert {r.metric for r in read.results} == {
        "UAR",
        "macro-F1",
        "UAR lost",
        "share rejected",
        "share named",
        "share published",
    }
    assert {c.set for c in read.calibration} == {"made7", "in_corpus"}


def test_the_same_figures_each_time(tmp_path: Path) -> None:
    """Everything but times and dates; without a place for it the report lies in the stage's folder."""
    first, second = (run(tmp_path / name).model_dump() for name in "ab")
    assert (tmp_path / "a" / "evaluate" / "report" / "README.md").exists()
    for part in ("created", "cost", "limits"):
        first.pop(part), second.pop(part)
    assert json.dumps(first) == json.dumps(second)


def test_nothing_to_test_is_an_error(tmp_path: Path) -> None:
    """A cache without labelled test clips."""
    shutil.copytree(BUNDLE, tmp_path / "bundle")
    made.write_cache(tmp_path / "prepare", [made.clip()], teacher_dim=0)
    with pytest.raises(CorpusError, match="nothing to evaluate on"):
        evaluate(CONFIG, tmp_path / "bundle", tmp_path / "prepare", tmp_path / "evaluate", FACTS)


def test_unknown_baselines_are_refused() -> None:
    """By name, before anything runs."""
    with pytest.raises(ValueError, match="baselines: expected some of egemaps"):
        EvaluateConfig(baselines=("wav2vec",))
