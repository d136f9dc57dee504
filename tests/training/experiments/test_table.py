"""The page: tables from figures alone, verdicts from intervals, and a part that survives every rewriting."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from training.experiments.table import CLOSE, OPEN, cheapest, section, split_config, verdict, write_page


def figure(value: float, low: float | None = None, high: float | None = None) -> dict[str, Any]:
    """As JSON has it."""
    return {"value": value, "low": low, "high": high, "n": 10, "speakers": 2}


def summary() -> dict[str, Any]:
    """Two arms of one experiment."""
    plain = {"name": "scratch", "config": {"start": "scratch", "steps": 9}, "against": None, "seconds": 90.0,
             "uar": {"mean": figure(0.5, 0.4, 0.6), "made7": figure(0.5, 0.4, 0.6), "emodb4": figure(0.6)},
             "difference": {}, "figures": {"labels": 12}}  # fmt: skip
    better = {"name": "pretrained", "config": {"start": "pretrained", "steps": 9}, "against": "scratch",
              "seconds": 30.0, "uar": {"mean": figure(0.7, 0.6, 0.8)},
              "difference": {"mean": figure(0.2, 0.1, 0.3), "made7": figure(0.2, -0.1, 0.3)},
              "figures": {"labels": 12, "perplexity": [1.5, 20.0]}}  # fmt: skip
    return {"experiment": "few", "question": "What?", "seeds": [0, 1], "arms": [plain, better]}


@pytest.mark.parametrize(
    ("found", "expected"),
    [
        (figure(0.2, 0.1, 0.3), "better than a: +0.200 [+0.100, +0.300]"),
        (figure(-0.2, -0.3, -0.1), "worse than a: -0.200 [-0.300, -0.100]"),
        (figure(0.2, -0.1, 0.3), "no difference shown from a: +0.200 [-0.100, +0.300]"),
        (figure(0.2), "+0.200 from a, without an interval"),
    ],
)
def test_verdicts_follow_the_interval(found: dict[str, Any], expected: str) -> None:
    """Better and worse need an interval clear of zero."""
    assert verdict({"against": "a", "difference": {"mean": found}}) == expected


def test_a_verdict_waits_for_its_reference() -> None:
    """The first arm is the reference; one whose reference is missing says so."""
    assert verdict({"against": None, "difference": {}}) == "reference"
    assert verdict({"against": "a", "difference": {}}) == "a has not been run yet"


def test_a_section_has_a_row_an_arm() -> None:
    """What varies is in the rows, what is shared above them, and differences by set below."""
    lines = section(summary()).splitlines()
    assert "All arms: steps 9, seeds 0 1." in lines
    rows = [line for line in lines if line.startswith("| scratch") or line.startswith("| pretrained")]
    assert rows[0] == (
        "| scratch | start scratch | 0.500 [0.400, 0.600] | 0.600 | 12 | – | 1.5 | reference |"
    )
    assert rows[1].endswith("| 12 | 1.5 20 | 0.5 | better than scratch: +0.200 [+0.100, +0.300] |")
    assert rows[2] == "| pretrained | +0.200 [-0.100, +0.300] |"


def test_the_hand_written_part_stays(tmp_path: Path) -> None:
    """Tables are written anew; what stands between the markers is kept, word for word."""
    out, page = tmp_path / "out", tmp_path / "page.md"
    out.mkdir()
    write_page(out, page)
    assert "## few" not in page.read_text()
    page.write_text(page.read_text().replace(CLOSE, f"| mine | x | 0.5 | kept |\n\n{CLOSE}"))
    (out / "few.json").write_text(json.dumps(summary()))
    write_page(out, page)
    once = page.read_text()
    write_page(out, page)
    assert page.read_text() == once
    assert "| mine | x | 0.5 | kept |" in once.split(OPEN)[1].split(CLOSE)[0]
    assert "## few" in once


def test_configurations_are_split_into_varied_and_shared() -> None:
    """A key that one arm lacks is varied."""
    assert split_config([{"a": 1, "b": 2}, {"a": 1, "b": 3, "c": 4}]) == (["b", "c"], {"a": 1})


def test_the_cheapest_is_not_shown_worse() -> None:
    """Of three cheaper arms, one is shown worse, one is not, and one has no interval to say so."""
    rows: list[tuple[str, float, dict[str, Any]]] = [
        ("full", 1600.0, {}),
        ("half", 800.0, {"mean": figure(-0.01, -0.03, 0.01)}),
        ("quarter", 400.0, {"mean": figure(-0.1, -0.2, -0.05)}),
        ("least", 100.0, {"mean": figure(0.1)}),
    ]
    arms = [
        {"name": name, "against": "full" if apart else None, "difference": apart,
         "figures": {"bits_per_second": rate}}
        for name, rate, apart in rows
    ]  # fmt: skip
    assert cheapest(arms) == "Lowest bit rate not shown worse than the reference: half, 800 bit/s."
    assert cheapest([{"name": "a", "against": None, "difference": {}, "figures": {}}]) is None
