"""Whoever is woken finds what to do: every alert has its section, every section its alert."""

from __future__ import annotations

import re

import pytest

from app.telemetry.metrics import Metrics
from tests.deploy.files import ROOT, alerts
from tests.test_house_rules import setting_names

PAGE = (ROOT / "docs" / "runbooks.md").read_text(encoding="utf-8")
SECTIONS = dict(re.findall(r"^### (\w+)\n(.*?)(?=^##|\Z)", PAGE, re.M | re.S))


def anchors() -> set[str]:
    """What can be linked to on the page."""
    return {
        re.sub(r"[^a-z0-9 -]", "", title.lower()).replace(" ", "-")
        for title in re.findall(r"^##+ (.+)$", PAGE, re.M)
    }


def test_every_alert_has_a_section_and_every_section_an_alert() -> None:
    """Neither is forgotten when the other changes."""
    assert SECTIONS.keys() == alerts().keys()


@pytest.mark.parametrize("name", sorted(SECTIONS))
def test_a_section_says_what_it_means_how_to_see_and_what_to_do(name: str) -> None:
    """Three questions, in this order."""
    places = [SECTIONS[name].lower().find(word) for word in ("**means**", "**see**", "**do**")]
    assert -1 not in places
    assert places == sorted(places)


def test_the_page_tells_how_to_run_the_service_over_the_years() -> None:
    """Upgrade, backup, rollback and key rotation."""
    assert {"upgrade", "backup", "rollback", "key-rotation"} <= anchors()


def test_links_within_the_page_lead_somewhere() -> None:
    """No section refers to one that is gone."""
    assert set(re.findall(r"\]\(#([^)]+)\)", PAGE)) <= anchors()


def test_settings_and_metrics_on_the_page_exist() -> None:
    """A runbook that names a setting or a metric which is gone costs time at night."""
    settings = set(setting_names())
    named = {name for name in re.findall(r"`(KOWAIRO_[A-Z_]+)", PAGE) if not name.endswith("_")}
    fields = {name for name in named if name.startswith("KOWAIRO_CARRIERS__") and name not in settings}
    assert named - fields <= settings
    families = {family.name for family in Metrics().registry.collect()}
    metrics = {
        re.sub(r"_(total|info|bucket)$", "", name) for name in re.findall(r"\b(kowairo_[a-z_]+)", PAGE)
    }
    assert metrics <= families


@pytest.mark.parametrize("page", ["index.md", "operations.md"])
def test_the_page_is_linked(page: str) -> None:
    """Operators find it from where they look first."""
    assert "(runbooks.md)" in (ROOT / "docs" / page).read_text(encoding="utf-8")
