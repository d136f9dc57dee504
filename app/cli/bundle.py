"""`bundle verify`: does a bundle pass every check that the service makes at start-up?"""

from __future__ import annotations

import argparse
from pathlib import Path

from app.bundle.loader import verify_bundle
from app.cli.commands import Commands
from app.cli.exits import ExitCode
from app.ort import Runtime
from app.settings import load_settings


def add_parser(commands: Commands) -> None:
    """Declare the command."""
    parser = commands.add_parser("bundle", help="inspect a bundle")
    actions = parser.add_subparsers(title="actions", required=True, metavar="ACTION")
    verify = actions.add_parser(
        "verify", help="check schema, hashes, graphs and golden pairs of every variant"
    )
    verify.add_argument("path", type=Path, nargs="?", help="a bundle's folder (default: the one in service)")
    verify.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Check the bundle once for each of its encoder variants.

    Raises:
        BundleError: naming the check that failed.
    """
    settings = load_settings()
    path = options.path or settings.bundle.resolved_path()
    runtime = Runtime(settings.inference.provider, settings.inference.threads)
    for loaded in verify_bundle(path, runtime):
        manifest = loaded.manifest
        print(
            f"{manifest.name} {manifest.version} {loaded.variant} on {loaded.provider}: schema, "
            f"{len(manifest.files)} hashes, graphs and golden pairs pass"
        )
    return ExitCode.DONE
