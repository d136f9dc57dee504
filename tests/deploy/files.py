"""Where the files of `deploy/` are, and what else the tests of them share."""

from __future__ import annotations

import shutil
import subprocess
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).resolve().parents[2]
DEPLOY = ROOT / "deploy"
PROMETHEUS = DEPLOY / "prometheus"
CHART = DEPLOY / "helm" / "kowairo"
FAST_LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


def read_yaml(path: Path) -> Any:
    """A file of one YAML document."""
    return yaml.load(path.read_text(encoding="utf-8"), Loader=FAST_LOADER)


@cache
def alerts() -> dict[str, dict[str, Any]]:
    """Every alert by its name."""
    groups = read_yaml(PROMETHEUS / "alerts.rules.yml")["groups"]
    return {rule["alert"]: rule for group in groups for rule in group["rules"]}


@cache
def recordings() -> dict[str, str]:
    """Every recorded series and what it is."""
    groups = read_yaml(PROMETHEUS / "recording.rules.yml")["groups"]
    return {rule["record"]: rule["expr"] for group in groups for rule in group["rules"]}


def promtool(*arguments: str, folder: Path = PROMETHEUS) -> None:
    """Runs Prometheus' own checker, or skips the test where it is not installed.

    Raises:
        AssertionError: it found something; the message is what it said.
    """
    program = shutil.which("promtool")
    if program is None:
        pytest.skip("promtool is missing: apt-get install prometheus")
    done = subprocess.run([program, *arguments], cwd=folder, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
