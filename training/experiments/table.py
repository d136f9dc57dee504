"""The page that remembers: a table for every experiment, from its JSON, and a part that people write by hand."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from training.experiments.figures import MEAN
from training.files import write_whole

OPEN, CLOSE = "<!-- remembered: begin -->", "<!-- remembered: end -->"
EMPTY = "| run | config | figure | verdict |\n|---|---|---|---|"
RATE = "bits_per_second"
OUTSIDE = "emodb4"
"""The set that nothing is trained or selected on: shown beside the mean, of which it is no part."""

HEAD = """# Experiments

Written by `python -m training.experiments table` from `reports/experiments/*.json`: edit the section between its two
markers only ([how to run them](stages/experiments.md)). UAR after the clean telephone chain, cold, averaged over the
sets of the corpora with training speakers; in brackets the 95 % interval by speaker. A verdict is a matter of the
paired difference from the arm that it names: its interval lies above 0 (better), below 0 (worse), or holds 0 (no
difference shown).
"""


def write_page(out: Path, page: Path) -> None:
    """Regenerate the page from every summary in `out`, keeping its hand-written part."""
    summaries = [json.loads(path.read_text(encoding="utf-8")) for path in sorted(out.glob("*.json"))]
    old = page.read_text(encoding="utf-8") if page.exists() else ""
    parts = [HEAD, _remembered(old)]
    parts += [section(summary) for summary in summaries if summary["arms"]]
    write_whole(page, "\n".join(parts))


def section(summary: Mapping[str, Any]) -> str:
    """One experiment: its question, what all arms share, a row an arm, and the differences by set."""
    arms = summary["arms"]
    varied, shared = split_config([arm["config"] for arm in arms])
    lines = [f"## {summary['experiment']}", "", summary["question"], ""]
    told = [f"{key} {_text(value)}" for key, value in {**shared, "seeds": summary["seeds"]}.items()]
    lines += [f"All arms: {', '.join(told)}.", ""]
    outside = any(OUTSIDE in arm["uar"] for arm in arms)
    figures = list(dict.fromkeys(name for arm in arms for name in arm["figures"]))
    head = ["arm", "config", "UAR", *([f"UAR {OUTSIDE}"] if outside else []), *figures, "minutes", "verdict"]
    rows = []
    for arm in arms:
        config = ", ".join(f"{key} {_text(arm['config'].get(key, '–'))}" for key in varied)
        cells = [arm["name"], config, interval(headline(arm["uar"]))]
        cells += [interval(arm["uar"].get(OUTSIDE))] if outside else []
        cells += [_text(arm["figures"].get(name, "–")) for name in figures]
        rows.append([*cells, f"{arm['seconds'] / 60:.1f}", verdict(arm)])
    lines += _table(head, rows)
    by_set, choice = _by_set(arms), cheapest(arms)
    lines += ["", choice] if choice else []
    return "\n".join([*lines, *(["", "Difference by set:", "", *by_set] if by_set else []), ""])


def cheapest(arms: Sequence[Mapping[str, Any]]) -> str | None:
    """Where arms have bit rates: the lowest that is not shown worse than the reference."""
    told = [arm for arm in arms if RATE in arm["figures"]]
    fair = [
        a for a in told if a["against"] is None or ((headline(a["difference"]) or {}).get("high") or -1) >= 0
    ]
    if not fair:
        return None
    best = min(fair, key=lambda arm: float(arm["figures"][RATE]))
    return f"Lowest bit rate not shown worse than the reference: {best['name']}, {best['figures'][RATE]:g} bit/s."


def headline(figures: Mapping[str, Any]) -> Mapping[str, Any] | None:
    """The mean over sets; the first set where there is but one."""
    return figures.get(MEAN) or next(iter(figures.values()), None)


def verdict(arm: Mapping[str, Any]) -> str:
    """What the paired difference says.

    >>> figure = {"value": 0.05, "low": 0.02, "high": 0.08}
    >>> verdict({"against": "scratch", "difference": {"mean": figure}})
    'better than scratch: +0.050 [+0.020, +0.080]'
    """
    if arm["against"] is None:
        return "reference"
    found = headline(arm["difference"])
    if found is None:
        return f"{arm['against']} has not been run yet"
    value, low, high = found["value"], found["low"], found["high"]
    if low is None:
        return f"{value:+.3f} from {arm['against']}, without an interval"
    word = "better than" if low > 0 else "worse than" if high < 0 else "no difference shown from"
    return f"{word} {arm['against']}: {value:+.3f} [{low:+.3f}, {high:+.3f}]"


def interval(figure: Mapping[str, Any] | None, sign: str = "") -> str:
    """A figure with its interval.

    >>> interval({"value": 0.5, "low": 0.4, "high": 0.6})
    '0.500 [0.400, 0.600]'
    """
    if figure is None:
        return "–"
    value = f"{figure['value']:{sign}.3f}"
    if figure["low"] is None:
        return value
    return f"{value} [{figure['low']:{sign}.3f}, {figure['high']:{sign}.3f}]"


def split_config(configs: Sequence[Mapping[str, Any]]) -> tuple[list[str], dict[str, Any]]:
    """Keys in which configurations differ, and what they have in common."""
    keys = list(dict.fromkeys(key for config in configs for key in config))
    same = {key for key in keys if all(key in c and c[key] == configs[0].get(key) for c in configs)}
    return [key for key in keys if key not in same], {key: configs[0][key] for key in keys if key in same}


def _by_set(arms: Sequence[Mapping[str, Any]]) -> list[str]:
    compared = [arm for arm in arms if len(arm["difference"]) > 1]
    if not compared:
        return []
    sets = [name for name in compared[0]["difference"] if name != MEAN]
    rows = [[arm["name"], *(interval(arm["difference"].get(name), "+") for name in sets)] for arm in compared]
    return _table(["arm", *sets], rows)


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    lines = [head, ["---"] * len(head), *rows]
    return ["| " + " | ".join(line) + " |" for line in lines]


def _text(value: Any) -> str:
    if isinstance(value, list):
        return " ".join(_text(v) for v in value)
    if isinstance(value, float):
        return f"{value:g}" if abs(value) < 100 else f"{value:.0f}"
    return str(value)


def _remembered(page: str) -> str:
    """The hand-written section, as it stands or empty."""
    kept = EMPTY
    if OPEN in page and CLOSE in page:
        kept = page.split(OPEN, 1)[1].split(CLOSE, 1)[0].strip()
    return f"## Runs worth remembering\n\n{OPEN}\n\n{kept}\n\n{CLOSE}\n"
