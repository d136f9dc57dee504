"""`python -m app dead-letters`: webhooks that could not be delivered, listed and sent again over REST."""

from __future__ import annotations

import argparse
import os
from collections.abc import Iterator
from contextlib import contextmanager

from app.cli.commands import Commands
from app.cli.exits import CliError, ExitCode
from app.client import Client, KowairoError
from app.client.told_shapes import DeadLetter

_DETAIL_CHARS = 300


def add_parser(commands: Commands) -> None:
    """Add `dead-letters` and what can be done with them to the command line."""
    parser = commands.add_parser(
        "dead-letters",
        help="list webhooks that could not be delivered, and send them again",
        description="Asks a running service. The key needs the scope 'admin'.",
    )
    actions = parser.add_subparsers(title="actions", required=True, metavar="ACTION")
    listing = actions.add_parser("list", help="one line each, the oldest event first")
    listing.add_argument("--endpoint", metavar="ID", help="only those for this endpoint")
    redrive = actions.add_parser("redrive", help="put some, or all of an endpoint, back in the queue")
    redrive.add_argument("letters", nargs="*", metavar="LETTER", help="ids of letters")
    redrive.add_argument("--endpoint", metavar="ID", help="all letters for this endpoint")
    for action, run in ((listing, run_list), (redrive, run_redrive)):
        action.add_argument(
            "--url", default="http://127.0.0.1:8000", help="of the service (default: %(default)s)"
        )
        action.add_argument(
            "--api-key-env",
            metavar="NAME",
            help="environment variable that holds the API key, so that no command line does",
        )
        action.set_defaults(run=run)


def run_list(options: argparse.Namespace) -> int:
    """Lists dead letters; nothing of what was to be delivered is shown."""
    with _asking(options) as client:
        for letter in client.dead_letters(endpoint_id=options.endpoint):
            print(_line(letter))
    return ExitCode.DONE


def run_redrive(options: argparse.Namespace) -> int:
    """Puts letters back in the queue and says how many."""
    if bool(options.letters) == (options.endpoint is not None):
        raise CliError("expected ids of letters, or --endpoint, and not both", ExitCode.USAGE)
    count = 0
    with _asking(options) as client:
        for letter in options.letters:
            client.redrive_letter(letter)
            count += 1
        more = options.endpoint is not None
        while more:
            answer = client.redrive_letters(options.endpoint)
            count, more = count + answer.redriven, answer.more
    print(f"{count} put back in the queue")
    return ExitCode.DONE


@contextmanager
def _asking(options: argparse.Namespace) -> Iterator[Client]:
    """A client of the service that was named.

    Raises:
        CliError: there is no key, or the service does not do what it is asked.
    """
    key = None
    if options.api_key_env is not None:
        key = os.environ.get(options.api_key_env)
        if not key:
            raise CliError(f"{options.api_key_env} is not set", ExitCode.SETTINGS)
    try:
        with Client(options.url, api_key=key) as client:
            yield client
    except KowairoError as error:
        raise CliError(f"{options.url}: {error}"[:_DETAIL_CHARS]) from error


def _line(letter: DeadLetter) -> str:
    why = letter.reason if letter.status is None else f"{letter.reason} ({letter.status})"
    return (
        f"{letter.id}  {letter.state:<6}  {letter.type:<14}  {letter.timestamp}  "
        f"{letter.endpoint_id}  {letter.tries} tries, {why}"
    )
