"""Plots are SVG, the same bytes for the same figures, and only of what was measured."""

from __future__ import annotations

import xml.etree.ElementTree as ET

import pytest

from tests.training.report.made_evaluation import evaluation
from training.report.plots import all_plots, names


@pytest.fixture(scope="module")
def plots() -> dict[str, str]:
    """Every plot."""
    return all_plots(evaluation())


def test_every_plot_is_an_svg_of_its_own_figures(plots: dict[str, str]) -> None:
    """Well-formed, dateless, with text as text."""
    assert set(plots) == {"profile_and_baselines", "robustness", "reliability", "risk_coverage", "confusions"}
    assert set(names(list(plots))) == set(plots)
    for svg in plots.values():
        assert ET.fromstring(svg).tag.endswith("svg")
        assert "<dc:date>" not in svg
    assert "eGeMAPSv02 + LR" in plots["profile_and_baselines"]
    assert "emodb4" in plots["confusions"]


def test_the_same_figures_make_the_same_bytes(plots: dict[str, str]) -> None:
    """So that a report that didn't change doesn't change in the repository."""
    assert all_plots(evaluation()) == plots


def test_what_was_not_measured_is_not_drawn() -> None:
    """A bare evaluation has no plots."""
    bare = evaluation(results=[], baselines=[], confusion={}, calibration=[], risk_coverage={})
    assert all_plots(bare) == {}
