"""The command line: an experiment from end to end, the page, and refusals in one line."""

from __future__ import annotations

from pathlib import Path

import pytest

from training.experiments.__main__ import main


def test_an_experiment_and_its_page(
    run_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Run, run again (nothing to do), write the page."""
    out, page = str(tmp_path / "out"), tmp_path / "docs" / "page.md"
    command = ["few_labels", "--run", str(run_folder), "--out", out, "--steps", "2", "--threads", "1"]
    assert main([*command, "--shares", "1", "--arms", "scratch_100pct"]) == 0
    assert main([*command, "--shares", "1", "--arms", "scratch_100pct"]) == 0
    assert main(["table", "--out", out, "--page", str(page)]) == 0
    said = capsys.readouterr().out.splitlines()
    assert said[0].startswith("few_labels: 1 arms run")
    assert said[1].startswith("few_labels: 0 arms run")
    assert "| scratch_100pct |" in page.read_text()


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (["tokenizers", "--arms", "best"], "has no arm 'best'"),
        (["masking", "--run", "nowhere"], "config.json is missing"),
        (["few_labels", "--checkpoint", "scratch=x"], "name yours otherwise"),
        (["student_size"], "--bundle"),
    ],
)
def test_refusals_are_one_line(
    run_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], complaint: str
) -> None:
    """What can't be done ends with code 2 and says why."""
    run = [] if "--run" in arguments or arguments == ["student_size"] else ["--run", str(run_folder)]
    assert main([*arguments, *run, "--out", str(tmp_path)]) == 2
    error = capsys.readouterr().err
    assert error.startswith("error: ")
    assert complaint in error
    assert error.count("\n") == 1


def test_a_checkpoint_needs_a_name(capsys: pytest.CaptureFixture[str]) -> None:
    """`--checkpoint` is NAME=FILE."""
    with pytest.raises(SystemExit):
        main(["few_labels", "--run", "x", "--checkpoint", "file"])
    assert "expected NAME=FILE" in capsys.readouterr().err
