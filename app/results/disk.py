"""What the spool asks of a disk: locks, files replaced at once, names written through."""

from __future__ import annotations

import fcntl
import os
from pathlib import Path

UNFINISHED = ".tmp"
"""What a file is called besides its name until it is whole."""

_OPEN = os.O_CLOEXEC | os.O_NOFOLLOW


def open_for_append(path: Path) -> int:
    """An empty file, readable to nobody else; its descriptor.

    Raises:
        OSError: it cannot be made.
    """
    return os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_APPEND | _OPEN, 0o600)


def write_whole(file: int, data: bytes) -> None:
    """Writes everything, however many calls it takes.

    Raises:
        OSError: it cannot; a part may have been written.
    """
    rest = memoryview(data)
    while rest:
        rest = rest[os.write(file, rest) :]


def replace_file(path: Path, data: bytes, *, sync: bool) -> None:
    """Gives a file new content at once: whatever happens, it has all of the old or all of the new.

    Raises:
        OSError: it has the old.
    """
    unfinished = path.with_name(path.name + UNFINISHED)
    try:
        file = os.open(unfinished, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | _OPEN, 0o600)
        try:
            write_whole(file, data)
            if sync:
                os.fsync(file)
        finally:
            os.close(file)
        unfinished.replace(path)
    except OSError:
        unfinished.unlink(missing_ok=True)
        raise
    if sync:
        sync_directory(path.parent)


def sync_directory(path: Path) -> None:
    """Writes the names of a directory's files through to the disk.

    Raises:
        OSError: it cannot.
    """
    file = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(file)
    finally:
        os.close(file)


def take_lock(path: Path, *, wait: bool) -> int | None:
    """Locks a file, which is made where there is none; the descriptor, or None where somebody else has it.

    Raises:
        OSError: it cannot be opened.
    """
    file = os.open(path, os.O_RDWR | os.O_CREAT | _OPEN, 0o600)
    try:
        fcntl.flock(file, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
    except BlockingIOError:
        os.close(file)
        return None
    except OSError:
        os.close(file)
        raise
    return file
