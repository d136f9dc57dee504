"""Ways to change a bundle and seal it again, so that only the check under test can object."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from app.bundle.manifest import (
    GOLDEN_FILE,
    MANIFEST_FILE,
    GoldenPair,
    Manifest,
    hash_files,
    parse_golden,
    parse_manifest,
    write_golden,
    write_manifest,
)

Document = dict[str, Any]


def read_document(folder: Path) -> Document:
    """The manifest as plain values."""
    document: Document = json.loads((folder / MANIFEST_FILE).read_text(encoding="utf-8"))
    return document


def write_document(folder: Path, document: object) -> None:
    """Writes the manifest as it is, with whatever seal it holds."""
    (folder / MANIFEST_FILE).write_text(json.dumps(document), encoding="utf-8")


def reseal(folder: Path, change: Callable[[Document], None] = lambda _: None) -> Manifest:
    """Changes the manifest (it must stay valid), hashes the folder anew and seals it."""
    manifest = parse_manifest((folder / MANIFEST_FILE).read_bytes())
    document = manifest.model_dump(mode="json")
    change(document)
    return write_manifest(folder, Manifest.model_validate(document | {"files": hash_files(folder)}))


def change_golden(folder: Path, **update: Any) -> None:
    """Changes fields of every golden pair and seals the bundle."""
    pairs = parse_golden((folder / GOLDEN_FILE).read_bytes())
    write_golden(folder, [GoldenPair.model_validate(pair.model_dump() | update) for pair in pairs])
    reseal(folder)
