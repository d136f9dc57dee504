"""What was erased leaves the store's files, too: they are written anew, but not all the time."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import Any, cast

from app.api.housekeeping import COMPACT_EVERY_S, Compaction
from app.results.opening import Stores
from tests.support.clock import FakeClock
from tests.support.service import Api


class Files:
    """A store with files: counts how often they are written anew."""

    def __init__(self, inner: Stores) -> None:
        self.inner = inner
        self.erasures = 0
        self.written = 0
        self.refuses = False

    async def compact(self) -> bool:
        """Writes them anew, unless something else is being written."""
        self.written += not self.refuses
        return not self.refuses


def test_files_are_written_anew_after_erasures(web: Api) -> None:
    """At once, then at most once a minute; again where it was refused, and when an erasure that was queued ends."""
    clock, files = FakeClock(), Files(web.services.stores)
    services = replace(web.services, stores=cast(Any, files), clock=clock)
    compaction = Compaction(services)

    def look() -> int:
        asyncio.run(compaction.look())
        return files.written

    assert look() == 0
    files.erasures += 1
    files.refuses = True
    assert look() == 0
    files.refuses = False
    assert [look(), look()] == [1, 1]
    services.privacy.erasures.finished += 1
    assert look() == 1
    clock.advance(COMPACT_EVERY_S)
    assert [look(), look()] == [2, 2]
