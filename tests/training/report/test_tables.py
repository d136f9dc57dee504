"""Tables hold every figure once, in cells that can't break them."""

from __future__ import annotations

import csv
import io

from tests.training.report.made_evaluation import evaluation, result
from training.card_schema import ResultRow
from training.report.tables import (
    Table,
    all_tables,
    csv_text,
    experiment_tables,
    generic,
    headline_table,
    markdown_table,
    plain,
    result_table,
)


def test_profiles_are_columns_and_the_variant_leads() -> None:
    """A row per set, condition and model."""
    rows = [ResultRow.model_validate(r) for r in (result(name="fp32"), result(), result(profile_n=20, n=319))]
    table = result_table(rows, "int8", "UAR")
    assert table.head == ("set", "condition", "model", "cold", "profile 20", "clips", "speakers")
    assert [row[2] for row in table.rows] == ["int8", "fp32"]
    assert table.rows[0][3:] == ("0.701 [0.651, 0.751]", "0.701 [0.651, 0.751]", "339 / 319", "10")
    assert table.rows[1][4] == "–"


def test_the_bundle_stands_beside_the_baselines() -> None:
    """Ours first, cold and with a profile; each baseline by what it was trained on; one speaker left out in the end."""
    table = headline_table(evaluation())
    assert table.head == ("system", "trained on", "line", "emodb4", "own", "emodb4_loso")
    assert [row[:3] for row in table.rows] == [
        ("this bundle (int8)", "all train splits", "cold"),
        ("this bundle (int8)", "all train splits", "profile 50"),
        ("eGeMAPSv02 + LR", "all train splits", "cold"),
        ("eGeMAPSv02 + LR", "all train splits", "profile 50"),
        ("eGeMAPSv02 + LR", "RAVDESS 01–18", "cold"),
    ]
    assert table.rows[0][5].startswith("0.851")
    assert table.rows[2][3] == "0.501"


def test_every_part_has_its_table() -> None:
    """By the name of its file; what was not measured has none."""
    names = set(all_tables(evaluation()))
    assert {
        "targets", "baselines", "uar", "macro_f1", "recalls", "robustness", "robustness_lost", "calibration",
        "abstention", "votes", "arousal", "not_speech", "not_speech_sources", "gaps_sex", "gaps_language",
        "confusion_emodb4", "baselines_all",
    } == names  # fmt: skip
    bare = evaluation(
        results=[],
        baselines=[],
        recalls={},
        confusion={},
        calibration=[],
        risk_coverage={},
        sounds=[],
        gaps={},
    )
    assert set(all_tables(bare)) == {"targets"}


def test_groups_say_how_far_apart_they_are() -> None:
    """The difference of the set's best and worst group."""
    rows = all_tables(evaluation())["gaps_sex"].rows
    assert [row[3] for row in rows] == ["0.100", "0.100"]


def test_what_is_handed_in_becomes_tables() -> None:
    """Lists of mappings, flat mappings, sections; anything alone is left out."""
    value = {
        "epochs": 3,
        "runs": [{"share": 0.1, "UAR": 0.51234}, {"share": 1.0, "note": None}],
        "deep": {"a": {"b": True}},
        "names": ["x", "y"],
    }
    found = {t.title: t for t in generic("Experiments", value)}
    assert found["Experiments"].rows == [("epochs", "3")]
    runs = found["Experiments: runs"]
    assert runs.head == ("share", "UAR", "note")
    assert list(runs.rows) == [("0.100", "0.512", "–"), ("1.000", "–", "–")]
    assert found["Experiments: deep: a"].rows == [("b", "yes")]
    assert found["Experiments: names"].rows == [("x",), ("y",)]
    assert generic("x", None) == generic("x", "text") == []
    assert [plain(v) for v in (12345.678, 0.00012, False, [1, 2])] == ["1.235e+04", "0.00012", "no", "1, 2"]


def test_experiments_become_a_table_each() -> None:
    """An arm a row: mean UAR, EmoDB, the paired difference, and whatever else it measured."""
    figure = {"value": 0.5, "low": 0.4, "high": 0.6, "n": 9, "speakers": 3}
    arms = [
        {"name": "a", "uar": {"mean": figure}, "difference": {}, "figures": {"labels": 30}},
        {"name": "b", "uar": {}, "difference": {"mean": {"value": 0.1, "low": None}}, "against": "a"},
    ]
    (table,) = experiment_tables([{"experiment": "few_labels", "question": "What?", "arms": arms}])
    assert (table.title, table.note) == ("Experiment: few_labels", "What?")
    assert list(table.rows) == [
        ("a", "0.500 [0.400, 0.600]", "–", "–", "–", "labels 30"),
        ("b", "–", "–", "0.100", "a", ""),
    ]
    assert experiment_tables({"x": 1})[0].rows == [("x", "1")]


def test_cells_cannot_break_a_table() -> None:
    """A pipe or a line break stays inside its cell; CSV gives the same text back."""
    table = Table("t", "", ("a", "b"), [("x | y\nz", "")])
    assert markdown_table(table.head, table.rows).splitlines()[2] == "| x \\| y z | – |"
    assert list(csv.reader(io.StringIO(csv_text(table))))[1] == ["x | y\nz", ""]
