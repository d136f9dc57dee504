"""What was to be reached, beside what was measured: computed from an evaluation, never typed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from training.card_schema import Evaluation, ResultRow
from training.evaluation_sets import COMBINED
from training.measure import ALL_SETS, DESCRIBED_PROFILE, LOST
from training.measure_calibration import POOLED
from training.measure_gate import PUBLISHED, REJECTED
from training.measure_votes import METRIC as VOTES

FEW_LABELS, TEN_PERCENT = "few_labels", "pretrained_10pct"
"""The experiment and its arm that tell what pretraining gives (`training.experiments.few_labels`)."""
SPEECH_REJECTED, SOUND_PUBLISHED = 0.02, 0.01


@dataclass(frozen=True, slots=True)
class Target:
    """One line of the table. met: None where it was not measured."""

    what: str
    goal: str
    measured: str
    met: bool | None

    @property
    def verdict(self) -> str:
        """In a word."""
        return {True: "yes", False: "no", None: "not measured"}[self.met]


def targets(evaluation: Evaluation) -> list[Target]:
    """Every target, in the order they were set."""
    e = evaluation
    return [
        _recall(e, "ravdess7", "RAVDESS7 test, UAR cold", 0.80),
        _recall(e, "emodb4", "EmoDB4, never trained on, UAR cold", 0.80),
        _recall(e, "emodb4", f"EmoDB4, profile of {DESCRIBED_PROFILE}", 0.88, DESCRIBED_PROFILE),
        _left_out(e),
        _recall(e, "nemo6", "nEMO6 test, UAR cold", 0.70),
        _recall(e, "ased5", "ASED5 test, UAR cold", 0.95),
        _votes(e),
        _calibration(e, POOLED, 0, "ECE, all in-corpus test sets, cold", 0.03),
        _calibration(e, "emodb4", DESCRIBED_PROFILE, "ECE, EmoDB4 with a profile", 0.08),
        _sounds(e),
        _speech(e),
        _robustness(e),
        _legs(e),
        _pretraining(e),
        _cost(e),
    ]


def interval(value: float, low: float | None, high: float | None) -> str:
    """A figure with its interval, three digits."""
    return f"{value:.3f}" if low is None or high is None else f"{value:.3f} [{low:.3f}, {high:.3f}]"


def shown(row: ResultRow) -> str:
    """A row's figure."""
    return interval(row.value, row.low, row.high)


def _recall(e: Evaluation, name: str, what: str, least: float, size: int = 0) -> Target:
    row = e.find(name, profile_n=size)
    return Target(what, f"≥ {least:.2f}", _or_dash(row), None if row is None else row.value >= least)


def _left_out(e: Evaluation) -> Target:
    row = e.find("emodb4_loso", model="embedding + LR")
    met = None if row is None else row.value >= 0.94
    return Target("EmoDB4, one speaker left out, embedding + LR", "≥ 0.94", _or_dash(row), met)


def _votes(e: Evaluation) -> Target:
    what, goal = "CREMA-D: divergence from the votes, in bits", "smaller than one listener's from the others"
    ours = e.find("crema6_votes", VOTES)
    listener = e.find("crema6_votes", VOTES, model="listener, smoothed")
    if ours is None or listener is None:
        return Target(what, goal, "–", None)
    measured = f"{shown(ours)}; listener (smoothed) {shown(listener)}"
    return Target(what, goal, measured, ours.value < listener.value)


def _calibration(e: Evaluation, name: str, size: int, what: str, most: float) -> Target:
    row = e.calibrated(name, size)
    if row is None:
        return Target(what, f"≤ {most:.2f}", "–", None)
    measured = f"{interval(row.ece, row.low, row.high)} (exact confidences would show {row.perfect:.3f})"
    return Target(what, f"≤ {most:.2f}", measured, row.ece <= most)


def _sounds(e: Evaluation) -> Target:
    found = [e.find(kind, PUBLISHED) for kind in ("music", "ivr_prompt", "tone")]
    rows = [row for row in found if row is not None]
    shares = ", ".join(f"{row.set} {100 * row.value:.1f} % of {row.n}" for row in rows)
    met = all(row.value <= SOUND_PUBLISHED for row in rows) if len(rows) == len(found) else None
    if rows and any(row.value > SOUND_PUBLISHED for row in rows):
        met = False
    return Target("hold music, prompts, tones published as an emotion", "≤ 1 % of clips", shares or "–", met)


def _speech(e: Evaluation) -> Target:
    row = e.find("speech", REJECTED)
    measured = "–" if row is None else f"{100 * row.value:.2f} % of {row.n:,}"
    met = None if row is None else row.value <= SPEECH_REJECTED
    return Target("speech rejected", "≤ 2 %", measured, met)


def _robustness(e: Evaluation) -> Target:
    cold, warm = (e.find(ALL_SETS, LOST, size, COMBINED) for size in (0, DESCRIBED_PROFILE))
    rows = [(row, word) for row, word in ((cold, "cold"), (warm, "with a profile")) if row is not None]
    measured = "; ".join(f"{word} {shown(row)}" for row, word in rows) or "–"
    met = None if not rows else all(row.value <= 0.05 for row, _ in rows)
    return Target("UAR lost at 10 dB SNR and 5 % packet loss, mean of sets", "≤ 0.05", measured, met)


def _legs(e: Evaluation) -> Target:
    what, goal = "UAR lost by knowing the leg, mean of sets, worst kind of call", "≤ 0.01"
    rows = [
        r for r in e.results if (r.set, r.metric) == (ALL_SETS, LOST) and r.condition.startswith("calls_")
    ]
    if not rows:
        return Target(what, goal, "–", None)
    worst = max(rows, key=lambda r: r.value)
    kind = worst.condition.removeprefix("calls_").replace("_", " ")
    return Target(what, goal, f"{shown(worst)} ({kind})", worst.value <= 0.01)


def _pretraining(e: Evaluation) -> Target:
    what, goal = "gain of pretraining at 10 % of labels, UAR", "> 0, interval clear of 0"
    arms = [
        arm
        for summary in summaries(e.experiments)
        if summary.get("experiment") == FEW_LABELS
        for arm in summary["arms"]
        if isinstance(arm, Mapping) and arm.get("name") == TEN_PERCENT
    ]
    gain = arms[0].get("difference", {}).get("mean") if arms else None
    if not isinstance(gain, Mapping) or not isinstance(gain.get("value"), int | float):
        return Target(what, goal, "–", None)
    low, high = (_number(gain.get(key)) for key in ("low", "high"))
    return Target(what, goal, interval(float(gain["value"]), low, high), low is not None and low > 0)


def summaries(value: Any) -> list[Mapping[str, Any]]:
    """Summaries of experiments (mappings with `arms`, as `training.experiments` writes them) in what was handed in."""
    if isinstance(value, Mapping):
        if isinstance(value.get("arms"), list):
            return [value]
        value = list(value.values())
    return [found for inner in value for found in summaries(inner)] if isinstance(value, list) else []


def _number(value: object) -> float | None:
    return float(value) if isinstance(value, int | float) else None


def _cost(e: Evaluation) -> Target:
    what = "one core, int8, batch 1, a 4 s utterance: tokenizer, encoder and head"
    row = next((c for c in e.cost if c.what == "all parts, int8, 4 s"), None)
    if row is None:
        return Target(what, "≤ 15 ms", "–", None)
    return Target(what, "≤ 15 ms", f"{row.value:.1f} ms", row.value <= 15)


def _or_dash(row: ResultRow | None) -> str:
    return "–" if row is None else shown(row)
