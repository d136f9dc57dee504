"""Tests of the README's figures."""

from pathlib import Path

import pytest

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


def test_a_readme_without_the_block_is_refused() -> None:
    """A lost marker is an error, not a silent skip."""
    with pytest.raises(ValueError, match="expected a block"):
        rewrite(f"no markers but {START}", read_evaluation(BUNDLE))
    assert END
