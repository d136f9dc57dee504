"""A bounded queue on disk which outlives the process: what goes in comes out in order, at least once.

A process has a directory of its own below the base directory, and takes over those of processes that died. With
`Fsync.ALWAYS` an entry that was answered `DURABLE` survives a killed process and a loss of power, with one exception:
**when the spool is full, its oldest entries are refused**, whatever was said of them, and counted.
Erased entries are overwritten by files without them; what a disk keeps in blocks that no file has is beyond this code.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import Any, Self, TypeVar

from app.results.combine import Combiner
from app.results.segment import NewEntry
from app.results.spool_files import Entry, Fsync, Kept, Lost, SpoolFiles, SpoolOptions, SpoolStats
from app.results.store import StoreError
from app.telemetry.clock import Clock
from app.telemetry.logs import get_logger

T = TypeVar("T")

_MOST_APPENDS = 4_096


class SpoolError(StoreError):
    """The disk refuses what the spool needs."""


OnLost = Callable[[Lost, int, int], None]
"""Told why, how many entries and how many bytes were lost (0 where that is not known); on the event loop."""


def _nobody(_why: Lost, _entries: int, _size: int) -> None:
    """Nobody wants to know."""


class Spool:
    """The queue; made by `open`. All files are worked on in one thread of its own, never on the event loop."""

    def __init__(self, base: Path, options: SpoolOptions, clock: Clock, on_lost: OnLost) -> None:
        self._files = SpoolFiles(base, options, clock)
        self._options = options
        self._on_lost = on_lost
        self._pool = ThreadPoolExecutor(1, thread_name_prefix="kowairo-spool")
        self._appends: Combiner[Sequence[NewEntry], list[Kept]] = Combiner(
            self._append_together, _MOST_APPENDS
        )
        self._syncing: asyncio.Task[None] | None = None
        self._closed = False
        self._log = get_logger(__name__)

    @classmethod
    async def open(
        cls, base: Path, options: SpoolOptions, *, clock: Clock, on_lost: OnLost = _nobody
    ) -> Self:
        """A spool below a directory, which is made where there is none, with what dead processes left there.

        Raises:
            SpoolError: the directory cannot be used.
        """
        spool = cls(base, options, clock, on_lost)
        try:
            await spool.begin()
        except SpoolError:
            await spool.close()
            raise
        return spool

    @property
    def forces_to_disk(self) -> bool:
        """Whether what is appended is on the disk before the answer."""
        return self._options.fsync is Fsync.ALWAYS

    async def begin(self) -> None:
        """Makes the directory, with what dead processes left there; before anything else, once.

        Raises:
            SpoolError: the directory cannot be used.
        """
        await self._run(self._files.begin)

    @property
    def stats(self) -> SpoolStats:
        """How things stand."""
        return self._files.stats

    async def adopt(self) -> int:
        """Takes over the directories of processes that died; how many entries that adds, before its own.

        Raises:
            SpoolError: the base directory cannot be read.
        """
        return await self._run(self._files.adopt)

    async def append(self, entries: Sequence[NewEntry]) -> list[Kept]:
        """Adds entries at the end; what became of each. Appends at the same time share one write to the disk."""
        return await self._appends.submit(entries) if entries else []

    async def peek(self, limit: int) -> list[Entry]:
        """The oldest waiting entries, in order: at most `limit`, all of one directory; none when nothing waits.

        Raises:
            SpoolError: for now they cannot be read.
        """
        return await self._run(self._files.peek, limit)

    async def commit(self, last: Entry) -> None:
        """Says that this entry and all before it (of its directory) were carried out; they go.

        After a crash some that were committed may come again.
        """
        await self._run(self._files.commit, last)

    async def rewrite(self, change: Callable[[bytes], bytes | None], source: str | None = None) -> int:
        """Changes or removes entries on disk, those included which were carried out and are still there; how many.

        Entries that are appended meanwhile are not looked at. Other work goes on in between.

        Args:
            change: given a payload, returns the one to have in its place: the same, another, or None for none.
            source: only in this directory.

        Raises:
            SpoolError: the disk refuses; some may not have been changed.
        """
        count = 0
        for folder, first in await self._run(self._files.sealed, source):
            count += await self._run(self._files.rewrite, folder, first, change)
        return count

    async def visit(self, look: Callable[[bytes], None]) -> None:
        """Shows every waiting payload, in the spool's thread.

        Raises:
            SpoolError: the disk refuses.
        """
        for folder, first in await self._run(self._files.sealed, None):
            await self._run(folder.visit, first, look)

    async def flush(self) -> bool:
        """Writes everything through to the disk; whether that succeeded."""
        return await self._run(self._files.sync)

    async def close(self) -> None:
        """Ends what is under way, writes through, and lets go of the directories; what waits is there next time."""
        if self._closed:
            return
        await self._appends.idle()
        if self._syncing is not None:
            self._syncing.cancel()
            await asyncio.wait((self._syncing,))
        await self._run(self._files.close)
        self._closed = True
        self._pool.shutdown()

    async def _run(self, work: Callable[..., T], *arguments: Any) -> T:
        """Does something with files in the spool's thread.

        Raises:
            SpoolError: the disk refused.
        """
        if self._closed:
            raise SpoolError("the spool is closed")

        def watched() -> T:
            try:
                return work(*arguments)
            finally:
                self._files.take_stock()

        try:
            return await asyncio.get_running_loop().run_in_executor(self._pool, watched)
        except OSError as error:
            raise SpoolError(f"the spool's disk refuses: {error.strerror or type(error).__name__}") from None
        finally:
            while self._files.losses:
                why, entries, size = self._files.losses.popleft()
                self._log.warning("spool_lost_entries", why=why.value, entries=entries, bytes=size)
                self._on_lost(why, entries, size)

    async def _append_together(self, batches: Sequence[Sequence[NewEntry]]) -> list[list[Kept]]:
        kept = await self._run(self._files.append, [entry for batch in batches for entry in batch])
        if self._options.fsync is Fsync.INTERVAL and self._syncing is None:
            self._syncing = asyncio.create_task(self._sync_soon())
        answers = iter(kept)
        return [[next(answers) for _ in batch] for batch in batches]

    async def _sync_soon(self) -> None:
        await asyncio.sleep(self._options.interval_s)
        self._syncing = None
        with suppress(SpoolError):
            await self._run(self._files.sync)
