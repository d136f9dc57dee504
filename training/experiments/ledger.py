"""What an experiment has found so far, on disk: a folder an arm and seed. What is finished is not run again."""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from training.experiments.figures import Answers, difference, joined, uar
from training.files import write_whole


class ExperimentError(RuntimeError):
    """An experiment was asked for something that can't be done."""


@dataclass(frozen=True, slots=True)
class Arm:
    """One configuration to be measured.

    config: plain values, everything that its figures depend on. against: the arm that it is compared with.
    """

    name: str
    config: Mapping[str, Any]
    against: str | None = None


@dataclass(frozen=True, slots=True)
class Outcome:
    """What one seed of an arm gave: answers by set, and whatever else was measured."""

    answers: Mapping[str, Answers] = field(default_factory=dict)
    figures: Mapping[str, Any] = field(default_factory=dict)


class Experiment(Protocol):
    """Arms, and how one of them is run."""

    @property
    def name(self) -> str:
        """Of the command and of the files."""
        ...

    @property
    def question(self) -> str:
        """What it asks, in a sentence."""
        ...

    def arms(self) -> Sequence[Arm]:
        """In the order they are run; what an arm is compared with comes first."""
        ...

    def work(self, arm: Arm, seed: int, folder: Path) -> Outcome:
        """Run one seed of an arm; `folder` is its own, and still holds what a killed attempt left."""
        ...


class Ledger:
    """Runs an experiment's arms and keeps `<out>/<name>/<arm>/<seed>/outcome.json` and `<out>/<name>.json`."""

    def __init__(self, experiment: Experiment, out: Path, seeds: Sequence[int] = (0,)) -> None:
        self.experiment, self.seeds = experiment, tuple(seeds)
        self.folder = out / experiment.name
        self.summary_path = out / f"{experiment.name}.json"

    def forget(self) -> None:
        """Delete everything that the experiment has written."""
        shutil.rmtree(self.folder, ignore_errors=True)
        self.summary_path.unlink(missing_ok=True)

    def conduct(self, only: Sequence[str] = ()) -> list[str]:
        """Run what is not finished, of the arms named in `only` or of all; gives the names of those that ran.

        Raises:
            ExperimentError: an unknown arm, or one that was finished with another configuration.
        """
        arms = list(self.experiment.arms())
        unknown = sorted(set(only) - {arm.name for arm in arms})
        if unknown:
            raise ExperimentError(
                f"{self.experiment.name} has no arm {unknown[0]!r}, it has {', '.join(a.name for a in arms)}"
            )
        for arm in arms:
            for seed in self.seeds:
                self._check_same(arm, seed)
        ran = []
        for arm in arms:
            for seed in self.seeds:
                if (not only or arm.name in only) and not self._path(arm, seed).exists():
                    self._run(arm, seed)
                    ran.append(f"{arm.name}/{seed}")
                    self.summarise()
        self.summarise()
        return ran

    def summarise(self) -> dict[str, Any]:
        """Write, and give, the figures of all arms that have finished every seed."""
        arms = [arm for arm in self.experiment.arms() if all(self._path(arm, s).exists() for s in self.seeds)]
        found = {arm.name: [self._read(arm, seed) for seed in self.seeds] for arm in arms}
        answers = {name: _answers(outcomes) for name, outcomes in found.items()}
        summary = {
            "experiment": self.experiment.name,
            "question": self.experiment.question,
            "seeds": list(self.seeds),
            "arms": [_row(arm, found[arm.name], answers) for arm in arms],
        }
        write_whole(self.summary_path, json.dumps(summary, indent=2) + "\n")
        return summary

    def _run(self, arm: Arm, seed: int) -> None:
        folder = self._path(arm, seed).parent
        folder.mkdir(parents=True, exist_ok=True)
        start = time.monotonic()
        outcome = self.experiment.work(arm, seed, folder)
        written = {
            "config": dict(arm.config),
            "seed": seed,
            "seconds": round(time.monotonic() - start, 1),
            "figures": dict(outcome.figures),
            "answers": {name: answers.plain() for name, answers in outcome.answers.items()},
        }
        write_whole(self._path(arm, seed), json.dumps(written) + "\n")
        shutil.rmtree(folder / "state", ignore_errors=True)  # large, and only needed to resume

    def _check_same(self, arm: Arm, seed: int) -> None:
        if not self._path(arm, seed).exists():
            return
        old, new = self._read(arm, seed)["config"], json.loads(json.dumps(dict(arm.config)))
        other = sorted(key for key in {*old, *new} if old.get(key) != new.get(key))
        if other:
            raise ExperimentError(
                f"{self._path(arm, seed).parent} was finished with {other[0]} {old.get(other[0])!r}, now it is "
                f"{new.get(other[0])!r}: use another --out, or --again"
            )

    def _path(self, arm: Arm, seed: int) -> Path:
        return self.folder / arm.name / str(seed) / "outcome.json"

    def _read(self, arm: Arm, seed: int) -> dict[str, Any]:
        data: dict[str, Any] = json.loads(self._path(arm, seed).read_text(encoding="utf-8"))
        return data


def _answers(outcomes: Sequence[Mapping[str, Any]]) -> dict[str, Answers]:
    return {
        name: joined([Answers.read(outcome["answers"][name]) for outcome in outcomes])
        for name in outcomes[0]["answers"]
    }


def _row(
    arm: Arm, outcomes: Sequence[Mapping[str, Any]], answers: Mapping[str, Mapping[str, Answers]]
) -> dict[str, Any]:
    mine = answers[arm.name]
    other = answers.get(arm.against or "", {})
    return {
        "name": arm.name,
        "config": dict(arm.config),
        "against": arm.against,
        "seconds": round(sum(outcome["seconds"] for outcome in outcomes), 1),
        "uar": {name: figure.plain() for name, figure in uar(mine).items()},
        "difference": {name: figure.plain() for name, figure in difference(mine, other).items()},
        "figures": _mean([outcome["figures"] for outcome in outcomes]),
    }


def _mean(figures: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Over seeds; lists element by element."""

    def over(values: Sequence[Any]) -> Any:
        if isinstance(values[0], list):
            return [over(column) for column in zip(*values, strict=True)]
        return values[0] if isinstance(values[0], str) else round(sum(values) / len(values), 4)

    return {name: over([row[name] for row in figures]) for name in figures[0]}
