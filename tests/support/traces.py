"""What is left of something that was erased, wherever it may be: in objects, in files, in the answer of a store."""

from __future__ import annotations

import json
from collections import deque
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from types import FunctionType, MethodType, ModuleType
from typing import Any

_LEAVES = (int, float, complex, type(None), type, ModuleType, FunctionType, MethodType)


def traces_of(needles: Iterable[str], *places: Any) -> list[str]:
    """Where any of the needles is found, as paths for people; empty where nothing is left.

    Args:
        needles: texts that must be gone; also looked for as JSON writes them.
        places: objects, which are walked through all they hold (texts, bytes, containers, attributes); folders and
            files, which are read whole; or an iterable of (name, bytes), such as every key of a Redis with its value.
    """
    wanted = [form for needle in needles for form in {needle, json.dumps(needle)[1:-1]}]
    found: list[str] = []
    for place in places:
        parts = _files(place) if isinstance(place, Path) else _walk(place)
        for path, text in parts:
            found += [f"{path}: {needle}" for needle in wanted if needle in text]
    return found


def _files(place: Path) -> Iterator[tuple[str, str]]:
    for path in sorted(place.rglob("*")) if place.is_dir() else [place]:
        yield str(path), path.name
        if path.is_file():
            yield str(path), path.read_bytes().decode("utf-8", "backslashreplace")


def _walk(root: Any) -> Iterator[tuple[str, str]]:
    """Every text that can be reached, each object once."""
    seen: set[int] = set()
    kept: list[Any] = []  # what is made on the way must live as long as its id is remembered
    waiting: deque[tuple[str, Any]] = deque([(type(root).__name__, root)])
    while waiting:
        path, item = waiting.popleft()
        if isinstance(item, str):
            yield path, item
        elif isinstance(item, bytes | bytearray):
            yield path, bytes(item).decode("utf-8", "backslashreplace")
        elif not isinstance(item, _LEAVES) and id(item) not in seen:
            seen.add(id(item))
            kept.append(item)
            waiting.extend((f"{path}{name}", part) for name, part in _parts(item))


def _parts(item: Any) -> Iterator[tuple[str, Any]]:
    if isinstance(item, Mapping):
        for key, value in list(item.items()):
            yield "(key)", key
            yield f"[{key!r}]", value
        return
    if isinstance(item, Iterable) and isinstance(item, list | tuple | set | frozenset | deque):
        yield from ((f"[{number}]", part) for number, part in enumerate(list(item)))
        return
    for name, value in getattr(item, "__dict__", {}).items():
        yield f".{name}", value
    for kind in type(item).__mro__:
        for name in getattr(kind, "__slots__", ()):
            if hasattr(item, name):
                yield f".{name}", getattr(item, name)
