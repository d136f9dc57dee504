"""`config`: the settings in force."""

from __future__ import annotations

import argparse

import orjson

from app.cli.commands import Commands
from app.cli.exits import ExitCode
from app.settings import load_settings


def add_parser(commands: Commands) -> None:
    """Declare the command."""
    parser = commands.add_parser("config", help="print the settings in force, secrets hidden")
    parser.set_defaults(run=run)


def run(_options: argparse.Namespace) -> int:
    """Print every setting as JSON."""
    print(orjson.dumps(load_settings().in_force(), option=orjson.OPT_INDENT_2).decode())
    return ExitCode.DONE
