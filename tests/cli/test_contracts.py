"""`python -m app contracts` writes what a service serves."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from app.cli.exits import ExitCode
from app.cli.parser import main


def test_the_contracts_are_written(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Documents and schemas; a schema of before is removed, other files stay."""
    folder = tmp_path / "made"
    (folder / "schemas").mkdir(parents=True)
    (folder / "schemas" / "client.old.json").write_text("{}")
    (folder / "page.md").write_text("page")
    assert main(["contracts", str(folder)]) == ExitCode.DONE
    assert capsys.readouterr().out.endswith(f"files in {folder}\n")
    assert json.loads((folder / "openapi.json").read_text())["openapi"].startswith("3.1")
    assert json.loads((folder / "asyncapi.json").read_text())["asyncapi"] == "3.0.0"
    assert (folder / "schemas" / "client.start.json").exists()
    assert not (folder / "schemas" / "client.old.json").exists()
    assert (folder / "page.md").exists()


def test_a_folder_that_cannot_be_written(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """One line."""
    (tmp_path / "file").write_text("")
    assert main(["contracts", str(tmp_path / "file")]) == ExitCode.FAILED
    assert str(tmp_path / "file") in capsys.readouterr().err
