"""`profile`: a line profile from unlabelled recordings, so that a line need not start cold."""

from __future__ import annotations

import argparse
from dataclasses import replace
from pathlib import Path

import orjson

from app.cli.commands import Commands
from app.cli.exits import CliError, ExitCode
from app.cli.offline import Console, Listener, add_options, console, in_order, make_listener
from app.engine import load_engine
from app.inference.line_profile import LineProfile
from app.settings import load_settings


def add_parser(commands: Commands) -> None:
    """Declare the command."""
    parser = commands.add_parser(
        "profile",
        help="make a line profile from unlabelled recordings",
        description="Counts, means and spreads of embeddings over all utterances that could be scored: "
        "no labels, no audio, nothing about a person.",
    )
    add_options(parser)
    parser.add_argument("--out", type=Path, required=True, metavar="P", help="where to write it")
    parser.add_argument("--frozen", action="store_true", help="the line shall not learn any further")
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Write the profile; bad files are named on stderr and left out.

    Raises:
        CliError: no utterance at all could be scored, or the profile cannot be written.
        BundleError, SettingsError, OrtError: nothing can be scored at all.
    """
    settings = load_settings()
    with load_engine(settings) as engine, console(len(options.files)) as out:
        listener = make_listener(engine, settings, options)
        # A frozen line learns nothing, and here it shall.
        listener = replace(listener, profile=replace(listener.profile, frozen=False))
        profile, code = learn(listener, options.files, settings.inference.workers, out)
        if profile.n == 0:
            raise CliError("no utterance could be scored, so there is no profile to write")
        document = replace(profile, frozen=options.frozen).to_json(engine.parts.profiles.model)
        write_json(options.out, document)
        out.result(f"{options.out}: line {profile.id}, {profile.n} utterances of {len(options.files)} files")
    return code


def learn(listener: Listener, files: list[Path], workers: int, out: Console) -> tuple[LineProfile, ExitCode]:
    """The profile of all files together: each is heard on its own, then they are merged in input order."""
    profile, code = listener.profile, ExitCode.DONE
    for answer in in_order(listener.hear, files, workers):
        if answer.problem is not None:
            out.complain(answer.file, answer.problem)
            code = ExitCode.FAILED
        if answer.heard is not None:
            profile = profile.merge(answer.heard.profile)
        out.step()
    return profile, code


def write_json(path: Path, document: object) -> None:
    """Write a file so that no reader ever sees half of it.

    Raises:
        CliError: the place cannot be written to.
    """
    draft = path.with_name(f"{path.name}.part")
    try:
        draft.write_bytes(orjson.dumps(document, option=orjson.OPT_INDENT_2) + b"\n")
        draft.replace(path)
    except OSError as error:
        raise CliError(f"{path}: {error.strerror}") from error
