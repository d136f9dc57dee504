"""`score`: recordings to records, by the very code that scores live calls."""

from __future__ import annotations

import argparse
from pathlib import Path

import orjson

from app.cli.commands import Commands
from app.cli.exits import ExitCode
from app.cli.offline import Console, Listener, add_options, console, in_order, make_listener
from app.engine import load_engine
from app.records import record_body
from app.settings import load_settings


def add_parser(commands: Commands) -> None:
    """Declare the command."""
    parser = commands.add_parser(
        "score",
        help="score recordings: one JSON record a line",
        description="Every file starts from the same line profile, so no record depends on another file.",
    )
    add_options(parser)
    parser.add_argument("--line-profile", type=Path, metavar="P", help="what 'profile' wrote (default: cold)")
    parser.add_argument("--salience", action="store_true", help="add the weight of each moment")
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Print the records of every file in input order; a bad file is named on stderr and stops no other.

    Raises:
        BundleError, SettingsError, OrtError, CliError: nothing can be scored at all.
    """
    settings = load_settings()
    with load_engine(settings) as engine, console(len(options.files)) as out:
        listener = make_listener(engine, settings, options)
        return score_files(listener, options.files, settings.inference.workers, out)


def score_files(listener: Listener, files: list[Path], workers: int, out: Console) -> int:
    """Score, print, and tell whether every file could be used to its end."""
    code = ExitCode.DONE
    for answer in in_order(listener.hear, files, workers):
        if answer.problem is not None:
            out.complain(answer.file, answer.problem)
            code = ExitCode.FAILED
        if answer.heard is not None:
            for warning in answer.heard.warnings:
                out.complain(answer.file, warning)
            for record in answer.heard.records:
                out.result(orjson.dumps({"file": str(answer.file), **record_body(record)}).decode())
        out.step()
    return code
