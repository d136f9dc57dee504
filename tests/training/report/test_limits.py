"""Sentences on limits follow from figures."""

from __future__ import annotations

from tests.training.report.made_evaluation import evaluation, result
from training.report.limits import limits


def text(**changes: object) -> str:
    """All sentences."""
    return "\n".join(limits(evaluation(**changes)))


def test_what_is_bad_is_said() -> None:
    """Shared sentences, few speakers, prompts, noise, legs, languages, targets that were missed."""
    found = text()
    for part in (
        "train and test share their sentences in ravdess.",
        "Sets with one or two test speakers are coarse, interval or not: own (1).",
        "with a concordance of 0.621",
        "yet given one (share of clips): ivr_prompt 80 %.",
        "10 % of 125 are rejected, by 1 unheard voice.",
        "mean over sets: noise at 10 dB SNR 0.08.",
        "costs at most 0.021 UAR (emodb4, constant calls)",
        "de 0.70, en 0.60; en is the weakest",
        "not met: EmoDB4, never trained on, UAR cold; EmoDB4, one speaker left out",
    ):
        assert part in found


def test_what_is_fine_is_not_lamented() -> None:
    """Rejected prompts, many speakers, no loss: no sentence."""
    rows = [result(), result(set="ivr_prompt", metric="share published", value=0.0)]
    found = text(results=rows, gaps={}, sets=[{"name": "emodb4", "what": "", "categories": []}])
    assert "yet given one" not in found
    assert "coarse" not in found
    assert "costs at most" not in found
    assert "No concordance of arousal or valence is reported" in found
