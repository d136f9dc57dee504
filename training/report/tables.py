"""Tables of an evaluation as plain rows, which the report writes as Markdown and CSV and the card shows a part of."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

from training.card_schema import Evaluation, ResultRow
from training.measure import DESCRIBED_PROFILE, F1, LOST, UAR
from training.measure_dimensions import METRIC as AROUSAL
from training.measure_gate import NAMED, PUBLISHED, REJECTED
from training.measure_votes import METRIC as VOTES
from training.report.targets import interval, shown, summaries, targets

T = TypeVar("T")
AV = "Audio and video"


@dataclass(frozen=True, slots=True)
class Table:
    """A table with its title and a line of what it shows."""

    title: str
    note: str
    head: tuple[str, ...]
    rows: Sequence[tuple[str, ...]]


def markdown_table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A table in Markdown, a line a row; empty cells get a dash."""
    lines = [head, ["---"] * len(head), *rows]
    return "".join("| " + " | ".join(map(_cell, line)) + " |\n" for line in lines)


def _cell(text: str) -> str:
    return " ".join(text.replace("|", "\\|").split()) or "–"


def csv_text(table: Table) -> str:
    """The same rows for a spreadsheet."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(table.head)
    writer.writerows(table.rows)
    return out.getvalue()


def profile(size: int) -> str:
    """The name of a size of profile."""
    return "cold" if size == 0 else f"profile {size}"


def unique(values: Iterable[T]) -> list[T]:
    """Each once, in order."""
    return list(dict.fromkeys(values))


def result_table(rows: Sequence[ResultRow], variant: str, metric: str, note: str = "") -> Table:
    """One metric; a row per set, condition and model, a column per size of profile; the bundle's variant first."""
    mine = [row for row in rows if row.metric == metric]
    sizes = sorted({row.profile_n for row in mine})
    keys = unique((row.set, row.condition, row.name) for row in mine)
    found = {(row.set, row.condition, row.name, row.profile_n): row for row in mine}
    body = []
    for key in sorted(keys, key=lambda key: key[2] != variant):
        cells = [found.get((*key, size)) for size in sizes]
        measured = [cell for cell in cells if cell is not None]
        counts = (_counts(row.n for row in measured), _counts(row.speakers for row in measured))
        body.append((*key, *(shown(cell) if cell else "–" for cell in cells), *counts))
    head = ("set", "condition", "model", *map(profile, sizes), "clips", "speakers")
    return Table(metric, note, head, body)


def _counts(values: Iterable[int]) -> str:
    return " / ".join(f"{value:,}" for value in unique(values))


def headline_table(e: Evaluation) -> Table:
    """UAR of the bundle and of every baseline, clean, cold and with a profile."""
    sets = [s.name for s in e.sets] + (
        ["emodb4_loso"] if any(r.set == "emodb4_loso" for r in e.results) else []
    )
    body = []
    for size in unique([0, DESCRIBED_PROFILE]):
        ours = [e.find(s, UAR, size) or (e.find(s, UAR, size, model="embedding + LR")) for s in sets]
        if any(ours):
            body.append(
                (f"this bundle ({e.bundle.variant})", "all train splits", profile(size), *map(_shown, ours))
            )
    keys = unique((b.name, b.trained_on, b.profile_n) for b in e.baselines)
    for name, trained_on, size in keys:
        if size not in (0, DESCRIBED_PROFILE):
            continue
        found = {
            b.set: b for b in e.baselines if (b.name, b.trained_on, b.profile_n) == (name, trained_on, size)
        }
        body.append((name, trained_on, profile(size), *(_shown(found.get(s)) for s in sets)))
    note = "UAR [95 % interval by speaker], clean telephone rendering; baselines recomputed in this run."
    return Table("Beside the baselines", note, ("system", "trained on", "line", *sets), body)


def _shown(row: ResultRow | None) -> str:
    return "–" if row is None else shown(row)


def targets_table(e: Evaluation) -> Table:
    """To reach, measured, reached."""
    rows = [(t.what, t.goal, t.measured, t.verdict) for t in targets(e)]
    return Table(
        "Targets",
        "Judged by the value, not by its interval.",
        ("target", "to reach", "measured", "met"),
        rows,
    )


