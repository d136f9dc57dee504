"""The model card: Markdown made from an evaluation file and a bundle's manifest, never from typed figures.

`card_schema` documents the evaluation file. Only the prose on use and limits and the quoted baselines
(`baselines`, marked as such) are written here.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, TypeVar

from pydantic import ValidationError

from training.baselines import BASELINES
from training.card_schema import Evaluation, ResultRow
from training.corpora.registry import REGISTRY

T = TypeVar("T")

_USE = """\
Saying, utterance by utterance, how a speaker on a telephone call *sounds*, for research and for evaluating
whether such a service would help: 8 kHz speech of one person at a time, one line profile per telephone line.
A record is a posterior over acted categories with the option to abstain; it is not what a person feels.
"""

_OUT_OF_SCOPE = """\
- **No scoring of workers.** Inferring emotions of people at work is prohibited in the EU (AI Act, Article
  5(1)(f)) save for medical or safety reasons; agents are not scored unless a purpose is configured.
- **No decision about a person** (credit, hiring, discipline, priority, insurance, law enforcement, border).
- **No deception detection, diagnosis or identification**: the embedding was not made or tested for these.
- No recording or scoring without the notice and consent that the law of the place asks for.
"""

_RESTRICTED = re.compile(r"\bNC\b|research|none stated", re.IGNORECASE)

_ALWAYS = (
    "A category is what an actor meant, or a few listeners heard. Calm is counted as neutral.",
    "Arousal and valence come from the source stated above; where that is a mapping from categories, they"
    " carry no information beyond them.",
)


class CardError(Exception):
    """An evaluation or a manifest that no card can be made from."""


def render_card(evaluation: Mapping[str, Any], manifest: Mapping[str, Any]) -> str:
    """The card as Markdown.

    Args:
        evaluation: as `card_schema.Evaluation` describes.
        manifest: the bundle's `manifest.json`; its hashes aren't looked at, so that the card can be among
            the files that they are made of.

    Raises:
        CardError: either doesn't fit its schema, or they are of different bundles.
    """
    try:
        checked = Evaluation.model_validate(evaluation)
    except ValidationError as error:
        raise CardError(f"evaluation file: {error}") from error
    named = (manifest.get("name"), manifest.get("version"))
    if named != (checked.bundle.name, checked.bundle.version):
        raise CardError(
            f"the evaluation is of {checked.bundle.name} {checked.bundle.version}, the manifest of"
            f" {named[0]} {named[1]}"
        )
    try:
        details = _details(checked, manifest)
    except (KeyError, TypeError, AttributeError) as error:
        raise CardError(f"manifest: missing or malformed {error}") from error
    sections = [
        ("Details", details),
        ("Intended use", _USE),
        ("Out of scope", _OUT_OF_SCOPE + _licences(checked)),
        ("Data", _data(checked)),
        ("How it was trained", _training(checked)),
        ("Figures", _figures(checked)),
        ("Calibration and abstention", _calibration(checked)),
        ("Robustness", _robustness(checked)),
        ("Gaps between groups", _gaps(checked)),
        ("Cost", _cost(checked)),
        ("Limits", _bullets([_acted(checked), *_ALWAYS, *checked.limits])),
    ]
    title = (
        f"# {checked.bundle.name} {checked.bundle.version}\n\nMade by `training.model_card`; don't edit.\n"
    )
    return "\n".join([title, *(f"## {name}\n\n{body.rstrip()}\n" for name, body in sections)])


def _details(evaluation: Evaluation, manifest: Mapping[str, Any]) -> str:
    head, tokenizer, encoder = manifest["heads"]["default"], manifest["tokenizer"], manifest["encoder"]
    codebooks = " + ".join(str(size) for size in tokenizer["codebook_sizes"])
    hop_ms = 1000 * tokenizer["hop_samples"] / manifest["sample_rate_hz"]
    bundle, abstain = evaluation.bundle, manifest["abstain"]
    total = sum(bundle.parameters.values())
    facts = [
        ("Input", f"mono speech at {manifest['sample_rate_hz']} Hz"),
        ("Categories, in order", ", ".join(head["categories"])),
        ("Arousal and valence", head["dimensions"]["source"]),
        ("Tokens", f"codebooks of {codebooks}, one set every {hop_ms:g} ms"),
        ("Embedding", f"{encoder['embedding_dim']} values"),
        ("Default variant", f"{encoder['default']}; measured: {bundle.variant}"),
        ("Parameters", f"{total:,} ({_joined(f'{k} {v:,}' for k, v in bundle.parameters.items())})"),
        ("Sizes", _joined(f"{k} {v / 1e6:.2f} MB" for k, v in bundle.sizes.items()) or "not stated"),
        ("Calibration", f"{head['calibration']['kind']}, {head['calibration']['temperature']:.3f}"),
        (
            "Abstains",
            f"below {abstain['min_speech_s']:g} s of speech, below {abstain['min_snr_db']:g} dB SNR, below a"
            f" posterior of {abstain['min_confidence']:g}, or where a separate output says: not speech",
        ),
        ("Made", _joined(filter(None, (evaluation.created, _code(evaluation.commit)))) or "not stated"),
    ]
    return markdown_table(("what", "value"), facts)


def _licences(evaluation: Evaluation) -> str:
    restricted = [c.name for c in evaluation.corpora if _RESTRICTED.search(c.licence)]
    if not restricted:
        return ""
    return (
        f"- **Research and evaluation only.** {_joined(restricted)} are under non-commercial or research-only"
        " licences (below), and so is what was trained on them, whatever the licence of the code.\n"
    )


def _acted(evaluation: Evaluation) -> str:
    own = [c.name for c in evaluation.corpora if c.name not in REGISTRY]
    if own:
        return f"All labelled speech was acted, save for what its owner says of {_joined(own)}."
    return (
        "All labelled speech was acted, most of it in studios. No real call was trained or tested on: figures"
        " on real callers are unknown, and acted emotion is stronger and cleaner than theirs."
    )


def _data(evaluation: Evaluation) -> str:
    rows = [
        (
            c.name,
            c.language,
            f"{c.clips:,}",
            _or_dash(c.speakers),
            f"{c.hours:.2f}",
            c.used_for,
            c.licence,
            c.cite,
        )
        for c in evaluation.corpora
    ]
    head = ("corpus", "language", "clips", "speakers", "hours", "used for", "licence", "cite")
    clips, hours = sum(c.clips for c in evaluation.corpora), sum(c.hours for c in evaluation.corpora)
    total = f"{clips:,} clips, {hours:.1f} hours."
    return f"{markdown_table(head, rows)}\n{total} Splits keep speakers apart.\n"


def _training(evaluation: Evaluation) -> str:
    parts = []
    if evaluation.stages:
        rows = [(s.name, s.what, _or_dash(s.steps), _minutes(s.seconds)) for s in evaluation.stages]
        parts.append(markdown_table(("stage", "what", "steps", "minutes"), rows))
    if evaluation.teachers:
        rows3 = [(t.name, t.used_for, t.licence) for t in evaluation.teachers]
        parts.append(
            "Teachers, at training time only:\n\n" + markdown_table(("teacher", "used for", "licence"), rows3)
        )
    facts = [
        f"Configuration: {_code(evaluation.config)}." if evaluation.config else "",
        f"Seed {evaluation.seed}." if evaluation.seed is not None else "",
        f"{_minutes(evaluation.seconds)} minutes in all." if evaluation.seconds is not None else "",
    ]
    parts.append(" ".join(filter(None, facts)))
    return "\n".join(filter(None, parts)) or _missing("stages")


def _figures(evaluation: Evaluation) -> str:
    clean = [row for row in evaluation.results if row.condition == "clean"]
    parts = [
        "After the telephone chain (8 kHz, speech at -26 dBFS, G.711 µ-law). In brackets: 95 % interval, bootstrap by"
        " speaker. *cold*: nothing known of the source; *profile n*: with the statistics of n unlabelled"
        " utterances of the source, none of them tested.\n"
    ]
    if evaluation.sets:
        rows = [(s.name, s.what, ", ".join(s.categories)) for s in evaluation.sets]
        parts.append(markdown_table(("set", "what", "categories"), rows))
    parts.append(_result_tables(clean, evaluation.bundle.variant) or _missing("results"))
    parts.append(_beside_baselines(clean, evaluation.bundle.variant))
    if evaluation.recalls:
        parts.append("### Recall per category\n\n" + _recalls(evaluation))
    for name, confusion in evaluation.confusion.items():
        rows_ = [
            (label, *map(str, row)) for label, row in zip(confusion.labels, confusion.matrix, strict=True)
        ]
        parts.append(
            f"### Confusions on {name}\n\n" + markdown_table(("truth \\ said", *confusion.labels), rows_)
        )
    return "\n".join(filter(None, parts))


def _result_tables(results: Sequence[ResultRow], variant: str) -> str:
    """One table per metric; a row per set, condition and model, a column per profile size."""
    parts = []
    for metric in _unique(row.metric for row in results):
        rows = [row for row in results if row.metric == metric]
        sizes = sorted({row.profile_n for row in rows})
        keys = _unique((row.set, row.condition, row.name) for row in rows)
        found = {(row.set, row.condition, row.name, row.profile_n): row for row in rows}
        body = []
        for key in sorted(keys, key=lambda key: key[2] != variant):
            cells = [found.get((*key, size)) for size in sizes]
            measured = [cell for cell in cells if cell is not None]
            counts = (_counts(row.n for row in measured), _counts(row.speakers for row in measured))
            shown = [_interval(cell) if cell else "–" for cell in cells]
            body.append((*key, *shown, *counts))
        head = ("set", "condition", "model", *map(_profile, sizes), "clips", "speakers")
        parts.append(f"**{metric}**\n\n{markdown_table(head, body)}")
    return "\n".join(parts)


def _beside_baselines(results: Sequence[ResultRow], variant: str) -> str:
    ours = [row for row in results if row.metric == "UAR" and row.name == variant]
    sets = [name for name in _unique(b.set for b in BASELINES) if any(row.set == name for row in ours)]
    if not sets:
        return ""
    table: dict[tuple[str, int], dict[str, str]] = {}
    for row in sorted(ours, key=lambda row: row.profile_n):
        if row.set in sets:
            table.setdefault((f"**this bundle ({variant})**", row.profile_n), {})[row.set] = (
                f"{row.value:.3f}"
            )
    for quoted in BASELINES:
        if quoted.set in sets:
            system = f"{quoted.system} *(from design notes, not recomputed)*"
            table.setdefault((system, quoted.profile_n), {})[quoted.set] = f"{quoted.value:.3f}"
    rows = [
        (who, _profile(size), *(cells.get(name, "–") for name in sets))
        for (who, size), cells in table.items()
    ]
    return (
        "### Beside the baselines (UAR)\n\nThe baselines are quoted **from design notes, not recomputed**;"
        " all but the last saw RAVDESS speakers 01–18 only.\n\n"
        + markdown_table(("system", "profile", *sets), rows)
    )


def _recalls(evaluation: Evaluation) -> str:
    categories = _unique(name for recalls in evaluation.recalls.values() for name in recalls)
    rows = [(s, *(_figure(recalls.get(c)) for c in categories)) for s, recalls in evaluation.recalls.items()]
    return markdown_table(("set", *categories), rows)


def _calibration(evaluation: Evaluation) -> str:
    parts = []
    if evaluation.ece:
        rows = [(s, _figure(e.before), _figure(e.after), str(e.bins)) for s, e in evaluation.ece.items()]
        head = ("set", "before", "after", "equal-mass bins")
        parts.append("Expected calibration error (0 is best):\n\n" + markdown_table(head, rows))
    if evaluation.risk_coverage:
        wanted = (1.0, 0.9, 0.75, 0.5)
        rows_ = [
            (name, _figure(curve.area), *(_figure(_risk_at(curve.points, share)) for share in wanted))
            for name, curve in evaluation.risk_coverage.items()
        ]
        head_ = ("set", "area", *(f"{share:.0%} answered" for share in wanted))
        parts.append(
            "What abstaining on the least confident buys: share of wrong answers among those given (area"
            " under the risk–coverage curve: 0 is best).\n\n" + markdown_table(head_, rows_)
        )
    return "\n".join(parts) or _missing("calibration")


def _risk_at(points: Sequence[tuple[float, float]], coverage: float) -> float | None:
    """Risk at the smallest measured coverage that is at least the one asked for."""
    enough = [(c, risk) for c, risk in points if c >= coverage - 1e-9]
    return min(enough)[1] if enough else None


def _robustness(evaluation: Evaluation) -> str:
    hard = [row for row in evaluation.results if row.condition != "clean"]
    return _result_tables(hard, evaluation.bundle.variant) or _missing("robustness")


def _gaps(evaluation: Evaluation) -> str:
    parts = []
    for kind, sets in evaluation.gaps.items():
        rows = [
            (name, group, f"{cell.value:.3f}", f"{cell.n:,}", str(cell.speakers))
            for name, groups in sets.items()
            for group, cell in groups.items()
        ]
        parts.append(f"UAR by {kind}:\n\n" + markdown_table(("set", kind, "UAR", "clips", "speakers"), rows))
    return "\n".join(parts) or _missing("gaps between groups")


def _cost(evaluation: Evaluation) -> str:
    rows = [(c.what, f"{c.value:,.4g} {c.unit}", c.note) for c in evaluation.cost]
    return markdown_table(("what", "figure", "note"), rows) if rows else _missing("cost")


def markdown_table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A table in Markdown, a line a row; empty cells get a dash."""
    lines = [head, ["---"] * len(head), *rows]
    return "".join("| " + " | ".join(map(_cell, line)) + " |\n" for line in lines)


