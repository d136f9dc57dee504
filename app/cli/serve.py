"""`serve`: the service, until it is told to end."""

from __future__ import annotations

import argparse

from app.cli.commands import Commands, port_number
from app.cli.exits import CliError, ExitCode
from app.settings import Settings, load_settings

ANNOUNCEMENT = "kowairo listens on "
"""What the line on stdout begins with once connections are taken; the address follows."""


def add_parser(commands: Commands) -> None:
    """Declare the command."""
    parser = commands.add_parser("serve", help="run the service")
    add_address_options(parser)
    parser.set_defaults(run=run)


def add_address_options(parser: argparse.ArgumentParser) -> None:
    """Where to listen."""
    parser.add_argument("--host", help="where to listen (default: KOWAIRO_HOST, 127.0.0.1)")
    parser.add_argument("--port", type=port_number, help="0 takes a free one (default: KOWAIRO_PORT, 8000)")


def run(options: argparse.Namespace) -> int:
    """Serve until SIGTERM or Ctrl-C, then drain.

    Raises:
        CliError: the address cannot be listened on.
        BundleError, SettingsError, OrtError: the service cannot start.
    """
    given = {name: getattr(options, name) for name in ("host", "port")}
    _serve(load_settings(**{name: value for name, value in given.items() if value is not None}))
    return ExitCode.DONE


def _serve(settings: Settings) -> None:
    # Here, so that commands which need no web framework do not wait for it.
    from app.api.server import AddressError
    from app.main import serve

    try:
        serve(settings, lambda address: print(f"{ANNOUNCEMENT}{address}", flush=True))
    except AddressError as error:
        raise CliError(str(error), ExitCode.ADDRESS) from error
