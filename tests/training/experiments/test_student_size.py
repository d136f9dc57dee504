"""Sizes are compared from what the bundles' own evaluations say."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from training.experiments.ledger import ExperimentError
from training.experiments.student_size import student_size


def bundle(folder: Path, name: str, parameters: int, values: dict[str, float]) -> Path:
    """A folder with an evaluation file; values: UAR by variant."""
    rows = [
        {"name": variant, "set": "made7", "metric": "UAR", "condition": condition, "profile_n": profile,
         "value": value, "low": value - 0.05, "high": value + 0.05, "n": 20, "speakers": 2}
        for variant, value in values.items()
        for condition, profile in (("clean", 0), ("clean", 50), ("snr_10db", 0))
    ]  # fmt: skip
    data = {
        "bundle": {"name": name, "version": "1", "variant": "int8", "parameters": {"encoder": parameters},
                   "sizes": {"encoder.onnx": 4_000_000, "encoder.int8.onnx": 1_000_000, "tokenizer.onnx": 500_000}},
        "results": rows,
        "cost": [{"what": "head", "value": 0.25, "unit": "ms"}],
    }  # fmt: skip
    folder.mkdir()
    (folder / "evaluation.json").write_text(json.dumps(data))
    return folder


def test_bundles_are_set_beside_the_first(tmp_path: Path) -> None:
    """The headline variant comes first; baselines are left out; sizes leave the other variant's graph out."""
    full = bundle(tmp_path / "full", "full", 5_000_000, {"fp32": 0.72, "int8": 0.70, "eGeMAPS + LR": 0.4})
    small = bundle(tmp_path / "tiny", "tiny", 900_000, {"int8": 0.64})
    arms = json.loads(student_size([full, small], tmp_path / "out").read_text())["arms"]
    assert [arm["name"] for arm in arms] == ["full 1 int8", "full 1 fp32", "tiny 1 int8"]
    assert [arm["against"] for arm in arms] == [None, "full 1 int8", "full 1 int8"]
    assert arms[2]["difference"]["made7"]["value"] == pytest.approx(-0.06)
    assert arms[2]["uar"]["made7"]["low"] == pytest.approx(0.59)
    assert [arm["figures"]["megabytes"] for arm in arms] == [1.5, 4.5, 1.5]
    assert arms[2]["config"]["parameters"] == 900_000


def test_it_says_what_is_missing(tmp_path: Path) -> None:
    """No bundle, no file, and a file of something else are refused with its name."""
    with pytest.raises(ExperimentError, match="--bundle"):
        student_size([], tmp_path)
    with pytest.raises(ExperimentError, match=r"evaluation\.json is no evaluation file"):
        student_size([tmp_path], tmp_path)
    (tmp_path / "evaluation.json").write_text("{}")
    with pytest.raises(ExperimentError, match="bundle"):
        student_size([tmp_path], tmp_path)
