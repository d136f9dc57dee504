"""Keys in a file: a JSON array of what `python -m app key new` prints, read again when it changes."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

from app.access.keys import KeyFormatError, KeyRecord
from app.telemetry.clock import Clock
from app.telemetry.logs import get_logger

MAX_FILE_BYTES = 16 * 1024 * 1024
CHECK_EVERY_S = 1.0
"""How often the file is looked at, at most."""

Stamp = tuple[int, int, int]


class KeysFileError(Exception):
    """The file cannot be used; the message names it and what was expected."""


class KeysFile:
    """The keys of a file.

    A version that cannot be read leaves the one before in force, and is complained of once. `on_state` is told
    whether the newest version is the one in force.
    """

    def __init__(
        self, path: Path, clock: Clock, on_state: Callable[[bool], None] = lambda _valid: None
    ) -> None:
        """Reads the file.

        Raises:
            KeysFileError: it cannot be used.
        """
        self._path = path
        self._clock = clock
        self._on_state = on_state
        self._log = get_logger(__name__)
        self._stamp = stamp_of(path)
        self._keys = read_keys(path)
        self._checked = clock.monotonic()
        on_state(True)

    def find(self, key_id: str) -> KeyRecord | None:
        """The key of this id, as the file has it now (or had it a second ago)."""
        now = self._clock.monotonic()
        if now - self._checked >= CHECK_EVERY_S:
            self._checked = now
            self._look_again()
        return self._keys.get(key_id)

    def _look_again(self) -> None:
        try:
            stamp = stamp_of(self._path)
        except KeysFileError:
            stamp = None
        if stamp == self._stamp:
            return
        self._stamp = stamp
        try:
            self._keys = read_keys(self._path)
        except KeysFileError as error:
            self._log.error("keys_file_refused", why=str(error), hint="the keys before are still in force")
            self._on_state(False)
            return
        self._log.info("keys_file_read", keys=len(self._keys))
        self._on_state(True)


def stamp_of(path: Path) -> Stamp | None:
    """What changes when a file is written anew, or another takes its place.

    Raises:
        KeysFileError: there is none.
    """
    try:
        status = path.stat()
    except OSError as error:
        raise KeysFileError(f"{path}: {error.strerror}") from None
    return status.st_mtime_ns, status.st_size, status.st_ino


def read_keys(path: Path) -> Mapping[str, KeyRecord]:
    """The keys of a file, by id.

    Raises:
        KeysFileError: it is not a JSON array of keys, or holds an id twice.
    """
    try:
        with path.open("rb") as file:
            text = file.read(MAX_FILE_BYTES + 1)
    except OSError as error:
        raise KeysFileError(f"{path}: {error.strerror}") from None
    if len(text) > MAX_FILE_BYTES:
        raise KeysFileError(f"{path}: expected at most {MAX_FILE_BYTES} bytes")
    try:
        entries = json.loads(text, object_pairs_hook=_without_duplicates)
    except (ValueError, RecursionError):
        raise KeysFileError(f"{path}: expected a JSON array of keys, no member twice") from None
    if not isinstance(entries, list):
        raise KeysFileError(f"{path}: expected a JSON array of keys")
    keys: dict[str, KeyRecord] = {}
    for number, entry in enumerate(entries, start=1):
        try:
            record = KeyRecord.from_json(entry)
        except KeyFormatError as error:
            raise KeysFileError(f"{path}: key {number}: {error}") from None
        if record.key_id in keys:
            raise KeysFileError(f"{path}: key {number}: its key_id is there already")
        keys[record.key_id] = record
    return MappingProxyType(keys)


def add_to_file(path: Path, record: KeyRecord) -> None:
    """Adds a key to a file (makes it where there is none) so that no reader ever sees half of it.

    Raises:
        KeysFileError: what is there cannot be used, or the place cannot be written to.
    """
    keys = list(read_keys(path).values()) if path.exists() else []
    lines = ",\n".join(json.dumps(key.to_json()) for key in [*keys, record])
    draft = path.with_name(f"{path.name}.part")
    try:
        draft.touch(0o600)
        with draft.open("w", encoding="utf-8") as file:
            file.write(f"[\n{lines}\n]\n")
            file.flush()
            os.fsync(file.fileno())
        draft.replace(path)
    except OSError as error:
        raise KeysFileError(f"{path}: {error.strerror}") from None


def _without_duplicates(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    members = dict(pairs)
    if len(members) != len(pairs):
        raise ValueError("a member is there twice")
    return members
