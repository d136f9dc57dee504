"""A card shows the figures of its evaluation file, all of them and no others."""

from __future__ import annotations

import copy
import re
from typing import Any

import pytest

from tests.training.report.made_evaluation import plain as _evaluation
from tests.training.report.made_evaluation import result as _result
from training.card_schema import Evaluation
from training.model_card import CardError, render_card

_MANIFEST: dict[str, Any] = {
    "name": "kowairo-8k",
    "version": "0.1.0",
    "sample_rate_hz": 8000,
    "tokenizer": {"hop_samples": 320, "codebook_sizes": [512, 512]},
    "encoder": {"default": "int8", "embedding_dim": 192},
    "heads": {
        "default": {
            "categories": ["angry", "neutral"],
            "calibration": {"kind": "temperature", "temperature": 1.25},
            "dimensions": {"source": "a mapping from categories"},
        }
    },
    "abstain": {"min_speech_s": 0.4, "min_snr_db": 3.0, "min_confidence": 0.35},
}


def _section(card: str, name: str) -> str:
    found = re.search(rf"^## {re.escape(name)}\n\n(.*?)(?=^## |\Z)", card, re.DOTALL | re.MULTILINE)
    assert found is not None, f"no section {name}"
    return found.group(1)


def test_a_card_has_every_section() -> None:
    """The order is that of a reader: what it is, for what, from what, how good, where it fails."""
    card = render_card(_evaluation(), _MANIFEST)
    assert card.startswith("# kowairo-8k 0.1.0\n")
    assert re.findall(r"^## (.*)$", card, re.MULTILINE) == [
        "Details",
        "Intended use",
        "Out of scope",
        "Data",
        "How it was trained",
        "Figures",
        "Targets",
        "Calibration and abstention",
        "Not speech",
        "Robustness",
        "Gaps between groups",
        "Cost",
        "Limits",
    ]
    full = render_card(_evaluation(av={"a": 1}, experiments=[{"b": 2}]), _MANIFEST)
    assert "Audio and video: " not in full
    assert "| a | 1 |" in _section(full, "Audio and video")
    assert "| 2 |" in _section(full, "Experiments")


def test_tables_are_rectangular() -> None:
    """Every run of table lines has one number of cells."""
    for table in re.findall(r"(?:^\|.*\n)+", render_card(_evaluation(), _MANIFEST), re.MULTILINE):
        widths = {len(re.findall(r"(?<!\\)\|", row)) for row in table.splitlines()}
        assert len(widths) == 1, table


def test_details_come_from_manifest_and_evaluation() -> None:
    """Codebooks, hop, calibration, abstention, parameters and sizes."""
    details = _section(render_card(_evaluation(), _MANIFEST), "Details")
    for text in (
        "8000 Hz",
        "angry, neutral",
        "a mapping from categories",
        "512 + 512, one set every 40 ms",
        "192 values",
        "2,400,000 (tokenizer 400,000, encoder 2,000,000)",
        "encoder.int8.onnx 2.34 MB",
        "temperature, 1.250",
        "below 0.4 s of speech, below 3 dB SNR, below a posterior of 0.35",
        "2025-01-31, `abc123`",
    ):
        assert text in details


def test_figures_stand_with_their_intervals_by_profile() -> None:
    """Cold and profile are columns of one row; one speaker has no interval; the bundle's variant leads."""
    figures = _section(render_card(_evaluation(), _MANIFEST), "Figures")
    assert "| set | condition | model | cold | profile 20 | profile 50 | clips | speakers |" in figures
    row = "| emodb4 | clean | int8 | 0.701 [0.651, 0.751] | 0.751 [0.651, 0.751] | 0.891 [0.651, 0.751] |"
    assert row in figures
    assert "| own | clean | int8 | 0.551 | – | – | 339 | 1 |" in figures
    assert figures.index("| own | clean | int8") < figures.index("| emodb4 | clean | fp32 | 0.711")
    assert "**macro-F1**" in figures
    assert "| emodb4 | profile 50 | 0.901 [0.850, 0.950] | – |" in figures
    assert "| angry | 114 | 13 |" in figures
    assert "| listener, smoothed | 0.221" in figures
    assert "| baved_arousal | clean | int8 | 0.621" in figures


def test_baselines_are_of_this_run() -> None:
    """Beside the bundle, by what they were trained on; what was not installed is said; without any, no table."""
    figures = _section(render_card(_evaluation(), _MANIFEST), "Figures")
    assert "| eGeMAPSv02 + LR | all train splits | cold | 0.501 |" in figures
    assert "- Whisper-tiny + LR: not measured" in figures
    other = render_card(_evaluation(baselines=[]), _MANIFEST)
    assert "Beside the baselines" not in other


def test_what_was_not_measured_says_so() -> None:
    """A bare evaluation makes a card without invented figures."""
    bare = {key: _evaluation()[key] for key in ("bundle", "corpora", "results")} | {"results": []}
    card = render_card(bare, _MANIFEST)
    for name in (
        "How it was trained",
        "Figures",
        "Calibration and abstention",
        "Robustness",
        "Not speech",
        "Gaps between groups",
        "Cost",
    ):
        assert "Not measured in this evaluation" in _section(card, name)
    assert "0.7" not in _section(card, "Figures")


