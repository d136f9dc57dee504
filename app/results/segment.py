"""One file of the spool, and what is put into it."""

from __future__ import annotations

import errno
import math
from dataclasses import dataclass
from pathlib import Path

from app.results.frames import Flag, Frame

_NOT_READABLE = (errno.EIO, errno.ENOENT)


@dataclass(frozen=True, slots=True)
class NewEntry:
    """Something to be kept. keep: it is not refused for want of room."""

    payload: bytes
    keep: bool = False


@dataclass(slots=True)
class Segment:
    """A file of entries. first: the lowest number it may hold; last: the highest it holds, lower than first for none.

    waiting: entries not yet carried out; kept: of these, those not to be refused; unread: of these, not yet taken into
    memory. loaded: bytes taken into memory. oldest_at: when its first waiting entry was written, epoch seconds.
    """

    path: Path
    first: int
    last: int
    size: int = 0
    waiting: int = 0
    kept: int = 0
    unread: int = 0
    loaded: int = 0
    oldest_at: float = math.inf

    def holds(self, frame: Frame) -> None:
        """Counts an entry that waits."""
        self.waiting += 1
        self.unread += 1
        self.kept += Flag.KEEP in frame.flags
        self.oldest_at = min(self.oldest_at, frame.at)

    def rest(self) -> bytes:
        """What of the file is not in memory yet; nothing where the disk has lost it.

        Raises:
            OSError: for now it cannot be read.
        """
        try:
            with self.path.open("rb") as file:
                file.seek(self.loaded)
                return file.read(self.size - self.loaded)
        except OSError as error:
            if error.errno in _NOT_READABLE:
                return b""
            raise
