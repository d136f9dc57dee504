"""The folder `reports/<bundle>/`: JSON, card, tables (Markdown and CSV), plots, and a page that leads to them."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from pathlib import Path

from training.card_schema import Evaluation
from training.files import write_whole
from training.report.plots import all_plots, names
from training.report.tables import Table, all_tables, csv_text, markdown_table


def write_report(folder: Path, evaluation: Evaluation, card: str) -> None:
    """Write everything anew; tables and plots of an earlier evaluation go."""
    for part in ("tables", "plots"):
        shutil.rmtree(folder / part, ignore_errors=True)
    tables, plots = all_tables(evaluation), all_plots(evaluation)
    for name, table in tables.items():
        write_whole(folder / "tables" / f"{name}.md", table_page(table))
        write_whole(folder / "tables" / f"{name}.csv", csv_text(table))
    for name, svg in plots.items():
        write_whole(folder / "plots" / f"{name}.svg", svg)
    write_whole(folder / "MODEL_CARD.md", card)
    write_whole(folder / "evaluation.json", evaluation.model_dump_json() + "\n")
    write_whole(folder / "README.md", index(evaluation, tables, names(list(plots))))


def table_page(table: Table) -> str:
    """A table as a page of its own."""
    note = f"{table.note}\n\n" if table.note else ""
    return f"# {table.title}\n\n{note}{markdown_table(table.head, table.rows)}"


def index(evaluation: Evaluation, tables: Mapping[str, Table], plots: Mapping[str, str]) -> str:
    """The page of the folder: the targets and the headline in full, plots, and links to everything else."""
    e = evaluation
    parts = [
        f"# Evaluation of {e.bundle.name} {e.bundle.version}\n",
        f"Variant {e.bundle.variant}, {e.created or 'undated'}, code {e.commit or 'unknown'}."
        " Written by `make evaluate`; don't edit. [Card](MODEL_CARD.md) · [all figures](evaluation.json).\n",
    ]
    for name in ("targets", "baselines"):
        if name in tables:
            table = tables[name]
            parts.append(f"## {table.title}\n\n{table.note}\n\n{markdown_table(table.head, table.rows)}")
    parts += [f"- {line}\n" for line in e.skipped]
    if plots:
        parts.append("## Plots\n")
        parts += [f"{words}:\n\n![{words}](plots/{name}.svg)\n" for name, words in plots.items()]
    parts.append("## Tables\n")
    parts.append(
        "".join(
            f"- [{table.title}](tables/{name}.md) ([CSV](tables/{name}.csv))\n"
            for name, table in tables.items()
        )
    )
    return "\n".join(parts)
