"""What records cost: stored, told, polled, kept in memory, brought back after an outage: `python -m bench.records`.

Every figure stands beside that of a plain way in the same run (a plain pipeline of redis-py, a bare ASGI application
under the same uvicorn), so that ratios can be compared between machines. Give it cores that nothing else uses.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path

from tqdm import tqdm

from bench import record_live, record_memory, record_poll, record_recovery, record_store
from bench.figures import BUNDLE, BenchError, Figure, Machine, Sizes, as_json, as_markdown

PARTS: Mapping[str, Callable[[Sizes], Iterator[Figure]]] = {
    "store": record_store.measure,
    "spool": record_store.measure_spool,
    "live": record_live.measure,
    "poll": record_poll.measure,
    "memory": record_memory.measure,
    "recovery": record_recovery.measure,
}


def measured(parts: Iterable[str], sizes: Sizes) -> list[Figure]:
    """Every figure of these parts, with a bar on standard error.

    Raises:
        BenchError: something did not work.
    """
    figures = []
    names = list(parts)
    with tqdm(total=len(names), unit="part", file=sys.stderr) as bar:
        for name in names:
            bar.set_description(name)
            for figure in PARTS[name](sizes):
                bar.set_postfix_str(figure.what)
                figures.append(figure)
            bar.update()
    return figures


def parser() -> argparse.ArgumentParser:
    """Of the command line. Defaults are those of `Sizes`."""
    made = argparse.ArgumentParser(prog="python -m bench.records", description=__doc__)
    made.add_argument(
        "--only", nargs="+", choices=PARTS, default=list(PARTS), metavar="PART", help=", ".join(PARTS)
    )
    made.add_argument("--json", action="store_true", help="JSON instead of a table")
    made.add_argument("--folder", type=Path, help="on the disk that is measured (default: a temporary one)")
    made.add_argument("--bundle", type=Path, default=BUNDLE, help="of the service; it scores nothing")
    numbers: Sequence[tuple[str, type, str]] = (
        ("calls", int, "that write at the same time"),
        ("records", int, "that each of them writes"),
        ("rounds", int, "of which the best counts"),
        ("lone-writes", int, "one at a time, for latencies"),
        ("viewers", int, "of the live feed"),
        ("events", int, "told to them as fast as possible"),
        ("events-per-s", float, "told while latencies are taken"),
        ("window-s", float, "for so long, seconds"),
        ("stored", int, "calls that are held while polls are made"),
        ("few", int, "calls that are held at first"),
        ("polls", int, "of each kind, at most"),
        ("poll-s", float, "for so long at most, seconds"),
        ("measured", int, "records whose memory is measured"),
        ("away-s", float, "that Redis is away, seconds"),
        ("load-per-s", float, "records while it is"),
    )  # fmt: skip
    usual = Sizes(Path())
    for name, kind, what in numbers:
        default = getattr(usual, name.replace("-", "_"))
        made.add_argument(f"--{name}", type=kind, default=default, help=f"{what} (default: {default:g})")
    return made


def main(arguments: Sequence[str] | None = None) -> None:
    """Measures and prints."""
    given = vars(parser().parse_args(arguments))
    parts, in_json, folder = given.pop("only"), given.pop("json"), given.pop("folder")
    bundle = given.pop("bundle").resolve()
    began = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="kowairo-", dir=folder) as place:
        sizes = Sizes(Path(place).resolve(), bundle, **given)
        try:
            figures = measured(parts, sizes)
        except BenchError as error:
            raise SystemExit(f"bench.records: {error}") from None
    took_s, machine = time.monotonic() - began, Machine()
    if in_json:
        print(json.dumps(as_json(figures, machine, sizes, took_s), indent=2, ensure_ascii=False))
    else:
        print(as_markdown(figures, machine, sizes, took_s))


if __name__ == "__main__":
    main()
