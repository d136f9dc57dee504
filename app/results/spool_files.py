"""The directories of a spool as one queue: this process's own, and before it those of processes that died.

One thread uses all of this; `app.results.spool` is what everybody else uses.
"""

from __future__ import annotations

import math
import os
import re
import secrets
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from app.results.disk import sync_directory, take_lock
from app.results.frames import HEADER_BYTES
from app.results.segment import NewEntry
from app.results.segments import SpoolFolder, take_folder
from app.telemetry.clock import Clock
from app.telemetry.logs import get_logger

_FOLDER = re.compile(r"\d{15}-[0-9a-f]{8}")
_BASE_LOCK = ".lock"


class Fsync(StrEnum):
    """When entries are written through to the disk: before they are acknowledged, every so often, or never."""

    ALWAYS = "always"
    INTERVAL = "interval"
    NEVER = "never"


class Kept(StrEnum):
    """What became of an entry: it is on the disk for certain; the system has it, and will write it; it is lost."""

    DURABLE = "durable"
    HELD = "held"
    LOST = "lost"


class Lost(StrEnum):
    """Why entries were lost: no room, the disk refused them, or gave them back damaged."""

    FULL = "spool_full"
    DISK = "spool_failed"
    DAMAGED = "spool_damaged"


@dataclass(frozen=True, slots=True)
class SpoolOptions:
    """How much is kept and how surely.

    max_bytes: on disk, with what dead processes left; at least four segments. segment_bytes: of a file, about; the
    oldest entries are refused by so much at a time. interval_s: between writing through, for `Fsync.INTERVAL`.
    """

    max_bytes: int = 256 * 1024 * 1024
    segment_bytes: int = 8 * 1024 * 1024
    fsync: Fsync = Fsync.ALWAYS
    interval_s: float = 0.2

    def __post_init__(self) -> None:
        if self.segment_bytes < 1 or self.max_bytes < 4 * self.segment_bytes:
            raise ValueError(
                f"expected room for 4 segments of {self.segment_bytes} bytes, got {self.max_bytes}"
            )


@dataclass(frozen=True, slots=True)
class SpoolStats:
    """What the spool holds. entries: waiting; bytes: on disk; oldest_at: about when the oldest came, epoch seconds.

    damaged: entries that could not be read; torn_bytes: cut off where a process died while it wrote.
    synced: everything is written through.
    """

    entries: int = 0
    bytes: int = 0
    oldest_at: float | None = None
    damaged: int = 0
    torn_bytes: int = 0
    synced: bool = True


@dataclass(frozen=True, slots=True)
class Entry:
    """A waiting entry. source: the directory it lies in. number: its place there."""

    source: str
    number: int
    payload: bytes


