"""`key new`: an API key for the keys file."""

from __future__ import annotations

import argparse
import json
import re
from pathlib import Path

from app.access.keyfile import KeysFileError, add_to_file
from app.access.keys import KeyFormatError, known_tenant, new_key, parse_scopes, parse_time
from app.access.principal import Scope
from app.cli.commands import Commands
from app.cli.exits import CliError, ExitCode
from app.domain import DEFAULT_TENANT
from app.telemetry.clock import SystemClock

_SPAN = re.compile(r"(\d{1,5})([dh])")
_UNIT_S = {"d": 86_400, "h": 3_600}


def add_parser(commands: Commands) -> None:
    """Declare the command."""
    parser = commands.add_parser("key", help="make API keys for the keys file")
    actions = parser.add_subparsers(title="actions", required=True, metavar="ACTION")
    new = actions.add_parser(
        "new",
        help="make a key",
        description="Prints the key once, on the first line, and on the second what KOWAIRO_AUTH__KEYS_FILE holds "
        "of it: an element of its JSON array, which does not tell the key. With --file it is added there.",
    )
    new.add_argument(
        "--tenant",
        default=DEFAULT_TENANT,
        type=_tenant,
        help="whose key it is; _site: looks after all tenants' keys",
    )
    new.add_argument(
        "--scopes",
        required=True,
        type=_scopes,
        metavar="S,S",
        help=f"what it may do, of {', '.join(Scope)}",
    )
    new.add_argument("--name", default="key", metavar="N", help="what people call it; goes to the audit log")
    new.add_argument(
        "--expires",
        metavar="WHEN",
        help="90d, 12h, or a time such as 2027-01-31T00:00:00Z; never, if left out",
    )
    new.add_argument(
        "--file", type=Path, metavar="P", help="a keys file to add it to (made where there is none)"
    )
    new.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Print a new key and what is kept of it.

    Raises:
        CliError: a name or an end that cannot be one, or a file that cannot be added to.
    """
    now = SystemClock().now()
    try:
        expires_at = None if options.expires is None else _end(options.expires, now)
        key, record = new_key(options.tenant, options.name, options.scopes, now=now, expires_at=expires_at)
        if options.file is not None:
            add_to_file(options.file, record)
    except KeyFormatError as error:
        raise CliError(str(error), ExitCode.USAGE) from None
    except KeysFileError as error:
        raise CliError(str(error)) from None
    print(key)
    print(json.dumps(record.to_json()))
    return ExitCode.DONE


def _end(text: str, now: float) -> float:
    found = _SPAN.fullmatch(text)
    return parse_time(text) if found is None else now + int(found[1]) * _UNIT_S[found[2]]


def _tenant(text: str) -> str:
    try:
        return known_tenant(text, site=True)
    except KeyFormatError as error:
        raise argparse.ArgumentTypeError(str(error)) from None


def _scopes(text: str) -> frozenset[Scope]:
    try:
        return parse_scopes(text)
    except KeyFormatError as error:
        raise argparse.ArgumentTypeError(str(error)) from None
