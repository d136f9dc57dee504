"""The rules of Prometheus: well formed, tested, about metrics that exist, and each alert complete."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from app.telemetry.metrics import Metrics
from tests.deploy.files import PROMETHEUS, alerts, promtool, read_yaml, recordings

RULES = sorted(PROMETHEUS.glob("*.rules.yml"))
TESTS = sorted((PROMETHEUS / "tests").glob("*.test.yml"))
_NAME = re.compile(r"\b(?:kowairo|process)_[a-z0-9_]+\b")


def samples() -> set[str]:
    """Every name that a scrape can hold."""
    names = set()
    for family in Metrics().registry.collect():
        if family.type == "counter":
            names.add(f"{family.name}_total")
        elif family.type == "histogram":
            names |= {f"{family.name}_{part}" for part in ("bucket", "sum", "count")}
        elif family.type == "info":
            names.add(f"{family.name}_info")
        else:
            names.add(family.name)
    return names


def checks(path: Path) -> list[dict[str, Any]]:
    """Every expectation of an alert in a file of tests."""
    return [check for group in read_yaml(path)["tests"] for check in group["alert_rule_test"]]


def test_promtool_takes_the_configuration() -> None:
    """The scrape configuration and the rules it names are what Prometheus understands."""
    promtool("check", "config", "prometheus.yml")


@pytest.mark.parametrize("path", RULES, ids=lambda path: path.stem)
def test_promtool_takes_the_rules(path: Path) -> None:
    """No duplicate, no unknown function, no template that fails."""
    promtool("check", "rules", "--lint=all", "--lint-fatal", path.name)


@pytest.mark.parametrize("path", TESTS, ids=lambda path: path.stem)
def test_the_rules_fire_when_they_should_and_not_otherwise(path: Path) -> None:
    """Made-up series, and what comes of them, evaluated by Prometheus' own engine."""
    promtool("test", "rules", path.name, folder=path.parent)


def test_every_alert_is_shown_to_fire_and_not_to_fire() -> None:
    """An alert that is tested in one direction only may be always on, or never."""
    found = [check for path in TESTS for check in checks(path)]
    assert {check["alertname"] for check in found if check["exp_alerts"]} == alerts().keys()
    assert {check["alertname"] for check in found if not check["exp_alerts"]} == alerts().keys()


def test_rules_are_about_metrics_that_exist() -> None:
    """A renamed metric would silence its alert."""
    known = samples()
    expressions = [*recordings().values(), *(str(rule["expr"]) for rule in alerts().values())]
    for expression in expressions:
        recorded = {name for name in recordings() if name in expression}
        rest = expression
        for name in recorded:
            rest = rest.replace(name, "")
        used = set(_NAME.findall(rest))
        assert used or recorded or "up{" in expression
        assert used <= known, expression


def test_every_recorded_series_is_used() -> None:
    """By an alert, or by another recording that an alert or a person uses; medians are for people."""
    for_people = {
        "job:kowairo_calls_active:sum",
        "job:kowairo_utterance_latency_seconds:p50_rate5m",
        "job:kowairo_utterance_latency_seconds:p95_rate5m",
    }
    text = " ".join([*recordings().values(), *(str(rule["expr"]) for rule in alerts().values())])
    assert {name for name in recordings() if name not in text} == for_people


@pytest.mark.parametrize("name", sorted(alerts()))
def test_every_alert_says_all_that_is_needed(name: str) -> None:
    """How bad, what, in how many words, and where to read on."""
    rule = alerts()[name]
    assert name.startswith("Kowairo")
    assert rule["labels"] == {"severity": rule["labels"]["severity"]}
    assert rule["labels"]["severity"] in {"critical", "warning"}
    assert set(rule["annotations"]) == {"summary", "description", "runbook_url"}
    assert rule["annotations"]["runbook_url"] == f"docs/runbooks.md#{name.lower()}"
    assert len(rule["annotations"]["summary"]) < 90


def test_prometheus_loads_the_rules() -> None:
    """The configuration for compose names every file of rules."""
    config = read_yaml(PROMETHEUS / "prometheus.yml")
    assert sorted(config["rule_files"]) == [path.name for path in RULES]
    assert [scrape["job_name"] for scrape in config["scrape_configs"]] == ["kowairo"]