def _cell(text: str) -> str:
    return " ".join(text.replace("|", "\\|").split()) or "–"


def _interval(row: ResultRow) -> str:
    if row.low is None or row.high is None:
        return f"{row.value:.3f}"
    return f"{row.value:.3f} [{row.low:.3f}, {row.high:.3f}]"


def _counts(values: Iterable[int]) -> str:
    """One number where all columns agree; a profile takes its utterances out of the test, so they may not."""
    return " / ".join(f"{value:,}" for value in _unique(values))


def _profile(size: int) -> str:
    return "cold" if size == 0 else f"profile {size}"


def _figure(value: float | None) -> str:
    return "–" if value is None else f"{value:.3f}"


def _or_dash(value: int | None) -> str:
    return "–" if value is None else f"{value:,}"


def _minutes(seconds: float | None) -> str:
    return "–" if seconds is None else f"{seconds / 60:.1f}"


def _code(text: str | None) -> str:
    return f"`{text}`" if text else ""


def _joined(texts: Iterable[str]) -> str:
    return ", ".join(texts)


def _bullets(texts: Iterable[str]) -> str:
    return "".join(f"- {' '.join(text.split())}\n" for text in texts)


def _missing(what: str) -> str:
    return f"Not measured in this evaluation ({what}).\n"


def _unique(values: Iterable[T]) -> list[T]:
    return list(dict.fromkeys(values))
