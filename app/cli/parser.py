"""The parser of `python -m app`, and what turns every failure into one line and an exit code."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable, Sequence

from app.bundle.manifest import BundleError
from app.cli import bundle, call, config, contracts, dead_letters, demo, key, profile, receipt, score, serve
from app.cli.exits import CliError, ExitCode
from app.ort import OrtError
from app.settings import SettingsError

COMMANDS = (serve, score, profile, call, key, receipt, dead_letters, bundle, config, contracts, demo)

Runner = Callable[[argparse.Namespace], int]


def build_parser() -> argparse.ArgumentParser:
    """Every command with its options."""
    parser = argparse.ArgumentParser(
        prog="python -m app",
        description="Kowairo: speech emotion of telephone calls, utterance by utterance.",
        epilog="Settings come from the environment (KOWAIRO_…); 'python -m app config' prints them.",
    )
    commands = parser.add_subparsers(title="commands", required=True, metavar="COMMAND")
    for command in COMMANDS:
        command.add_parser(commands)
    return parser


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command line; never raises, the exit code tells."""
    options = build_parser().parse_args(arguments)
    run: Runner = options.run
    try:
        return run(options)
    except CliError as error:
        return _complain(str(error), error.code)
    except SettingsError as error:
        return _complain(f"settings refused: {error}", ExitCode.SETTINGS)
    except BundleError as error:
        return _complain(f"bundle refused: {error}", ExitCode.BUNDLE)
    except OrtError as error:
        return _complain(str(error), ExitCode.SETTINGS)
    except KeyboardInterrupt:
        return ExitCode.INTERRUPTED
    except BrokenPipeError:
        # The reader (head, less) has seen enough. Python would complain once more while closing stdout.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return ExitCode.FAILED


def _complain(message: str, code: ExitCode) -> int:
    print(f"kowairo: {message}", file=sys.stderr)
    return code
