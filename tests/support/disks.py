"""A disk that remembers what was written through, so that a loss of power can be played."""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from types import TracebackType
from typing import Self
from unittest import mock


class WatchedDisk:
    """A context manager. While it is open, `os.fsync` only notes how much of a file would be safe, and counts."""

    def __init__(self) -> None:
        self.syncs = 0
        self.fails = False
        self._safe: dict[int, int] = {}
        self._patch = mock.patch.object(os, "fsync", self._fsync)

    def __enter__(self) -> Self:
        self._patch.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._patch.stop()

    def after_power_loss(self, base: Path, target: Path, torn: int = 0) -> Path:
        """A copy of a spool's directory as the disk has it: segments without what was not written through.

        torn: bytes of that which got there all the same.
        """
        shutil.copytree(base, target)
        for path in target.rglob("*.seg"):
            safe = self._safe.get((base / path.relative_to(target)).stat().st_ino, 0)
            os.truncate(path, min(safe + torn, path.stat().st_size))
            self._safe[path.stat().st_ino] = path.stat().st_size
        return target

    def _fsync(self, file: int) -> None:
        self.syncs += 1
        if self.fails:
            raise OSError(5, "Input/output error")
        found = os.fstat(file)
        self._safe[found.st_ino] = found.st_size


def bytes_below(base: Path) -> bytes:
    """Every byte of every file below a directory."""
    return b"".join(path.read_bytes() for path in sorted(base.rglob("*")) if path.is_file())
