"""`serve`: the service, until it is told to end."""

from __future__ import annotations

import argparse

from app.cli.commands import Commands, port_number

ANNOUNCEMENT = "kowairo listens on "


def add_parser(commands: Commands) -> None:
    """Declare the command."""
    parser = commands.add_parser("serve", help="run the service")
    parser.add_argument("--host", help="where to listen (default: KOWAIRO_HOST, 127.0.0.1)")
    parser.add_argument("--port", type=port_number, help="where to listen (default: KOWAIRO_PORT, 8000)")
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Serve."""
    return 0
