"""The README's figures, written from the shipped bundle's `evaluation.json` so that nobody types one.

`python -m training.readme models/bundles/kowairo-8k` rewrites the block; a test holds the README to it.
"""

from __future__ import annotations

import argparse
import re
import sys
from collections.abc import Sequence
from pathlib import Path

from training.card_schema import Evaluation, ResultRow
from training.evaluation_sets import COMBINED
from training.measure import DESCRIBED_PROFILE, UAR
from training.measure_calibration import POOLED
from training.measure_gate import PUBLISHED, REJECTED
from training.report.tables import headline_table, markdown_table, targets_table

START, END = "<!-- figures -->", "<!-- /figures -->"


def figures(evaluation: Evaluation) -> str:
    """The block in Markdown, without its markers."""
    e = evaluation
    head = ["set", "what", "cold", f"profile of {DESCRIBED_PROFILE}", "cold, 10 dB SNR and 5 % loss"]
    lines = []
    for test in e.sets:
        rows = (
            e.find(test.name),
            e.find(test.name, UAR, DESCRIBED_PROFILE),
            e.find(test.name, UAR, 0, COMBINED),
        )
        lines.append([test.name, test.what, *map(_value, rows)])
    parts = [_opening(e), "", markdown_table(head, lines), *_rest(e)]
    if e.baselines:
        table = headline_table(e)
        parts += ["", "Beside what anybody could build, on the same renderings (UAR):", ""]
        parts.append(markdown_table(table.head, table.rows))
    goals = targets_table(e)
    parts += ["", "What was to be reached:", "", markdown_table(goals.head, goals.rows).rstrip()]
    return "\n".join(parts)


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
    time = f", trained in {evaluation.seconds / 60:.0f} minutes" if evaluation.seconds else ""
    return (
        f"`{bundle.name}` {bundle.version} ({bundle.variant}, {total:.1f} M parameters with its tokenizer){time}."
        " Unweighted average recall (UAR) after 8 kHz µ-law, by speakers never trained on, with 95 % intervals by"
        " speaker where there are two or more; *profile*: the line was heard for 50 other utterances, without labels."
        f" The rest is in the [model card](models/bundles/{bundle.name}/MODEL_CARD.md); how it was measured, in"
        " [docs/stages/evaluate.md](docs/stages/evaluate.md)."
    )


def _rest(e: Evaluation) -> Sequence[str]:
    lines = []
    for name, size, words in (
        (POOLED, 0, "all in-corpus test sets, cold"),
        ("emodb4", DESCRIBED_PROFILE, "EmoDB4, with a profile"),
    ):
        row = e.calibrated(name, size)
        if row is not None:
            lines.append(
                f"- Calibration error (ECE, 15 bins), {words}: {row.ece:.3f}; exact confidences would show"
                f" {row.perfect:.3f}."
            )
    lines += _sounds(e)
    left_out = e.find("emodb4_loso", model="embedding + LR")
    if left_out is not None:
        lines.append(f"- EmoDB4, one speaker left out, embedding + logistic regression: {_value(left_out)}.")
    if e.cost:
        cost = "; ".join(f"{c.what} {c.value:.1f} {c.unit}" for c in e.cost)
        lines.append(f"- Cost ({e.cost[0].note}): {cost}.")
    return lines


def _sounds(e: Evaluation) -> list[str]:
    speech = e.find("speech", REJECTED)
    published = [
        f"{words} {100 * row.value:.1f} %"
        for kind, words in (("music", "hold music"), ("ivr_prompt", "prompts"), ("tone", "network tones"))
        if (row := e.find(kind, PUBLISHED)) is not None
    ]
    if speech is None or not published:
        return []
    return [
        f"- Given an emotion although nobody speaks their mind: {', '.join(published)} of clips, while"
        f" {100 * speech.value:.1f} % of speech is rejected as *not speech*."
    ]


def _value(row: ResultRow | None) -> str:
    if row is None:
        return "–"
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
