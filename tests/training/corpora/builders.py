"""Manifest lines and clips for the corpora tests."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from training.corpora.manifest import Segment


def line(**changes: Any) -> dict[str, Any]:
    """A good manifest line with changes; a value of `...` removes the key."""
    fields: dict[str, Any] = {
        "id": "x/1",
        "corpus": "x",
        "path": "x/1.wav",
        "speaker": "x:a",
        "emotion": "happy",
        "duration_s": 1.5,
        "split": "train",
    }
    return {key: value for key, value in (fields | changes).items() if value is not ...}


def write_lines(path: Path, lines: Iterable[Mapping[str, Any] | str | bytes]) -> Path:
    """Write objects as JSON, text and bytes as they are, one a line."""
    raw = [
        item
        if isinstance(item, bytes)
        else item.encode()
        if isinstance(item, str)
        else json.dumps(item, ensure_ascii=False).encode()
        for item in lines
    ]
    path.write_bytes(b"".join(item + b"\n" for item in raw))
    return path


def segment(**changes: Any) -> Segment:
    """A good clip with changes."""
    fields: dict[str, Any] = {
        "id": "ravdess/1",
        "corpus": "ravdess",
        "path": Path("/data/ravdess/1.wav"),
        "speaker": "ravdess:01",
        "duration_s": 1.5,
        "split": "train",
        "emotion": "happy",
    }
    return Segment(**(fields | changes))