def calibration_table(e: Evaluation) -> Table:
    """ECE beside what exact confidences would show."""
    rows = [
        (
            c.set, profile(c.profile_n), interval(c.ece, c.low, c.high), f"{c.perfect:.3f}", f"{c.uncalibrated:.3f}",
            f"{c.served:.3f}", f"{c.brier:.3f}", f"{c.nll:.3f}", f"{c.n:,}",
        )
        for c in e.calibration
    ]  # fmt: skip
    note = (
        "ECE, 15 equal-mass bins, over the categories that the set holds. *Exact*: what perfectly calibrated"
        " confidences would show on average with as many clips; only what lies above it is miscalibration."
        " *Served*: over all seven categories."
    )
    head = ("set", "line", "ECE", "exact", "before calibration", "served", "Brier", "NLL", "clips")
    return Table("Calibration", note, head, rows)


def abstention_table(e: Evaluation) -> Table:
    """Risk at full coverage and at the shipped threshold."""
    rows = []
    for name, curve in e.risk_coverage.items():
        whole = curve.points[-1][1] if curve.points else None
        at = [
            "–" if value is None else interval(value, *(bounds or (None, None)))
            for value, bounds in (
                (curve.coverage, curve.coverage_interval),
                (curve.risk, curve.risk_interval),
            )
        ]
        rows.append((name, f"{curve.area:.3f}", figure(whole), figure(curve.threshold), *at))
    note = "As served: all seven categories may be named. Risk: share of wrong answers among those given."
    head = ("set", "area", "risk of answering all", "threshold", "coverage there", "risk there")
    return Table("Abstention", note, head, rows)


def sounds_table(e: Evaluation) -> Table:
    """What is not speech by kind: rejected, published, and named where the bundle names events."""
    metrics = [m for m in (REJECTED, PUBLISHED, NAMED) if any(r.metric == m for r in e.results)]
    rows = []
    for kind in unique(r.set for r in e.results if r.metric in metrics):
        found = [e.find(kind, metric) for metric in metrics]
        some = next((r for r in found if r is not None), None)
        if some is not None:
            rows.append((kind, *map(_shown, found), f"{some.n:,}", str(some.speakers)))
    words = {REJECTED: "rejected", PUBLISHED: "published as an emotion", NAMED: "named as an event"}
    note = (
        "Shares of clips, cold line, each clip scored whole by the service's scorer; `speech…`: test speech."
    )
    return Table("Not speech", note, ("kind", *(words[m] for m in metrics), "clips", "sources"), rows)


def sources_table(e: Evaluation, kinds: Sequence[str] = ()) -> Table:
    """The same by voice, track or place; `kinds`: only these."""
    rows = [
        (s.kind, s.source, f"{s.rejected:.3f}", f"{s.published:.3f}", str(s.n))
        for s in e.sounds
        if not kinds or s.kind in kinds
    ]
    head = ("kind", "source", "rejected", "published", "clips")
    return Table("Not speech, by source", "Voices, tracks and places one by one.", head, rows)


def recalls_table(e: Evaluation) -> Table:
    """Recall per category with its interval."""
    categories = unique(name for recalls in e.recalls.values() for name in recalls)
    rows = [
        (
            name,
            profile(e.described_profile.get(name, 0)),
            *("–" if (r := by.get(c)) is None else interval(r.value, r.low, r.high) for c in categories),
        )
        for name, by in e.recalls.items()
    ]
    return Table("Recall per category", "Clean.", ("set", "line", *categories), rows)


def gaps_table(e: Evaluation, kind: str) -> Table:
    """UAR by group, with what the groups of one set lie apart."""
    rows = []
    for name, groups in e.gaps.get("sex" if kind == "sex" else "language", {}).items():
        values = [group.value for group in groups.values()]
        for label, g in groups.items():
            apart = f"{max(values) - min(values):.3f}" if len(values) > 1 else "–"
            rows.append((name, label, interval(g.value, g.low, g.high), apart, f"{g.n:,}", str(g.speakers)))
    return Table(f"By {kind}", "UAR, clean.", ("set", kind, "UAR", "apart", "clips", "speakers"), rows)


def confusion_tables(e: Evaluation) -> list[Table]:
    """Counts, a table a set."""
    return [
        Table(
            f"Confusions on {name}",
            f"Counts over the draws of the profile; {profile(e.described_profile.get(name, 0))}.",
            ("truth \\ said", *c.labels),
            [(label, *map(str, row)) for label, row in zip(c.labels, c.matrix, strict=True)],
        )
        for name, c in e.confusion.items()
    ]


