"""What is acknowledged survives killed processes and losses of power, in whatever order things happen."""

from __future__ import annotations

import asyncio
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Coroutine
from itertools import count
from pathlib import Path
from typing import Any

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from app.results.spool import Spool
from app.results.spool_files import Kept, SpoolOptions
from app.telemetry.clock import SystemClock
from tests.support.disks import WatchedDisk, bytes_below
from tests.support.server import ROOT, read_line
from tests.support.spools import T, drain, entries, look, open_spool, run

APPENDER = """
import asyncio, sys
from itertools import count
from pathlib import Path
from app.results.segment import NewEntry
from app.results.spool import Spool
from app.results.spool_files import Kept, SpoolOptions
from app.telemetry.clock import SystemClock

async def main():
    options = SpoolOptions(max_bytes=2**24, segment_bytes=1_000)
    spool = await Spool.open(Path(sys.argv[1]), options, clock=SystemClock())
    for number in count():
        if await spool.append([NewEntry(str(number).encode())]) == [Kept.DURABLE]:
            print(number, flush=True)

asyncio.run(main())
"""


def test_a_killed_process_loses_nothing_it_acknowledged(tmp_path: Path) -> None:
    """A process is killed while it appends without pause: everything it said was durable is there, in order."""
    for round_ in range(3):
        base = tmp_path / str(round_)
        process = subprocess.Popen(
            [sys.executable, "-c", APPENDER, str(base)], cwd=ROOT, stdout=subprocess.PIPE, text=True
        )
        with process:
            acknowledged = [read_line(process, 60.0).strip() for _ in range(5 + 20 * round_)]
            process.send_signal(signal.SIGKILL)
            assert process.stdout is not None
            acknowledged += [line.strip() for line in process.stdout if line.endswith("\n")]
        assert process.returncode == -signal.SIGKILL
        assert acknowledged[0] == "0"

        async def scenario(base: Path = base) -> tuple[list[str], int]:
            spool = await Spool.open(base, SpoolOptions(), clock=SystemClock())
            found, damaged = await drain(spool, 500), spool.stats.damaged
            await spool.close()
            return found, damaged

        found, damaged = run(scenario())
        assert damaged == 0
        assert found == [str(n) for n in range(len(found))]
        assert set(acknowledged) <= set(found)


ROOMY = SpoolOptions(max_bytes=1_000_000, segment_bytes=300)


class SpoolMachine(RuleBasedStateMachine):
    """A spool on a disk that may lose power, beside a list."""

    def __init__(self) -> None:
        super().__init__()
        self.loop = asyncio.new_event_loop()
        self.disk = WatchedDisk()
        self.disk.__enter__()
        self.root = Path(tempfile.mkdtemp())
        self.bases = count()
        self.base = self.root / "first"
        self.names = count()
        self.waiting: list[str] = []  # what is in, oldest first
        self.unsure: set[str] = set()  # of these, what was not said to be durable
        self.spool = self.do(open_spool(self.base, ROOMY))

    def do(self, work: Coroutine[Any, Any, T]) -> T:
        """Runs something of the spool."""
        return self.loop.run_until_complete(work)

    @rule(calls=st.lists(st.sampled_from("abc"), min_size=1, max_size=6), fails=st.booleans())
    def append(self, calls: list[str], fails: bool) -> None:
        """Entries come in; the disk may not be able to write them through."""
        names = [f"call {call} {next(self.names):06d}" for call in calls]
        self.disk.fails = fails
        kept = self.do(self.spool.append(entries(*names)))
        self.disk.fails = False
        taken = [name for name, one in zip(names, kept, strict=True) if one is not Kept.LOST]
        self.waiting += taken
        self.unsure |= {name for name, one in zip(names, kept, strict=True) if one is Kept.HELD}
        assert fails or set(kept) == {Kept.DURABLE}

    @rule(limit=st.integers(1, 12), part=st.integers(0, 12))
    def take(self, limit: int, part: int) -> None:
        """Some of the oldest are carried out."""
        found = self.do(self.spool.peek(limit))
        assert [entry.payload.decode() for entry in found] == self.waiting[: len(found)]
        assert bool(found) == bool(self.waiting)
        found = found[:part]
        if found:
            self.do(self.spool.commit(found[-1]))
            self.waiting = self.waiting[len(found) :]

    @rule(call=st.sampled_from("abc"))
    def erase(self, call: str) -> None:
        """A call is erased."""
        part = f"call {call}"
        self.do(self.spool.rewrite(lambda payload: None if part.encode() in payload else payload))
        assert part.encode() not in bytes_below(self.base)
        self.waiting = [name for name in self.waiting if part not in name]

    @rule()
    def restart(self) -> None:
        """The process ends as it should, and another begins."""
        self.do(self.spool.close())
        self.spool = self.do(open_spool(self.base, ROOMY))
        assert self.do(look(self.spool)) == self.waiting

    @rule(torn=st.integers(0, 120))
    def lose_power(self, torn: int) -> None:
        """Everything that was not written through is gone, but for some bytes."""
        target = self.root / str(next(self.bases))
        self.disk.after_power_loss(self.base, target, torn)
        self.do(self.spool.close())
        self.base, self.spool = target, self.do(open_spool(target, ROOMY))
        found = self.do(look(self.spool))
        assert found == [name for name in self.waiting if name in found]
        assert set(self.waiting) - set(found) <= self.unsure
        self.waiting, self.unsure = found, set()

    @invariant()
    def the_count_is_right(self) -> None:
        """The spool knows how much waits, whatever was lost."""
        assert self.spool.stats.entries == len(self.waiting)

    def teardown(self) -> None:
        """Leaves nothing open."""
        self.do(self.spool.close())
        self.disk.__exit__(None, None, None)
        self.loop.close()
        shutil.rmtree(self.root)


class TestSpoolMachine(SpoolMachine.TestCase):  # type: ignore[misc, valid-type]
    """Whatever order things happen in, the spool holds what the list does."""

    settings = settings(max_examples=25, stateful_step_count=20, deadline=None)
