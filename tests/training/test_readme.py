"""Tests of the README's figures."""

from pathlib import Path

import pytest

from tests.training.report.made_evaluation import plain
from training.card_schema import Evaluation
from training.readme import END, START, figures, read_evaluation, rewrite

ROOT = Path(__file__).parents[2]
BUNDLE = ROOT / "models" / "bundles" / "kowairo-8k"


def test_readme_says_what_the_shipped_evaluation_says() -> None:
    """Nobody typed a figure: writing the block anew changes nothing."""
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    assert rewrite(readme, read_evaluation(BUNDLE)) == readme


def test_every_set_has_a_row() -> None:
    """Each measured set is in the table, with its cold figure."""
    evaluation = read_evaluation(BUNDLE)
    block = figures(evaluation)
    assert evaluation.sets
    for test in evaluation.sets:
        assert f"| {test.name} |" in block


def test_targets_and_baselines_stand_in_the_readme() -> None:
    """With what was measured, and whether it is enough."""
    block = figures(Evaluation.model_validate(plain()))
    assert "| speech rejected | ≤ 2 % | 1.12 % of 3,000 | yes |" in block
    assert "| eGeMAPSv02 + LR | all train splits | cold | 0.501 |" in block
    assert "all in-corpus test sets, cold: 0.041; exact confidences would show 0.011." in block
    assert "hold music 0.0 %, prompts 80.0 %, network tones 0.4 % of clips, while 1.1 % of speech" in block
    assert "| emodb4 | EmoDB, never trained on | 0.701 (0.65–0.75) | 0.891 (0.65–0.75) | – |" in block


def test_a_readme_without_the_block_is_refused() -> None:
    """A lost marker is an error, not a silent skip."""
    with pytest.raises(ValueError, match="expected a block"):
        rewrite(f"no markers but {START}", read_evaluation(BUNDLE))
    assert END
