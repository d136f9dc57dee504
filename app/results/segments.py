"""One directory of the spool: numbered entries in files that are only appended to, and how far they were read."""

from __future__ import annotations

import math
import os
import re
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import suppress
from itertools import islice, takewhile
from pathlib import Path

from app.results.disk import (
    UNFINISHED,
    open_for_append,
    replace_file,
    sync_directory,
    take_lock,
    write_whole,
)
from app.results.frames import Flag, Frame, missing, pack, scan, with_marks
from app.results.segment import NewEntry, Segment

_NAME = re.compile(r"(\d{20})\.seg")
_POSITION = "position"
_LOCK = "lock"


class SpoolFolder:
    """The entries of one process, in order. One thread uses it; whoever makes it holds the lock of the directory.

    Args:
        path: the directory; it exists.
        lock: descriptor from `take_lock` of its lock file.
        segment_bytes: a file that has reached this size is followed by a new one.
        fsync: whether files, and the names of files, are written through to the disk.

    Raises:
        OSError: the directory cannot be read.
    """

    def __init__(self, path: Path, lock: int, *, segment_bytes: int, fsync: bool) -> None:
        self.path = path
        self.segments: list[Segment] = []
        self.damaged = 0
        self.torn_bytes = 0
        self._lock = lock
        self._segment_bytes = segment_bytes
        self._fsync = fsync
        self._head: deque[Frame] = deque()
        self._file: int | None = None  # descriptor of the last segment while it is appended to
        self._dirty = False
        self._sync_failed = False
        self._position = self._read_position()
        self._next = self._position
        self._find_segments()

    @property
    def waiting(self) -> int:
        """Entries not yet carried out."""
        return sum(segment.waiting for segment in self.segments)

    @property
    def size(self) -> int:
        """Bytes on disk."""
        return sum(segment.size for segment in self.segments)

    @property
    def synced(self) -> bool:
        """Whether everything appended was written through to the disk."""
        return not self._dirty

    @property
    def oldest_at(self) -> float:
        """When about the oldest waiting entry was written, epoch seconds; infinite for none."""
        if self._head:
            return self._head[0].at
        return min((segment.oldest_at for segment in self.segments if segment.waiting), default=math.inf)

    def append(self, entries: Sequence[NewEntry], at: float) -> int:
        """Adds entries; how many of them, from the first on, were written (fewer only when the disk refuses)."""
        written = 0
        while written < len(entries):
            count = self._append_some(entries[written:], at)
            if count == 0:
                break
            written += count
        return written

    def sync(self) -> bool:
        """Writes through to the disk; whether everything since the last time is there for certain."""
        if self._file is not None and self._dirty:
            try:
                os.fsync(self._file)
                self._dirty = False
            except OSError:
                # What was not written is forgotten by the kernel: a later success would say nothing of it.
                self._sync_failed = True
                self.seal()
        certain, self._sync_failed = not self._sync_failed, False
        return certain

    def seal(self) -> None:
        """Ends the segment that is appended to; the next entry begins another."""
        if self._file is None:
            return
        if self._dirty and self._fsync and not self._sync_failed:
            try:
                os.fsync(self._file)
            except OSError:
                self._sync_failed = True
        os.close(self._file)
        self._file = None
        self._dirty = False

    def peek(self, limit: int) -> list[Frame]:
        """The oldest waiting entries, in order.

        Raises:
            OSError: for now they cannot be read.
        """
        while len(self._head) < limit and self._load():
            pass
        if not self._head:  # what waited could not be read
            self._sweep()
        return list(islice(self._head, limit))

    def commit(self, number: int) -> None:
        """Notes that everything up to a number was carried out; files without anything else go."""
        while (not self._head or self._head[-1].number < number) and self._load():
            pass
        while self._head and self._head[0].number <= number:
            frame = self._head.popleft()
            segment = next(segment for segment in self.segments if frame.number <= segment.last)
            segment.waiting -= 1
            segment.kept -= Flag.KEEP in frame.flags
            segment.oldest_at = frame.at
        self._position = max(self._position, number + 1)
        if not self._sweep():
            self._write_position()

    def refuse_oldest(self) -> tuple[int, int] | None:
        """Gives up the oldest entries that may be, a segment of them: how many, and bytes; None where there is none."""
        for segment in self.segments:
            if segment.waiting > segment.kept:
                entries, size = segment.waiting - segment.kept, segment.size
                if segment is self.segments[-1]:
                    self.seal()
                try:
                    self._rewrite(segment, lambda frame: frame if Flag.KEEP in frame.flags else None)
                except OSError:  # no room even for what is left of it
                    self._forget(segment)
                self._sweep()
                return entries, size - segment.size
        return None

    def rewrite(self, first: int, change: Callable[[bytes], bytes | None]) -> int:
        """Puts other payloads, or nothing, in the place of those in a segment; how many.

        Of what is replaced, nothing is left on disk, nor of what cannot be read or was carried out. A crash leaves the
        segment as it was or as it shall be.

        Raises:
            OSError: it stays as it was.
        """
        segment = next((segment for segment in self.segments if segment.first == first), None)
        if segment is None:
            return 0

        def changed(frame: Frame) -> Frame | None:
            payload = change(frame.payload)
            if payload is None or payload == frame.payload:
                return None if payload is None else frame
            return Frame(frame.number, frame.at, payload, frame.flags)

        count = self._rewrite(segment, changed)
        self._sweep()
        return count

    def visit(self, first: int, look: Callable[[bytes], None]) -> None:
        """Shows every waiting payload of a segment.

        Raises:
            OSError: it cannot be read.
        """
        for segment in self.segments:
            if segment.first == first:
                for frame in scan(segment.path.read_bytes()).frames:
                    if self._waits(frame):
                        look(frame.payload)

    def close(self) -> None:
        """Lets go of the directory; whoever takes it next finds what waits."""
        self.seal()
        os.close(self._lock)

    def remove(self) -> None:
        """Removes the directory and lets go of it; whatever waits is gone."""
        self.seal()
        with suppress(OSError):
            for path in self.path.iterdir():
                path.unlink()
            self.path.rmdir()
        os.close(self._lock)

    def _waits(self, frame: Frame) -> bool:
        return frame.number >= self._position and not frame.gone

    def _find_segments(self) -> None:
        for path in self.path.glob(f"*{UNFINISHED}"):
            path.unlink()
        paths = sorted(path for path in self.path.iterdir() if _NAME.fullmatch(path.name))
        for index, path in enumerate(paths):
            first, data = int(path.stem), path.read_bytes()
            if index == 0:
                self._next = max(self._next, first)
            self.damaged += max(first - self._next, 0)
            found = scan(data)
            lost, self._next = missing(found.frames, max(self._next, first))
            self.damaged += lost
            if index == len(paths) - 1 and found.end < len(data):
                self.torn_bytes += len(data) - found.end
                os.truncate(path, found.end)
                data = data[: found.end]
            last = found.frames[-1].number if found.frames else first - 1
            segment = Segment(path, first, last, len(data))
            for frame in filter(self._waits, found.frames):
                segment.holds(frame)
            self.segments.append(segment)
        self._sweep()

    def _append_some(self, entries: Sequence[NewEntry], at: float) -> int:
        """Writes as many as belong into the current segment, at once; none when the disk refuses."""
        try:
            if self._file is None or self.segments[-1].size >= self._segment_bytes:
                self._begin_segment()
        except OSError:
            return 0
        segment, blob = self.segments[-1], bytearray()
        frames: list[Frame] = []
        for entry in entries:
            if frames and segment.size + len(blob) >= self._segment_bytes:
                break
            flags = Flag.KEEP if entry.keep else Flag.NONE
            frames.append(Frame(self._next + len(frames), at, entry.payload, flags))
            blob += pack(frames[-1])
        if not self._write(segment, bytes(blob)):
            return 0
        for frame in frames:
            segment.holds(frame)
        segment.size += len(blob)
        segment.last = frames[-1].number
        self._next = segment.last + 1
        self._dirty = True
        return len(frames)

    def _write(self, segment: Segment, blob: bytes) -> bool:
        if self._file is None:
            return False
        try:
            write_whole(self._file, blob)
        except OSError:
            try:
                os.ftruncate(self._file, segment.size)
            except OSError:
                self.seal()  # what stands there half is passed over by whoever reads
            return False
        return True

    def _begin_segment(self) -> None:
        self.seal()
        path = self.path / f"{self._next:020d}.seg"
        self.segments = [segment for segment in self.segments if segment.path != path]
        self._file = open_for_append(path)
        self.segments.append(Segment(path, self._next, self._next - 1))
        if self._fsync:
            sync_directory(self.path)

    def _load(self) -> bool:
        """Takes the next segment's waiting entries into memory; False when there is none."""
        for segment in self.segments:
            if segment.unread:
                found = [frame for frame in scan(segment.rest()).frames if self._waits(frame)]
                self.damaged += segment.unread - len(found)
                segment.waiting -= segment.unread - len(found)
                segment.unread, segment.loaded = 0, segment.size
                self._head.extend(found)
                return True
        return False

    def _rewrite(self, segment: Segment, keep: Callable[[Frame], Frame | None]) -> int:
        data = segment.path.read_bytes()
        found = scan(data)
        pairs = [(frame, frame if frame.gone else keep(frame)) for frame in found.frames]
        changed = sum(new is not frame for frame, new in pairs)
        if not changed and found.clean and found.end == len(data):
            return 0
        left = [new for _, new in pairs if new is not None and (new.gone or new.number >= self._position)]
        blob = b"".join(pack(frame) for frame in with_marks(left, segment.first, segment.last))
        replace_file(segment.path, blob, sync=True)
        self.damaged += segment.waiting - sum(map(self._waits, found.frames))
        segment.size, segment.waiting, segment.kept, segment.oldest_at = len(blob), 0, 0, math.inf
        for frame in filter(self._waits, left):
            segment.holds(frame)
        self._read_anew()
        return changed

    def _read_anew(self) -> None:
        self._head.clear()
        for segment in self.segments:
            segment.unread, segment.loaded = segment.waiting, 0

    def _forget(self, segment: Segment) -> None:
        with suppress(OSError):
            segment.path.unlink()
        segment.size = segment.waiting = segment.kept = 0
        self._read_anew()

    def _sweep(self) -> bool:
        """Removes the oldest segments while nothing in them waits; whether there were any."""
        done = list(takewhile(lambda segment: segment.waiting == 0, self.segments))
        if not done:
            return False
        if len(done) == len(self.segments):
            self.seal()
        self.segments = self.segments[len(done) :]
        first = self.segments[0].first if self.segments else self._next
        self._position = max(self._position, first)
        self._write_position()
        for segment in done:
            with suppress(OSError):
                segment.path.unlink()
        self._sync_names()
        return True

    def _read_position(self) -> int:
        try:
            found = scan((self.path / _POSITION).read_bytes())
        except OSError:
            return 1
        return found.frames[0].number if found.frames else 1

    def _write_position(self) -> None:
        # Where it cannot be written, entries are carried out twice after a crash: without effect, but not lost.
        with suppress(OSError):
            replace_file(self.path / _POSITION, pack(Frame(self._position, 0.0, b"")), sync=self._fsync)

    def _sync_names(self) -> None:
        if self._fsync:
            with suppress(OSError):
                sync_directory(self.path)


def take_folder(path: Path, *, segment_bytes: int, fsync: bool) -> SpoolFolder | None:
    """The directory, if no living process has it.

    Raises:
        OSError: it cannot be read.
    """
    lock = take_lock(path / _LOCK, wait=False)
    if lock is None:
        return None
    try:
        return SpoolFolder(path, lock, segment_bytes=segment_bytes, fsync=fsync)
    except OSError:
        os.close(lock)
        raise
