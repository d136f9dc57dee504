"""The Grafana dashboard is made from the metrics and cannot fall behind them."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

from app.telemetry.dashboard import NO_PANEL, PANELS, dashboard, dashboard_text
from app.telemetry.metrics import Metrics

COMMITTED = Path(__file__).resolve().parents[2] / "deploy" / "grafana" / "kowairo.json"


def families() -> dict[str, str]:
    """Every family of metrics that the service exposes, with its type."""
    return {family.name: family.type for family in Metrics().registry.collect()}


def named(expression: str) -> set[str]:
    """The families that a query is about."""
    names = re.findall(r"\b(?:kowairo|process)_[a-z0-9_]+", expression)
    kinds = families()
    return {
        name
        if name in kinds and kinds[name] == "gauge"
        else re.sub(r"_(total|bucket|sum|count|info)$", "", name)
        for name in names
    }


def test_the_committed_dashboard_is_what_the_metrics_give() -> None:
    """Whoever changes a metric runs `make dashboard`."""
    assert COMMITTED.read_text(encoding="utf-8") == dashboard_text()


def test_the_module_prints_it() -> None:
    """`python -m app.telemetry.dashboard` is what the make target runs."""
    command = [sys.executable, "-m", "app.telemetry.dashboard"]
    printed = subprocess.run(command, capture_output=True, text=True, check=True, encoding="utf-8")
    assert printed.stdout == dashboard_text()


def test_every_metric_that_is_shown_exists() -> None:
    """No panel stays empty because its metric was renamed; counters are asked for as rates."""
    kinds = families()
    for metric, queries in PANELS.items():
        for query in queries:
            assert metric in named(query.expr)
            assert named(query.expr) <= kinds.keys()
            assert "_total" not in query.expr or "rate(" in query.expr


def test_every_label_in_a_query_is_the_metrics_own() -> None:
    """What is grouped by or written in a legend is a label of that metric, or one that the scrape adds."""
    labels = {"job", "instance", "le"}
    for value in vars(Metrics()).values():
        labels |= set(getattr(value, "_labelnames", ()))
    labels |= {"name", "version", "variant", "provider"}
    for queries in PANELS.values():
        for query in queries:
            grouped = {
                part.strip() for by in re.findall(r"by \(([^)]*)\)", query.expr) for part in by.split(",")
            }
            assert grouped <= labels
            assert set(re.findall(r"\{\{(\w+)\}\}", query.legend)) <= grouped | {"instance"}


def test_every_metric_has_a_panel_or_a_reason() -> None:
    """Nothing is counted that nobody can look at, unless it says why."""
    own = {name for name in families() if name.startswith("kowairo_")}
    assert own == {name for name in PANELS.keys() | NO_PANEL.keys() if name.startswith("kowairo_")}
    assert all(len(reason.split()) >= 4 for reason in NO_PANEL.values())


def test_a_new_metric_is_not_forgotten() -> None:
    """The dashboard cannot be made until somebody has decided about it."""
    with pytest.raises(ValueError, match=r"without panel or reason: \['kowairo_new'\]"):
        dashboard([*families(), "kowairo_new"])


def test_a_removed_metric_is_noticed() -> None:
    """Nor while it names one that is gone."""
    left = [name for name in families() if name != "kowairo_sheds"]
    with pytest.raises(ValueError, match=r"not exposed: \['kowairo_sheds'\]"):
        dashboard(left)


def test_panels_do_not_cover_each_other() -> None:
    """Every panel has its own id and its own place on the grid, which is 24 wide."""
    panels = dashboard(families())["panels"]
    assert len({panel["id"] for panel in panels}) == len(panels)
    taken = set()
    for panel in panels:
        place = panel["gridPos"]
        assert place["x"] + place["w"] <= 24
        cells = {
            (place["x"] + across, place["y"] + down)
            for across in range(place["w"])
            for down in range(place["h"])
        }
        assert not cells & taken
        taken |= cells


def test_queries_are_about_the_chosen_instances() -> None:
    """Every series that is asked for is narrowed to the installation and the instances chosen above."""
    text = json.dumps(dashboard(families()), ensure_ascii=False)
    assert "%" not in text
    for panel in dashboard(families())["panels"]:
        for target in panel.get("targets", ()):
            series = re.findall(r"\b(?:kowairo|process)_[a-z0-9_]+(\{[^}]*\})?", target["expr"])
            assert series
            assert set(series) == {'{job="$job",instance=~"$instance"}'}
            assert "[5m]" not in target["expr"]
