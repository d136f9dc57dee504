"""`contracts`: writes the OpenAPI and AsyncAPI documents and the JSON Schema of every message into a folder."""

from __future__ import annotations

import argparse
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from app.cli.commands import Commands
from app.cli.exits import CliError, ExitCode

SCHEMAS = "schemas"


def add_parser(commands: Commands) -> None:
    """Declare the command."""
    parser = commands.add_parser(
        "contracts",
        help="write openapi.json, asyncapi.json and the JSON Schemas of every message",
        description="What a running service serves as /openapi.json, /asyncapi.json and /v1/schemas.",
    )
    parser.add_argument("folder", type=Path, metavar="FOLDER", help="where to; made where there is none")
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Write them; schemas that are no longer made are removed.

    Raises:
        CliError: the folder cannot be written.
    """
    folder: Path = options.folder
    try:
        (folder / SCHEMAS).mkdir(parents=True, exist_ok=True)
        made = contract_files()
        for stale in (folder / SCHEMAS).glob("*.json"):
            if f"{SCHEMAS}/{stale.name}" not in made:
                stale.unlink()
        for name, text in made.items():
            (folder / name).write_text(text, encoding="utf-8")
    except OSError as error:
        raise CliError(f"{folder}: {error.strerror}") from None
    print(f"{len(made)} files in {folder}")
    return ExitCode.DONE


def contract_files() -> Mapping[str, str]:
    """Every file of the contracts, by its name in the folder."""
    # Imported here: every other command would wait for FastAPI.
    from app.api.contracts.asyncapi import asyncapi_document
    from app.api.contracts.schemas import message_schemas
    from app.main import create_app
    from app.settings import Settings

    # No setting plays a part in what is documented, and the environment must not either.
    app = create_app(Settings.model_construct())
    documents: dict[str, Any] = {
        "openapi.json": app.openapi(),
        "asyncapi.json": asyncapi_document(app.version),
    }
    documents |= {f"{SCHEMAS}/{name}.json": schema for name, schema in message_schemas().items()}
    return {
        name: json.dumps(document, indent=1, ensure_ascii=False) + "\n"
        for name, document in documents.items()
    }
