"""The report's folder holds everything, links to all of it, and nothing of an earlier evaluation."""

from __future__ import annotations

import re
from pathlib import Path

from tests.training.report.made_evaluation import evaluation, plain
from training.card_schema import Evaluation
from training.report.write import write_report


def test_a_report_is_whole(tmp_path: Path) -> None:
    """JSON that reads back, the card as given, tables twice, plots; old tables go; every link leads somewhere."""
    stale = tmp_path / "tables" / "old.md"
    stale.parent.mkdir(parents=True)
    stale.write_text("old")
    write_report(tmp_path, evaluation(), "# card\n")
    assert not stale.exists()
    assert (tmp_path / "MODEL_CARD.md").read_text() == "# card\n"
    read = Evaluation.model_validate_json((tmp_path / "evaluation.json").read_text())
    assert read == Evaluation.model_validate(plain())
    page = (tmp_path / "README.md").read_text()
    links = re.findall(r"\]\(([^)]+)\)", page)
    assert links
    assert all((tmp_path / link).is_file() for link in links)
    written = {p.relative_to(tmp_path).as_posix() for p in tmp_path.rglob("*") if p.is_file()}
    assert written == {*links, "README.md"}
    assert "Whisper-tiny + LR: not measured" in page
    assert "| target | to reach | measured | met |" in page