def generic(title: str, value: Any) -> list[Table]:
    """Plain data as tables: a list of flat mappings, a flat mapping, or sections of such."""
    if isinstance(value, Mapping):
        flat = {str(k): v for k, v in value.items() if not isinstance(v, Mapping | list)}
        tables = (
            [Table(title, "", ("what", "value"), [(k, plain(v)) for k, v in flat.items()])] if flat else []
        )
        for key, inner in value.items():
            if isinstance(inner, Mapping | list):
                tables += generic(f"{title}: {key}", inner)
        return tables
    if isinstance(value, list) and value and all(isinstance(row, Mapping) for row in value):
        head = unique(str(key) for row in value for key in row)
        return [Table(title, "", tuple(head), [tuple(plain(row.get(k)) for k in head) for row in value])]
    return (
        [Table(title, "", ("value",), [(plain(item),) for item in value])] if isinstance(value, list) else []
    )


def experiment_table(summary: Mapping[str, Any]) -> Table:
    """One experiment as `training.experiments` sums it up: an arm a row, with its difference from another arm."""
    rows = []
    for arm in summary["arms"]:
        uar, difference = arm.get("uar", {}), arm.get("difference", {})
        cells = [_handed(uar.get("mean")), _handed(uar.get("emodb4")), _handed(difference.get("mean"))]
        figures = ", ".join(f"{name} {plain(value)}" for name, value in arm.get("figures", {}).items())
        rows.append((str(arm.get("name")), *cells, str(arm.get("against") or "–"), figures))
    head = ("arm", "UAR, mean of sets", "UAR, emodb4", "difference of the mean", "from", "figures")
    return Table(f"Experiment: {summary.get('experiment')}", str(summary.get("question", "")), head, rows)


def experiment_tables(value: Any) -> list[Table]:
    """Summaries of experiments; whatever else was handed in as plain tables."""
    found = summaries(value)
    return [experiment_table(s) for s in found] if found else generic("Experiments", value)


def _handed(figure: Any) -> str:
    if not isinstance(figure, Mapping) or not isinstance(figure.get("value"), int | float):
        return "–"
    return interval(figure["value"], figure.get("low"), figure.get("high"))


def plain(value: Any) -> str:
    """A value for a cell."""
    if value is None:
        return "–"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:.4g}" if abs(value) >= 1000 or (value and abs(value) < 0.001) else f"{value:.3f}"
    if isinstance(value, list | tuple):
        return ", ".join(map(plain, value))
    return str(value)


def figure(value: float | None) -> str:
    """Three digits, or a dash."""
    return "–" if value is None else f"{value:.3f}"


def all_tables(e: Evaluation) -> dict[str, Table]:
    """Every table of the report by the name of its file; empty ones are left out."""
    variant = e.bundle.variant
    clean = [r for r in e.results if r.condition == "clean"]
    hard = [r for r in e.results if r.condition != "clean"]
    tables: dict[str, Table] = {
        "targets": targets_table(e),
        "baselines": headline_table(e),
        "uar": result_table(clean, variant, UAR, "Clean telephone rendering."),
        "macro_f1": result_table(clean, variant, F1, "Clean telephone rendering."),
        "recalls": recalls_table(e),
        "robustness": result_table(hard, variant, UAR, "A part of each set in every condition, and calls."),
        "robustness_lost": result_table(
            hard, variant, LOST, "Against the same clips clean and without a leg."
        ),
        "calibration": calibration_table(e),
        "abstention": abstention_table(e),
        "votes": result_table(clean, variant, VOTES, "Jensen–Shannon, bits; `docs/stages/evaluate.md`."),
        "arousal": result_table(clean, variant, AROUSAL, "Concordance with the corpus's own levels."),
        "not_speech": sounds_table(e),
        "not_speech_sources": sources_table(e),
        "gaps_sex": gaps_table(e, "sex"),
        "gaps_language": gaps_table(e, "language"),
        "baselines_all": baselines_table(e),
    }
    tables |= {f"confusion_{name}": t for name, t in zip(e.confusion, confusion_tables(e), strict=True)}
    for key, found in (("av", generic(AV, e.av)), ("experiments", experiment_tables(e.experiments))):
        tables |= {f"{key}_{number}": t for number, t in enumerate(found, 1)}
    return {name: table for name, table in tables.items() if table.rows}


def baselines_table(e: Evaluation) -> Table:
    """Every figure of every baseline."""
    rows = [
        (b.name, b.trained_on, b.set, profile(b.profile_n), shown(b), f"{b.n:,}", str(b.speakers))
        for b in e.baselines
    ]
    head = ("system", "trained on", "set", "line", "UAR", "clips", "speakers")
    return Table("Baselines", "Recomputed in this run, on the same renderings.", head, rows)
