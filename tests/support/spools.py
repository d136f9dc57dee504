"""Spools on a disk of a test, and what they hold."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from itertools import count
from pathlib import Path
from typing import Any, TypeVar

from app.results.segment import NewEntry
from app.results.spool import Spool
from app.results.spool_files import Lost, SpoolOptions
from tests.support.clock import FakeClock

T = TypeVar("T")
SECONDS = count(1_700_000_000)
SMALL = SpoolOptions(max_bytes=4_000, segment_bytes=400)


def run(work: Coroutine[Any, Any, T]) -> T:
    """Runs a scenario."""
    return asyncio.run(work)


class Losses:
    """Remembers what a spool says it lost."""

    def __init__(self) -> None:
        self.told: list[tuple[Lost, int, int]] = []

    def __call__(self, why: Lost, entries: int, size: int) -> None:
        """Notes a loss."""
        self.told.append((why, entries, size))

    def entries(self, why: Lost) -> int:
        """How many for this reason."""
        return sum(entries for told, entries, _ in self.told if told is why)


async def open_spool(base: Path, options: SpoolOptions = SMALL, **more: Any) -> Spool:
    """A spool with a clock that stands, a second after that of the one before."""
    clock = more.pop("clock", None) or FakeClock(float(next(SECONDS)))
    return await Spool.open(base, options, clock=clock, **more)


def entries(*payloads: str, keep: bool = False) -> list[NewEntry]:
    """Entries to append."""
    return [NewEntry(payload.encode(), keep) for payload in payloads]


async def drain(spool: Spool, limit: int = 3) -> list[str]:
    """Takes out everything."""
    taken: list[str] = []
    while found := await spool.peek(limit):
        taken += [entry.payload.decode() for entry in found]
        await spool.commit(found[-1])
    return taken


async def look(spool: Spool) -> list[str]:
    """Everything that waits, left where it is."""
    seen: list[str] = []
    await spool.visit(lambda payload: seen.append(payload.decode()))
    return seen


def overwrite_positions(base: Path) -> None:
    """Damages the files that say how far spools were read."""
    for path in base.rglob("position"):
        path.write_bytes(b"rubbish")


def segments(base: Path) -> list[Path]:
    """Every file of entries."""
    return sorted(base.rglob("*.seg"))
