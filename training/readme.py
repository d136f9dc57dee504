"""The README's figures, written from the shipped bundle's `evaluation.json` so that nobody types one.

`python -m training.readme models/bundles/kowairo-8k` rewrites the block; a test holds the README to it.
"""

from __future__ import annotations

import argparse
import re
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from training.card_schema import Evaluation, ResultRow
from training.model_card import markdown_table

START, END = "<!-- figures -->", "<!-- /figures -->"
NOISY = "snr_10db_loss_5pct"


def figures(evaluation: Evaluation) -> str:
    """The block in Markdown, without its markers."""
    bundle = evaluation.bundle
    rows = {
        (r.set, r.condition, r.profile_n): r
        for r in evaluation.results
        if r.name == bundle.variant and r.metric == "UAR"
    }
    head = ["set", "what", "cold", "profile of 50", "cold, 10 dB SNR and 5 % loss", "ECE"]
    lines = []
    for test in evaluation.sets:
        cells = [_cell(rows, (test.name, c, n)) for c, n in (("clean", 0), ("clean", 50), (NOISY, 0))]
        ece = evaluation.ece.get(test.name)
        lines.append([test.name, test.what, *cells, "" if ece is None else f"{ece.after:.3f}"])
    return "\n".join([_opening(evaluation), "", markdown_table(head, lines), *_rest(evaluation)])


def rewrite(readme: str, evaluation: Evaluation) -> str:
    """The README with its figures block replaced.

    Raises:
        ValueError: it has no such block.
    """
    pattern = re.compile(re.escape(START) + r".*?" + re.escape(END), re.DOTALL)
    if not pattern.search(readme):
        raise ValueError(f"expected a block from {START} to {END}")
    return pattern.sub(lambda _: f"{START}\n{figures(evaluation)}\n{END}", readme)


def read_evaluation(bundle: Path) -> Evaluation:
    """The figures that ship with a bundle."""
    return Evaluation.model_validate_json((bundle / "evaluation.json").read_text(encoding="utf-8"))


def _opening(evaluation: Evaluation) -> str:
    bundle = evaluation.bundle
    total = bundle.parameters.get("total", sum(bundle.parameters.values())) / 1e6
    minutes = (evaluation.seconds or 0) / 60
    return (
        f"`{bundle.name}` {bundle.version} ({bundle.variant}, {total:.1f} M parameters with its tokenizer), trained in "
        f"{minutes:.0f} minutes on 2 shared CPU cores. Unweighted average recall (UAR) after 8 kHz µ-law, by speakers "
        "never trained on, with 95 % intervals by speaker where there are two or more; *profile*: the line was heard "
        "for 50 other utterances, without labels. ECE: calibration error, 15 bins, with that profile. The rest, and "
        "how it was measured, is in the [model card](models/bundles/kowairo-8k/MODEL_CARD.md)."
    )


def _rest(evaluation: Evaluation) -> Sequence[str]:
    gate = {r.set: r for r in evaluation.results if r.metric == "share rejected"}
    lines = []
    if "gate_speech" in gate:
        others = ", ".join(
            f"{name.removeprefix('gate_')} {100 * row.value:.0f} %"
            for name, row in gate.items()
            if name != "gate_speech"
        )
        lines.append(f"- Rejected as *not speech*: speech {100 * gate['gate_speech'].value:.1f} %; {others}.")
    for row in evaluation.results:
        if row.set == "emodb4_loso":
            lines.append(f"- EmoDB4, leave one speaker out, embedding + logistic regression: {_value(row)}.")
    cost = "; ".join(f"{c.what} {c.value:.1f} {c.unit}" for c in evaluation.cost)
    if cost:
        lines.append(f"- Cost ({evaluation.cost[0].note}): {cost}.")
    return lines


def _cell(rows: Mapping[tuple[str, str, int], ResultRow], key: tuple[str, str, int]) -> str:
    return _value(rows[key]) if key in rows else "–"


def _value(row: ResultRow) -> str:
    if row.low is None or row.high is None:
        return f"{row.value:.3f}"
    return f"{row.value:.3f} ({row.low:.2f}–{row.high:.2f})"


def main() -> int:
    """Rewrite the block of a README."""
    parser = argparse.ArgumentParser(prog="python -m training.readme", description=__doc__)
    parser.add_argument(
        "bundle", type=Path, help="folder of the bundle, for example models/bundles/kowairo-8k"
    )
    parser.add_argument("--readme", type=Path, default=Path("README.md"))
    given = parser.parse_args()
    text = rewrite(given.readme.read_text(encoding="utf-8"), read_evaluation(given.bundle))
    given.readme.write_text(text, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
