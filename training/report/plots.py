"""Plots of an evaluation as small SVG files, the same bytes for the same figures and the same matplotlib."""

from __future__ import annotations

import io
from collections.abc import Callable, Sequence
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from training.card_schema import Confusion, Evaluation, ResultRow
from training.measure import ALL_SETS, DESCRIBED_PROFILE, LOST, UAR
from training.measure_calibration import POOLED
from training.report.tables import unique

STYLE: Any = {
    "svg.hashsalt": "kowairo",
    "svg.fonttype": "none",
    "font.size": 9,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "grid.alpha": 0.3,
}
COLOURS = ("#1f4e79", "#c0504d", "#7f7f7f", "#e3a008", "#4f8f4f", "#7a5195")


def all_plots(e: Evaluation) -> dict[str, str]:
    """Every plot that the evaluation has figures for, SVG by the name of its file."""
    plots: dict[str, str] = {}
    makers: dict[str, Callable[[Evaluation], str | None]] = {
        "profile_and_baselines": profile_bars,
        "robustness": robustness,
        "reliability": reliability,
        "risk_coverage": risk_coverage,
        "confusions": confusions,
    }
    with mpl.rc_context(STYLE):
        for name, make in makers.items():
            svg = make(e)
            if svg is not None:
                plots[name] = svg
    return plots


def profile_bars(e: Evaluation) -> str | None:
    """UAR of every set cold and with a profile, beside the baselines that were trained on the same clips."""
    sets = [s.name for s in e.sets if e.find(s.name) is not None]
    if not sets:
        return None
    systems: list[tuple[str, dict[tuple[str, int], ResultRow]]] = [
        (f"this bundle ({e.bundle.variant})", {(r.set, r.profile_n): r for r in _clean(e)})
    ]
    for name in unique(b.name for b in e.baselines):
        mine = [b for b in e.baselines if b.name == name and b.trained_on == "all train splits"]
        systems.append((name, {(b.set, b.profile_n): b for b in mine}))
    figure, axes = _axes(len(sets) * 1.25 + 1, 3.4)
    width = 0.8 / (2 * len(systems))
    for index, (name, found) in enumerate(systems):
        for half, size in enumerate((0, DESCRIBED_PROFILE)):
            rows = [found.get((s, size)) for s in sets]
            places = np.arange(len(sets)) + (2 * index + half + 0.5) * width - 0.4
            heights = [row.value if row else 0.0 for row in rows]
            errors = np.array([_error(row) for row in rows]).T
            axes.bar(
                places, heights, width, yerr=errors, color=COLOURS[index % len(COLOURS)], alpha=1.0 if half else 0.55,
                error_kw={"linewidth": 0.6}, label=f"{name}, {'profile of 50' if size else 'cold'}",
            )  # fmt: skip
    axes.set_xticks(range(len(sets)), sets, rotation=20)
    axes.set_ylabel("UAR")
    axes.set_ylim(0, 1)
    axes.legend(fontsize=6, ncols=2, loc="upper center", bbox_to_anchor=(0.5, -0.2), frameon=False)
    return _svg(figure)


def robustness(e: Evaluation) -> str | None:
    """UAR lost by noise, loss and length, a line a set, the mean of sets in black."""
    families = {
        "noise (dB SNR)": ["snr_20db", "snr_10db", "snr_5db", "snr_0db"],
        "packet loss (%)": ["loss_5pct", "loss_10pct"],
        "seconds of speech": ["4s", "2s", "1s"],
    }
    rows = {
        (r.set, r.condition): r.value
        for r in e.results
        if r.metric == LOST and r.profile_n == 0 and r.name == e.bundle.variant
    }
    if not any(condition in names for _, condition in rows for names in families.values()):
        return None
    figure = _figure(8.5, 3.2)
    grid = figure.subplots(1, len(families), sharey=True)
    sets = [s.name for s in e.sets]
    for axes, (title, conditions) in zip(grid, families.items(), strict=True):
        for index, name in enumerate([*sets, ALL_SETS]):
            values = [rows.get((name, c), np.nan) for c in conditions]
            bold = name == ALL_SETS
            colour = "black" if bold else mpl.colormaps["tab10"](index % 10)
            axes.plot(range(len(conditions)), values, "o-", color=colour, linewidth=2 if bold else 0.8,
                      markersize=3, label=name)  # fmt: skip
        axes.set_xticks(range(len(conditions)), [_number(c) for c in conditions])
        axes.set_xlabel(title)
        axes.axhline(0.05, color="grey", linestyle=":", linewidth=0.8)
    grid[0].set_ylabel("UAR lost, cold")
    grid[-1].legend(fontsize=6, frameon=False, loc="center left", bbox_to_anchor=(1.02, 0.5))
    return _svg(figure)


