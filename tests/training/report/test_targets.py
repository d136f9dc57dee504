"""Targets are judged by what was measured; what was not measured is neither met nor missed."""

from __future__ import annotations

from typing import Any

import pytest

from tests.training.report.made_evaluation import calibration, evaluation, result
from training.report.targets import Target, targets


def target(start: str, **changes: Any) -> Target:
    """The one whose text starts so."""
    (found,) = [t for t in targets(evaluation(**changes)) if t.what.startswith(start)]
    return found


@pytest.mark.parametrize(
    ("start", "met", "measured"),
    [
        ("RAVDESS7", None, "–"),
        ("EmoDB4, never trained on", False, "0.701 [0.651, 0.751]"),
        ("EmoDB4, profile of 50", True, "0.891"),
        ("EmoDB4, one speaker left out", False, "0.851"),
        ("CREMA-D", True, "0.181 [0.651, 0.751]; listener (smoothed) 0.221"),
        ("ECE, all in-corpus", False, "0.041 [0.031, 0.051] (exact confidences would show 0.011)"),
        ("ECE, EmoDB4", False, "0.091"),
        ("hold music", False, "music 0.0 % of 125, ivr_prompt 80.0 % of 125, tone 0.4 % of 125"),
        ("speech rejected", True, "1.12 % of 3,000"),
        ("UAR lost by knowing", True, "0.009 [0.651, 0.751] (mostly neutral)"),
        ("UAR lost at", False, "cold 0.041 [0.651, 0.751]; with a profile 0.061"),
        ("gain of pretraining", None, "–"),
        ("one core", True, "8.2 ms"),
    ],
)
def test_every_target(start: str, met: bool | None, measured: str) -> None:
    """Its verdict, and what it is judged by."""
    found = target(start)
    assert found.met is met
    assert found.measured.startswith(measured)
    assert found.verdict == {True: "yes", False: "no", None: "not measured"}[met]


def test_nothing_measured_is_no_verdict() -> None:
    """An empty evaluation misses nothing and meets nothing."""
    bare = evaluation(results=[], calibration=[], cost=[])
    assert {t.met for t in targets(bare)} == {None}


def test_some_sounds_are_not_all() -> None:
    """Two kinds without a third can miss the target but not meet it."""
    rows = [result(set=kind, metric="share published", value=0.0) for kind in ("music", "tone")]
    assert target("hold music", results=rows).met is None
    assert target("hold music", results=[*rows[:1], rows[1] | {"value": 0.5}]).met is False


@pytest.mark.parametrize(
    ("gain", "met"),
    [
        ({"value": 0.05, "low": 0.01, "high": 0.09}, True),
        ({"value": 0.05, "low": -0.01, "high": 0.09}, False),
        ({"value": 0.05}, False),
        ({"low": 1}, None),
        ("much", None),
    ],
)
def test_the_gain_of_pretraining_is_handed_in(gain: object, met: bool | None) -> None:
    """From the experiments, if they have it, and only with an interval clear of 0."""
    arms = [{"name": "scratch_10pct"}, {"name": "pretrained_10pct", "difference": {"mean": gain}}]
    summary = {"experiment": "few_labels", "arms": arms}
    others = [{"experiment": "masking", "arms": arms[:1]}, summary]
    assert target("gain of pretraining", experiments=others).met is met
    assert target("gain of pretraining", experiments={"few_labels": summary}).met is met


def test_a_calibrated_bundle_meets_its_target() -> None:
    """At or below the limit."""
    rows = [calibration(ece=0.03), calibration(set="emodb4", profile_n=50, ece=0.08)]
    assert target("ECE, all", calibration=rows).met is True
    assert target("ECE, EmoDB4", calibration=rows).met is True