class SpoolFiles:
    """The queue on disk. What it may raise is `OSError`, unless a method says otherwise.

    stats: how things stood at the last `take_stock`. losses: why, how many entries and bytes; taken away by whoever
    tells of them.
    """

    def __init__(self, base: Path, options: SpoolOptions, clock: Clock) -> None:
        self.stats = SpoolStats()
        self.losses: deque[tuple[Lost, int, int]] = deque()
        self._base = base
        self._options = options
        self._clock = clock
        self._folders: list[SpoolFolder] = []  # the last one is this process's own
        self._damaged = 0
        self._torn_bytes = 0
        self._log = get_logger(__name__)

    def begin(self) -> None:
        """Makes this process's own directory, and takes over those of dead ones."""
        self._base.mkdir(mode=0o700, parents=True, exist_ok=True)
        with self._locked_base():
            own = self._base / f"{int(self._clock.now() * 1_000):015d}-{secrets.token_hex(4)}"
            own.mkdir(mode=0o700)
            folder = self._take(own)
            if folder is None:
                raise BlockingIOError("somebody took the directory")
            self._folders.append(folder)
            if self._options.fsync is not Fsync.NEVER:
                sync_directory(self._base)
        self.adopt()

    def adopt(self) -> int:
        """Takes over the directories of processes that died since; how many entries that adds."""
        mine, added = {folder.path for folder in self._folders}, 0
        with self._locked_base():
            for path in sorted(path for path in self._base.iterdir() if _FOLDER.fullmatch(path.name)):
                folder = None if path in mine else self._take_if_readable(path)
                if folder is not None:
                    self._torn_bytes += folder.torn_bytes
                    self._folders.insert(-1, folder)
                    added += folder.waiting
        self._remove_finished()
        return added

    def _take_if_readable(self, path: Path) -> SpoolFolder | None:
        try:
            return self._take(path)
        except OSError as error:
            self._log.warning("spool_not_adopted", error=type(error).__name__)
            return None

    def _take(self, path: Path) -> SpoolFolder | None:
        fsync = self._options.fsync is not Fsync.NEVER
        return take_folder(path, segment_bytes=self._options.segment_bytes, fsync=fsync)

    def append(self, entries: Sequence[NewEntry]) -> list[Kept]:
        """Adds entries, in the place of the oldest where there is no room. Never raises for a disk that refuses."""
        room = self._options.max_bytes // 2  # else the first of these would be refused for the last
        kept: list[Kept] = []
        for chunk, size in self._chunks(entries):
            room -= size
            kept += self._append_chunk(chunk, size) if room >= 0 else self._lose(Lost.FULL, chunk)
        if self._options.fsync is Fsync.ALWAYS and Kept.HELD in kept and self._folders[-1].sync():
            kept = [Kept.DURABLE if one is Kept.HELD else one for one in kept]
        return kept

    def _append_chunk(self, entries: Sequence[NewEntry], size: int) -> list[Kept]:
        while sum(folder.size for folder in self._folders) + size > self._options.max_bytes:
            if not self._refuse_oldest():
                return self._lose(Lost.FULL, entries)
        written = self._folders[-1].append(entries, self._clock.now())
        held = [Kept.HELD] * written
        return held + self._lose(Lost.DISK, entries[written:]) if written < len(entries) else held

    def _chunks(self, entries: Sequence[NewEntry]) -> list[tuple[list[NewEntry], int]]:
        """Entries by the segment, with their bytes on disk."""
        chunks: list[tuple[list[NewEntry], int]] = []
        for entry in entries:
            size = HEADER_BYTES + len(entry.payload)
            if not chunks or chunks[-1][1] + size > self._options.segment_bytes:
                chunks.append(([], 0))
            chunk, before = chunks[-1]
            chunk.append(entry)
            chunks[-1] = (chunk, before + size)
        return chunks

    def _lose(self, why: Lost, entries: Sequence[NewEntry]) -> list[Kept]:
        self.losses.append((why, len(entries), sum(len(entry.payload) for entry in entries)))
        return [Kept.LOST] * len(entries)

    def _refuse_oldest(self) -> bool:
        for folder in self._folders:
            refused = folder.refuse_oldest()
            if refused is not None:
                self.losses.append((Lost.FULL, *refused))
                self._remove_finished()
                return True
        return False

    def peek(self, limit: int) -> list[Entry]:
        """The oldest waiting entries of the first directory that has any."""
        for folder in self._folders:
            frames = folder.peek(limit)
            if frames:
                return [Entry(folder.path.name, frame.number, frame.payload) for frame in frames]
        return []

    def commit(self, last: Entry) -> None:
        """Forgets this entry and those before it in its directory."""
        for folder in self._folders:
            if folder.path.name == last.source:
                folder.commit(last.number)
        self._remove_finished()

    def sealed(self, source: str | None) -> list[tuple[SpoolFolder, int]]:
        """Every segment there is, by directory and first number; nothing more goes into any of them."""
        self._folders[-1].seal()
        folders = [folder for folder in self._folders if source in (None, folder.path.name)]
        return [(folder, segment.first) for folder in folders for segment in folder.segments]

    def rewrite(self, folder: SpoolFolder, first: int, change: Callable[[bytes], bytes | None]) -> int:
        """Changes a segment, if it is still there; see `SpoolFolder.rewrite`."""
        count = folder.rewrite(first, change) if folder in self._folders else 0
        self._remove_finished()
        return count

    def _remove_finished(self) -> None:
        for folder in self._folders[:-1]:
            if folder.waiting == 0:
                self._damaged += folder.damaged
                self._folders.remove(folder)
                folder.remove()

    def sync(self) -> bool:
        """Writes through to the disk what this process appended; whether that succeeded."""
        return self._folders[-1].sync()

    def close(self) -> None:
        """Lets go of every directory; an own one without entries goes."""
        if not self._folders:
            return
        own = self._folders.pop()
        for folder in self._folders:
            folder.close()
        self._folders.clear()
        if own.waiting == 0:
            own.remove()
        else:
            own.sync()
            own.close()

    @contextmanager
    def _locked_base(self) -> Iterator[None]:
        """Nobody makes or takes over directories meanwhile."""
        file = take_lock(self._base / _BASE_LOCK, wait=True)
        try:
            yield
        finally:
            if file is not None:
                os.close(file)

    def take_stock(self) -> None:
        """Brings `stats` up to date, and notes what was found damaged since."""
        damaged = self._damaged + sum(folder.damaged for folder in self._folders)
        if damaged > self.stats.damaged:
            self.losses.append((Lost.DAMAGED, damaged - self.stats.damaged, 0))
        oldest_at = min((folder.oldest_at for folder in self._folders), default=math.inf)
        self.stats = SpoolStats(
            entries=sum(folder.waiting for folder in self._folders),
            bytes=sum(folder.size for folder in self._folders),
            oldest_at=None if math.isinf(oldest_at) else oldest_at,
            damaged=damaged,
            torn_bytes=self._torn_bytes,
            synced=all(folder.synced for folder in self._folders),
        )