def reliability(e: Evaluation) -> str | None:
    """Share correct against confidence: all in-corpus test sets, and the corpus that nothing was trained on."""
    wanted = [(POOLED, 0), (POOLED, DESCRIBED_PROFILE), ("emodb4", 0), ("emodb4", DESCRIBED_PROFILE)]
    found = [row for name, size in wanted if (row := e.calibrated(name, size)) is not None]
    if not found:
        return None
    figure, axes = _axes(4.2, 3.8)
    axes.plot([0, 1], [0, 1], color="grey", linewidth=0.8)
    for index, row in enumerate(found):
        sure, right = [p[0] for p in row.reliability], [p[1] for p in row.reliability]
        label = f"{row.set}, {'profile of 50' if row.profile_n else 'cold'}: {row.ece:.3f}"
        axes.plot(sure, right, "o-", color=COLOURS[index], linewidth=1, markersize=3, label=label)
    axes.set_xlabel("confidence")
    axes.set_ylabel("share correct")
    axes.legend(fontsize=7, frameon=False, title="ECE", title_fontsize=7)
    return _svg(figure)


def risk_coverage(e: Evaluation) -> str | None:
    """Risk against coverage, a line a set, the shipped threshold as a dot."""
    if not e.risk_coverage:
        return None
    figure, axes = _axes(5.2, 3.6)
    for index, (name, curve) in enumerate(e.risk_coverage.items()):
        bold = name == POOLED
        colour = "black" if bold else mpl.colormaps["tab10"](index % 10)
        axes.plot([c for c, _ in curve.points], [r for _, r in curve.points], color=colour,
                  linewidth=2 if bold else 0.9, label=f"{name}: {curve.area:.3f}")  # fmt: skip
        if curve.coverage is not None and curve.risk is not None:
            axes.plot([curve.coverage], [curve.risk], "o", color=colour, markersize=4)
    axes.set_xlabel("coverage: share of utterances that get an emotion")
    axes.set_ylabel("risk: share of these that is wrong")
    axes.set_xlim(0, 1)
    axes.set_ylim(0, None)
    axes.legend(
        fontsize=6,
        frameon=False,
        title="area",
        title_fontsize=6,
        loc="center left",
        bbox_to_anchor=(1.0, 0.5),
    )
    return _svg(figure)


def confusions(e: Evaluation) -> str | None:
    """One matrix a set, rows in shares."""
    if not e.confusion:
        return None
    columns = min(4, len(e.confusion))
    lines = -(-len(e.confusion) // columns)
    figure = _figure(2.4 * columns, 2.4 * lines)
    grid = np.atleast_1d(figure.subplots(lines, columns)).ravel()
    for axes, (name, confusion) in zip(grid, e.confusion.items(), strict=False):
        _confusion(axes, name, confusion)
    for axes in grid[len(e.confusion) :]:
        axes.axis("off")
    return _svg(figure)


def _confusion(axes: Axes, name: str, confusion: Confusion) -> None:
    counts = np.array(confusion.matrix, np.float64)
    shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    short = [label[:3] for label in confusion.labels]
    axes.grid(visible=False)
    for (row, column), share in np.ndenumerate(shares):
        # Drawn as vectors: an image would be a bitmap inside the file.
        axes.add_patch(
            mpl.patches.Rectangle((column - 0.5, row - 0.5), 1, 1, color=mpl.colormaps["Blues"](share))
        )
        axes.text(column, row, f"{100 * share:.0f}", ha="center", va="center", fontsize=6,
                  color="white" if share > 0.5 else "black")  # fmt: skip
    axes.set_xlim(-0.5, len(short) - 0.5)
    axes.set_ylim(len(short) - 0.5, -0.5)
    axes.set_xticks(range(len(short)), short, fontsize=6)
    axes.set_yticks(range(len(short)), short, fontsize=6)
    axes.set_title(name, fontsize=8)


def _clean(e: Evaluation) -> list[ResultRow]:
    return [r for r in e.results if r.metric == UAR and r.condition == "clean" and r.name == e.bundle.variant]


def _error(row: ResultRow | None) -> tuple[float, float]:
    if row is None or row.low is None or row.high is None:
        return 0.0, 0.0
    return max(row.value - row.low, 0.0), max(row.high - row.value, 0.0)


def _number(condition: str) -> str:
    return "".join(c for c in condition if c.isdigit())


def _figure(width: float, height: float) -> Figure:
    return Figure(figsize=(width, height), layout="constrained")


def _axes(width: float, height: float) -> tuple[Figure, Axes]:
    figure = _figure(width, height)
    return figure, figure.subplots()


def _svg(figure: Figure) -> str:
    out = io.BytesIO()
    figure.savefig(out, format="svg", metadata={"Date": None})
    return out.getvalue().decode("utf-8")


def names(plots: Sequence[str]) -> dict[str, str]:
    """What each plot shows, in a line."""
    words = {
        "profile_and_baselines": "UAR cold (pale) and with a profile of 50, beside baselines trained on the same clips",
        "robustness": "UAR lost by noise, packet loss and short speech, against the same clips undamaged",
        "reliability": "Share correct against confidence, 15 equal-mass bins",
        "risk_coverage": "Wrong answers against utterances answered; dots: the shipped threshold",
        "confusions": "Confusions in per cent of each row (truth)",
    }
    return {name: words[name] for name in plots}
