"""What the benchmark of records has in common: sizes, figures and how they are shown, and time as it is measured."""

from __future__ import annotations

import math
import os
import platform
import shutil
import subprocess
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

BUNDLE = Path(__file__).parent.parent / "models" / "bundles" / "kowairo-8k"


class BenchError(Exception):
    """What was to be measured did not work, so there is no figure."""


@dataclass(frozen=True, slots=True)
class Sizes:
    """How much is done. folder: where Redis and spools keep their files; its disk is what is measured.

    calls: that write at the same time; records: that each of them writes, in each of `rounds`, of which the best
    counts. lone_writes: one at a time, for latencies. viewers, events: of the fan-out; events_per_s for window_s:
    where their latency is measured. stored, few: calls that are held while polls are made. polls: of each kind at
    most, within poll_s. measured: records whose memory is measured. away_s, load_per_s: of the outage of Redis.
    """

    folder: Path
    bundle: Path = BUNDLE
    calls: int = 64
    records: int = 50
    rounds: int = 3
    lone_writes: int = 300
    viewers: int = 200
    events: int = 200
    events_per_s: float = 20.0
    window_s: float = 4.0
    stored: int = 100_000
    few: int = 1_000
    polls: int = 1_000
    poll_s: float = 4.0
    measured: int = 5_000
    away_s: float = 5.0
    load_per_s: float = 200.0


@dataclass(frozen=True, slots=True)
class Figure:
    """Something measured. baseline: the plain way in the same run, `against` says which; None where there is none."""

    part: str
    what: str
    value: float
    unit: str
    baseline: float | None = None
    against: str = ""

    @property
    def ratio(self) -> float | None:
        """The value by its baseline."""
        return None if not self.baseline else self.value / self.baseline


@dataclass(slots=True)
class Spent:
    """What something took. wall_s: by the clock; cpu_s: processor time of this process and of those named."""

    wall_s: float = math.inf
    cpu_s: float = math.inf

    def best(self, other: Spent) -> Spent:
        """The lesser of each."""
        return Spent(min(self.wall_s, other.wall_s), min(self.cpu_s, other.cpu_s))


@contextmanager
def spending(*pids: int) -> Iterator[Spent]:
    """Measures what is done inside; pids: of other processes whose processor time counts too."""
    spent = Spent()
    cpu, began = _cpu_s(pids), time.perf_counter()
    yield spent
    spent.wall_s, spent.cpu_s = time.perf_counter() - began, _cpu_s(pids) - cpu


def _cpu_s(pids: Sequence[int]) -> float:
    return time.process_time() + sum(process_cpu_s(pid) for pid in pids)


def process_cpu_s(pid: int) -> float:
    """Processor time of another process, to a hundredth of a second."""
    words = Path(f"/proc/{pid}/stat").read_text(encoding="ascii").rpartition(")")[2].split()
    return (int(words[11]) + int(words[12])) / os.sysconf("SC_CLK_TCK")


def percentile(values: Sequence[float], share: float) -> float:
    """The least value that is not below so large a share of them.

    Raises:
        BenchError: there are none.
    """
    if not values:
        raise BenchError("nothing was measured")
    ordered = sorted(values)
    return ordered[max(0, math.ceil(share * len(ordered)) - 1)]


def latency_figures(
    part: str, what: str, seconds: Sequence[float], plain: Sequence[float], against: str
) -> list[Figure]:
    """Median and 99th percentile, in milliseconds, each against that of the baseline."""
    return [
        Figure(part, f"{what}, {name}", 1e3 * percentile(seconds, share), "ms", 1e3 * percentile(plain, share), against)
        for name, share in (("p50", 0.5), ("p99", 0.99))
    ]  # fmt: skip


@dataclass(frozen=True, slots=True)
class Machine:
    """Where it was measured. cores: that this process may use."""

    cores: int = field(default_factory=lambda: len(os.sched_getaffinity(0)))
    system: str = field(default_factory=lambda: f"{platform.system()} {platform.machine()}")
    python: str = field(default_factory=platform.python_version)
    redis: str = field(default_factory=lambda: redis_version())


def redis_version() -> str:
    """Of the `redis-server` on this machine; `none` where there is none."""
    program = shutil.which("redis-server")
    if program is None:
        return "none"
    said = subprocess.run([program, "--version"], capture_output=True, text=True, check=True).stdout
    return next((word[2:] for word in said.split() if word.startswith("v=")), "unknown")


def as_markdown(figures: Sequence[Figure], machine: Machine, sizes: Sizes, took_s: float) -> str:
    """The figures as a table, and what to know of them."""
    lines = [
        f"{machine.cores} cores, {machine.system}, Python {machine.python}, Redis {machine.redis}; "
        f"{sizes.calls} calls at a time, {sizes.viewers} viewers, {sizes.stored:,} calls stored; took {took_s:.0f} s.",
        "",
        "| part | what | figure | baseline | × baseline |",
        "|---|---|---:|---:|---:|",
    ]
    for figure in figures:
        plain = (
            "" if figure.baseline is None else f"{_short(figure.baseline)} {figure.unit} ({figure.against})"
        )
        ratio = "" if figure.ratio is None else f"{figure.ratio:.2f}"
        lines.append(
            f"| {figure.part} | {figure.what} | {_short(figure.value)} {figure.unit} | {plain} | {ratio} |"
        )
    return "\n".join(lines)


def as_json(figures: Sequence[Figure], machine: Machine, sizes: Sizes, took_s: float) -> dict[str, Any]:
    """The same for machines."""
    used = {name: value for name, value in asdict(sizes).items() if not isinstance(value, Path)}
    return {
        "machine": asdict(machine),
        "sizes": used,
        "took_s": took_s,
        "figures": [{**asdict(figure), "ratio": figure.ratio} for figure in figures],
    }


def _short(value: float) -> str:
    """Three digits that say something."""
    return f"{value:,.0f}" if value >= 100 or value == 0 else f"{value:.3g}"
