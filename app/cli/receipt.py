"""`receipt verify`: whether a receipt of an erasure is what the service signed."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import orjson

from app.cli.commands import Commands
from app.cli.exits import CliError, ExitCode
from app.privacy.receipts import EPHEMERAL, ReceiptError, verify_receipt

MAX_BYTES = 1024 * 1024


def add_parser(commands: Commands) -> None:
    """Declare the command."""
    parser = commands.add_parser("receipt", help="check the receipt of an erasure")
    actions = parser.add_subparsers(title="actions", required=True, metavar="ACTION")
    verify = actions.add_parser(
        "verify",
        help="check a receipt's signature",
        description="Needs no running service: only the receipt, as JSON, and the public key that "
        "GET /v1/erasures/key gave.",
    )
    verify.add_argument("file", type=Path, metavar="FILE", help="the receipt as JSON; - reads stdin")
    verify.add_argument("--key", required=True, metavar="K", help="the public key, base64 of 32 bytes")
    verify.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Print what the receipt says, if it is genuine.

    Raises:
        CliError: it cannot be read, or is not genuine.
    """
    receipt = _read(options.file)
    # What a route answers holds the receipt as a member.
    if isinstance(receipt, dict) and isinstance(receipt.get("receipt"), dict):
        receipt = receipt["receipt"]
    try:
        genuine = verify_receipt(receipt, options.key)
    except ReceiptError as error:
        raise CliError(f"{options.file}: not genuine: {error}") from None
    counts = ", ".join(f"{count} {what}" for what, count in genuine["counts"].items())
    print(f"genuine: erasure {genuine['id']} of {genuine['completed_at']}: {counts}")
    if genuine["key"] == EPHEMERAL:
        print("the key was made for one run of a service, so this proves little", file=sys.stderr)
    return ExitCode.DONE


def _read(path: Path) -> object:
    try:
        if str(path) == "-":
            return orjson.loads(sys.stdin.buffer.read(MAX_BYTES))
        with path.open("rb") as file:
            return orjson.loads(file.read(MAX_BYTES))
    except OSError as error:
        raise CliError(f"{path}: {error.strerror}") from None
    except orjson.JSONDecodeError:
        raise CliError(f"{path}: expected JSON") from None
