"""The model card: Markdown made from an evaluation file and a bundle's manifest, never from typed figures.

`card_schema` documents the evaluation file. Only the prose on use and scope is written here; sentences on limits are
made of figures (`report.limits`).
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any

from pydantic import ValidationError

from training.card_schema import Evaluation
from training.corpora.registry import REGISTRY
from training.measure import F1, LOST, UAR
from training.measure_dimensions import METRIC as AROUSAL
from training.measure_gate import SILENT_KINDS
from training.measure_votes import METRIC as VOTES
from training.report import tables
from training.report.tables import markdown_table

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

_VOTES_NOTE = (
    "Jensen–Shannon divergence in bits from what the other listeners heard, smaller is nearer. A listener gives one"
    " word; *smoothed* and *calibrated* say in shares what that word tells, learned from other clips; *constant*"
    " doesn't listen."
)
_AROUSAL_NOTE = "Concordance (CCC) with the corpus's own levels, which lie where a mapping puts them."

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
        ("Targets", _targets(checked)),
        ("Calibration and abstention", _calibration(checked)),
        ("Not speech", _not_speech(checked)),
        ("Robustness", _robustness(checked)),
        ("Gaps between groups", _gaps(checked)),
        *((title, _sections(found)) for title, found in _handed_in(checked) if found),
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
    e, variant = evaluation, evaluation.bundle.variant
    clean = [row for row in e.results if row.condition == "clean"]
    parts = [
        "After the telephone chain (8 kHz, speech at -26 dBFS, G.711 µ-law). In brackets: 95 % interval, bootstrap by"
        " speaker. *cold*: nothing known of the source; *profile n*: with the statistics of n unlabelled"
        " utterances of the source, none of them tested.\n"
    ]
    if e.sets:
        rows = [(s.name, s.what, ", ".join(s.categories)) for s in e.sets]
        parts.append(markdown_table(("set", "what", "categories"), rows))
    measured = [tables.result_table(clean, variant, metric) for metric in (UAR, F1)]
    parts.append("\n".join(_shown(t) for t in measured if t.rows) or _missing("results"))
    parts += [_section(t) for t in (tables.headline_table(e),) if e.baselines]
    parts += [f"- {line}\n" for line in e.skipped]
    parts += [_section(t) for t in (tables.recalls_table(e), *tables.confusion_tables(e)) if t.rows]
    others = [
        ("Against the listeners' votes", tables.result_table(clean, variant, VOTES, _VOTES_NOTE)),
        ("Arousal", tables.result_table(clean, variant, AROUSAL, _AROUSAL_NOTE)),
    ]
    parts += [f"### {title}\n\n{table.note}\n\n{_body(table)}" for title, table in others if table.rows]
    return "\n".join(filter(None, parts))


def _calibration(evaluation: Evaluation) -> str:
    found = [tables.calibration_table(evaluation), tables.abstention_table(evaluation)]
    return "\n".join(f"{t.note}\n\n{_body(t)}" for t in found if t.rows) or _missing("calibration")


def _robustness(evaluation: Evaluation) -> str:
    hard = [row for row in evaluation.results if row.condition != "clean"]
    conditions = "".join(
        f"- `{name}`: {words}\n" for name, words in evaluation.conditions.items() if name != "clean"
    )
    found = [tables.result_table(hard, evaluation.bundle.variant, metric) for metric in (LOST, UAR)]
    shown = [_shown(t) for t in found if t.rows]
    if not shown:
        return _missing("robustness")
    note = (
        "*UAR lost* is against the same clips undamaged (calls: without a leg), draw by draw; `calls_…`: simulated"
        " callers of a balanced, a mostly neutral and one constant emotion, on a cold line.\n"
    )
    return "\n".join(filter(None, [conditions, note, *shown]))


def _not_speech(evaluation: Evaluation) -> str:
    found = [tables.sounds_table(evaluation), tables.sources_table(evaluation, SILENT_KINDS)]
    return "\n".join(f"{t.note}\n\n{_body(t)}" for t in found if t.rows) or _missing("what is not speech")


def _targets(evaluation: Evaluation) -> str:
    table = tables.targets_table(evaluation)
    return f"{table.note}\n\n{_body(table)}"


def _gaps(evaluation: Evaluation) -> str:
    found = [tables.gaps_table(evaluation, kind) for kind in ("sex", "language")]
    parts = [f"{t.title}: {t.note}\n\n{_body(t)}" for t in found if t.rows]
    return "\n".join(parts) or _missing("gaps between groups")


def _handed_in(evaluation: Evaluation) -> list[tuple[str, list[tables.Table]]]:
    return [
        (tables.AV, tables.generic(tables.AV, evaluation.av)),
        ("Experiments", tables.experiment_tables(evaluation.experiments)),
    ]


def _sections(found: list[tables.Table]) -> str:
    return "\n".join(_section(table) for table in found)


def _cost(evaluation: Evaluation) -> str:
    rows = [(c.what, f"{c.value:,.4g} {c.unit}", c.note) for c in evaluation.cost]
    return markdown_table(("what", "figure", "note"), rows) if rows else _missing("cost")


def _body(table: tables.Table) -> str:
    return markdown_table(table.head, table.rows)


def _shown(table: tables.Table) -> str:
    return f"**{table.title}**\n\n{_body(table)}"


def _section(table: tables.Table) -> str:
    note = f"{table.note}\n\n" if table.note else ""
    return f"### {table.title}\n\n{note}{_body(table)}"


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
