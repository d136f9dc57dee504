"""Command line of the ablations: `python -m training.experiments <name> --run FOLDER`, and `… table`."""

from __future__ import annotations

import argparse
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from training.checkpoint import CheckpointError
from training.config import ConfigError
from training.corpora.errors import CorpusError
from training.engine import NonFiniteLossError
from training.experiments import student_size
from training.experiments.few_labels import FewLabels, FewLabelsSettings
from training.experiments.ledger import Experiment, ExperimentError, Ledger
from training.experiments.masking import Masking, MaskingSettings
from training.experiments.source import Source
from training.experiments.table import write_page
from training.experiments.tokenizers import Tokenizers, TokenizersSettings

REFUSED, FAILED = 2, 1
TRAINED = (FewLabels.name, Tokenizers.name, Masking.name)


def main(arguments: list[str] | None = None) -> int:
    """Run one experiment, or write the page."""
    given = _parser().parse_args(arguments)
    try:
        sys.stdout.write(f"{_carry_out(given)}\n")
    except (ExperimentError, ConfigError, CorpusError, CheckpointError) as error:
        sys.stderr.write(f"error: {error}\n")
        return REFUSED
    except NonFiniteLossError as error:
        sys.stderr.write(f"error: {error}\n")
        return FAILED
    return 0


def _carry_out(given: argparse.Namespace) -> str:
    if given.command == "table":
        write_page(given.out, given.page)
        return f"table: written to {given.page}"
    if given.command == student_size.NAME:
        return f"{given.command}: written to {student_size.student_size(given.bundle, given.out)}"
    torch.set_num_threads(given.threads)
    ledger = Ledger(_experiment(given), given.out, given.seeds)
    if given.again:
        ledger.forget()
    ran = ledger.conduct(given.arms)
    return f"{given.command}: {len(ran)} arms run, figures in {ledger.summary_path}"


def _experiment(given: argparse.Namespace) -> Experiment:
    source = Source(given.run)
    if given.command == FewLabels.name:
        few = FewLabelsSettings()
        few = replace(few, loop=_loop(few.loop, given), shares=tuple(given.shares))
        return FewLabels(source, few, dict(given.checkpoint))
    if given.command == Tokenizers.name:
        tokenizers = TokenizersSettings()
        return Tokenizers(source, replace(tokenizers, loop=_loop(tokenizers.loop, given)))
    masking = MaskingSettings()
    return Masking(source, replace(masking, loop=_loop(masking.loop, given)))


def _loop(loop: Any, given: argparse.Namespace) -> Any:
    changed = replace(loop, threads=given.threads)
    return changed if given.steps is None else replace(changed, steps=given.steps)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m training.experiments", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    made = {name: commands.add_parser(name) for name in (*TRAINED, student_size.NAME, "table")}
    for name in TRAINED:
        _add_training_options(made[name])
    few = made[FewLabels.name]
    few.add_argument(
        "--checkpoint", type=_named, action="append", default=[], metavar="NAME=FILE",
        help="a further pretraining checkpoint, an arm of its own",
    )  # fmt: skip
    few.add_argument("--shares", type=float, nargs="+", default=FewLabelsSettings().shares)
    made[student_size.NAME].add_argument(
        "--bundle",
        type=Path,
        action="append",
        default=[],
        help="a measured bundle; the first is the reference",
    )
    made["table"].add_argument("--page", type=Path, default=Path("docs/experiments.md"))
    for command in made.values():
        command.add_argument("--out", type=Path, default=Path("reports/experiments"))
    return parser


def _add_training_options(command: argparse.ArgumentParser) -> None:
    command.add_argument("--run", type=Path, required=True, help="folder of the run to start from")
    command.add_argument("--steps", type=int, help="of the longest arm")
    command.add_argument("--seeds", type=int, nargs="+", default=[0])
    command.add_argument("--arms", nargs="+", default=[], help="only these")
    command.add_argument("--threads", type=int, default=2)
    command.add_argument("--again", action="store_true", help="first delete what this experiment has written")


def _named(text: str) -> tuple[str, Path]:
    name, found, path = text.partition("=")
    if not (name and found and path):
        raise argparse.ArgumentTypeError(f"expected NAME=FILE, got {text!r}")
    return name, Path(path)


if __name__ == "__main__":
    sys.exit(main())