def test_every_other_part_is_shown() -> None:
    """Targets, robustness, gaps, calibration, what is not speech and cost, each from its own part of the file."""
    card = render_card(_evaluation(), _MANIFEST)
    assert "| speech rejected | ≤ 2 % | 1.12 % of 3,000 | yes |" in _section(card, "Targets")
    robustness = _section(card, "Robustness")
    assert "- `snr_10db`: noise at 10 dB SNR" in robustness
    assert "| emodb4 | snr_10db | int8 | 0.611" in robustness
    assert "| mean of sets | snr_10db | int8 | 0.081" in robustness
    assert "| emodb4 | female | 0.661 | 0.100 | 180 | 5 |" in _section(card, "Gaps between groups")
    calibration = _section(card, "Calibration and abstention")
    assert "| in_corpus | cold | 0.041 [0.031, 0.051] | 0.011 | 0.151 | 0.061 |" in calibration
    assert (
        "| in_corpus | 0.181 | 0.301 | 0.350 | 0.801 [0.750, 0.850] | 0.221 [0.200, 0.250] |" in calibration
    )
    sounds = _section(card, "Not speech")
    assert "| ivr_prompt | 0.100 [0.651, 0.751] | 0.800 [0.651, 0.751] | 125 |" in sounds
    assert "| ivr_prompt | a voice | 0.100 | 0.800 | 125 |" in sounds
    assert "| encoder | 1,300 × real time | one core |" in _section(card, "Cost")


def test_training_names_stages_and_teachers() -> None:
    """With configuration, seed and time."""
    training = _section(render_card(_evaluation(), _MANIFEST), "How it was trained")
    assert "| tokenizer | audio VQ-VAE | 1,500 | 15.0 |" in training
    assert "| Whisper-base | frame features | MIT |" in training
    assert "Configuration: `training/configs/run/default.yaml`. Seed 7. 73.0 minutes in all." in training


def test_licences_decide_what_the_card_forbids() -> None:
    """Restricted corpora are named; with free ones alone the bullet is gone."""
    out = _section(render_card(_evaluation(), _MANIFEST), "Out of scope")
    assert "**No scoring of workers.**" in out
    assert "**Research and evaluation only.** ravdess are under" in out
    free = _evaluation(corpora=_evaluation()["corpora"][1:])
    assert "Research and evaluation only" not in _section(render_card(free, _MANIFEST), "Out of scope")


def test_limits_always_say_that_speech_was_acted() -> None:
    """Own corpora are excepted by name, and what the evaluation adds is kept."""
    limits = _section(render_card(_evaluation(), _MANIFEST), "Limits")
    assert "All labelled speech was acted" in limits
    assert "No real call was trained or tested on" in limits
    assert "- Never tried with | pipes." in limits
    own = {"name": "site", "licence": "the owner's", "clips": 1, "hours": 0.1, "used_for": "head"}
    limits = _section(render_card(_evaluation(corpora=[own]), _MANIFEST), "Limits")
    assert "save for what its owner says of site" in limits


def test_cells_cannot_break_a_table() -> None:
    """A pipe or a line break in a text stays inside its cell."""
    sets = [{"name": "emodb4", "what": "a | b\nc", "categories": ["angry"]}]
    assert "| emodb4 | a \\| b c | angry |" in render_card(_evaluation(sets=sets), _MANIFEST)


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        ({"results": [_result(), _result()]}, "two results for int8, emodb4, clean, 0, UAR"),
        ({"results": [_result(value=float("nan"))]}, "finite"),
        ({"confusion": {"a": {"labels": ["x"], "matrix": [[1, 2]]}}}, "expected a 1 × 1 matrix"),
        ({"bundle": ...}, "bundle"),
        ({"surprise": 1}, "surprise"),
        ({"schema_version": 1}, "schema_version"),
    ],
)
def test_a_malformed_evaluation_is_refused(changes: dict[str, Any], problem: str) -> None:
    """The message names the field."""
    with pytest.raises(CardError, match=problem):
        render_card(_evaluation(**changes), _MANIFEST)


def test_a_card_of_another_bundle_is_refused() -> None:
    """Figures never land beside a bundle that they were not measured on."""
    with pytest.raises(CardError, match=r"kowairo-8k 0\.1\.0, the manifest of kowairo-8k 0\.2\.0"):
        render_card(_evaluation(), _MANIFEST | {"version": "0.2.0"})


def test_a_malformed_manifest_is_refused() -> None:
    """A missing field is named."""
    manifest = copy.deepcopy(_MANIFEST)
    del manifest["tokenizer"]["hop_samples"]
    with pytest.raises(CardError, match="manifest: missing or malformed 'hop_samples'"):
        render_card(_evaluation(), manifest)


def test_the_schema_writes_what_it_reads() -> None:
    """Stages build `Evaluation` and save its JSON; reading that gives the same card."""
    text = Evaluation.model_validate(_evaluation()).model_dump_json()
    again = Evaluation.model_validate_json(text).model_dump()
    assert render_card(again, _MANIFEST) == render_card(_evaluation(), _MANIFEST)
