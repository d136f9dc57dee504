"""`python -m app dead-letters`: webhooks that could not be delivered, listed and sent again over REST."""

from __future__ import annotations

import argparse
import os
from collections.abc import Iterator, Mapping
from typing import Any
from urllib.parse import quote

import httpx

from app.cli.commands import Commands
from app.cli.exits import CliError, ExitCode

_PATH = "/v1/dead-letters"
_PAGE = 200
_TIMEOUT_S = 60.0
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
    query = {} if options.endpoint is None else {"endpoint_id": options.endpoint}
    with _client(options) as client:
        for letter in _letters(client, query):
            print(_line(letter))
    return ExitCode.DONE


def run_redrive(options: argparse.Namespace) -> int:
    """Puts letters back in the queue and says how many."""
    if bool(options.letters) == (options.endpoint is not None):
        raise CliError("expected ids of letters, or --endpoint, and not both", ExitCode.USAGE)
    count = 0
    with _client(options) as client:
        for letter in options.letters:
            _ask(client, "POST", f"{_PATH}/{quote(letter, safe='')}/redrive")
            count += 1
        more = options.endpoint is not None
        while more:
            answer = _ask(client, "POST", f"{_PATH}/redrive", json={"endpoint_id": options.endpoint})
            count, more = count + answer["redriven"], answer["more"]
    print(f"{count} put back in the queue")
    return ExitCode.DONE


def _letters(client: httpx.Client, query: Mapping[str, str]) -> Iterator[dict[str, Any]]:
    cursor: dict[str, str] = {}
    while True:
        page = _ask(client, "GET", _PATH, params={"limit": str(_PAGE), **query, **cursor})
        yield from page["items"]
        if page["next"] is None:
            return
        cursor = {"cursor": page["next"]}


def _client(options: argparse.Namespace) -> httpx.Client:
    headers = {}
    if options.api_key_env is not None:
        key = os.environ.get(options.api_key_env)
        if not key:
            raise CliError(f"{options.api_key_env} is not set", ExitCode.SETTINGS)
        headers = {"Authorization": f"Bearer {key}"}
    try:
        return httpx.Client(base_url=options.url, headers=headers, timeout=_TIMEOUT_S)
    except (httpx.InvalidURL, UnicodeError) as error:
        raise CliError(f"--url: {type(error).__name__}: expected http:// or https://") from error


def _ask(client: httpx.Client, method: str, path: str, **options: Any) -> Any:
    try:
        answer = client.request(method, path, **options)
        body = answer.json()
    except httpx.HTTPError as error:
        raise CliError(f"{client.base_url}: {error or type(error).__name__}") from error
    except ValueError as error:
        raise CliError(f"{client.base_url}: the answer is not JSON") from error
    if not answer.is_success:
        detail = body.get("detail", "") if isinstance(body, dict) else ""
        raise CliError(f"{client.base_url}: HTTP {answer.status_code}: {detail}"[:_DETAIL_CHARS])
    return body


def _line(letter: Mapping[str, Any]) -> str:
    why = letter["reason"] if letter["status"] is None else f"{letter['reason']} ({letter['status']})"
    return (
        f"{letter['id']}  {letter['state']:<6}  {letter['type']:<14}  {letter['timestamp']}  "
        f"{letter['endpoint_id']}  {letter['tries']} tries, {why}"
    )
