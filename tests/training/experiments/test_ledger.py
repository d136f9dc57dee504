"""Arms are run once: what is finished stays, what was interrupted goes on, another configuration is refused."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from training.experiments.figures import Answers
from training.experiments.ledger import Arm, ExperimentError, Ledger, Outcome


class Counting:
    """Two arms whose figures are made up; `fail_at` is killed on its first attempt."""

    name = "counting"
    question = "Does it count?"

    def __init__(self, factor: int = 1, fail_at: str = "") -> None:
        self.factor, self.fail_at = factor, fail_at
        self.worked: list[tuple[str, int]] = []

    def arms(self) -> Sequence[Arm]:
        """The reference, and one better."""
        return [Arm("plain", {"factor": self.factor}), Arm("better", {"factor": self.factor}, "plain")]

    def work(self, arm: Arm, seed: int, folder: Path) -> Outcome:
        """Half right, or all."""
        self.worked.append((arm.name, seed))
        (folder / "state").mkdir(exist_ok=True)
        (folder / "half").touch()
        if arm.name == self.fail_at:
            self.fail_at = ""
            raise KeyboardInterrupt
        truth = np.array([0, 1, 0, 1])
        given = truth if arm.name == "better" else np.zeros(4, np.int64)
        answers = Answers(truth, given[None], ("a", "a", "b", "b"))
        return Outcome({"set": answers}, {"clips": 4 + seed, "list": [1.0, seed], "word": "yes"})


def test_figures_and_differences_are_summarised(tmp_path: Path) -> None:
    """The summary has UAR, the paired difference from the reference, and other figures averaged over seeds."""
    ran = Ledger(Counting(), tmp_path, (0, 1)).conduct()
    assert ran == ["plain/0", "plain/1", "better/0", "better/1"]
    summary = json.loads((tmp_path / "counting.json").read_text())
    plain, better = summary["arms"]
    assert plain["uar"]["set"]["value"] == 0.5
    assert plain["difference"] == {}
    assert better["difference"]["set"] == {"value": 0.5, "low": 0.5, "high": 0.5, "n": 4, "speakers": 2}
    assert better["figures"] == {"clips": 4.5, "list": [1.0, 0.5], "word": "yes"}
    assert summary["seeds"] == [0, 1]


def test_finished_arms_are_skipped(tmp_path: Path) -> None:
    """A second call runs nothing, and another seed only itself."""
    Ledger(Counting(), tmp_path).conduct()
    again = Counting()
    assert Ledger(again, tmp_path).conduct() == []
    assert Ledger(again, tmp_path, (0, 1)).conduct() == ["plain/1", "better/1"]


def test_a_killed_arm_is_run_again_in_its_folder(tmp_path: Path) -> None:
    """What finished before the kill is summarised; the killed arm finds what it had left and is then tidied."""
    experiment = Counting(fail_at="better")
    with pytest.raises(KeyboardInterrupt):
        Ledger(experiment, tmp_path).conduct()
    assert [arm["name"] for arm in json.loads((tmp_path / "counting.json").read_text())["arms"]] == ["plain"]
    assert (tmp_path / "counting" / "better" / "0" / "half").exists()
    assert Ledger(experiment, tmp_path).conduct() == ["better/0"]
    assert not (tmp_path / "counting" / "better" / "0" / "state").exists()


def test_another_configuration_is_refused(tmp_path: Path) -> None:
    """Figures of two configurations never stand in one table; forgetting clears the way."""
    Ledger(Counting(), tmp_path).conduct()
    other = Ledger(Counting(factor=2), tmp_path)
    with pytest.raises(ExperimentError, match="factor 1, now it is 2"):
        other.conduct()
    other.forget()
    assert not (tmp_path / "counting.json").exists()
    assert len(other.conduct()) == 2


def test_some_arms_may_be_named(tmp_path: Path) -> None:
    """Only these are run; without its reference an arm has no difference; an unknown name is refused."""
    ledger = Ledger(Counting(), tmp_path)
    assert ledger.conduct(["better"]) == ["better/0"]
    assert ledger.summarise()["arms"][0]["difference"] == {}
    with pytest.raises(ExperimentError, match="has no arm 'best'"):
        ledger.conduct(["best"])
