"""What a bundle does badly, in sentences made of its own figures: nothing here is stated that was not measured."""

from __future__ import annotations

from collections.abc import Iterator

from training.card_schema import Evaluation
from training.measure import ALL_SETS, LOST
from training.measure_dimensions import METRIC as AROUSAL
from training.measure_gate import PUBLISHED, REJECTED
from training.report.targets import SOUND_PUBLISHED, shown, targets

SAME_SENTENCES = ("ravdess", "nemo", "ased", "crema_d", "emodb", "tess")
"""Corpora whose speakers all say the same few sentences."""
FEW_SPEAKERS = 2
NOTABLE_LOSS = 0.05


def limits(evaluation: Evaluation) -> list[str]:
    """Sentences for the card, in order."""
    return [
        *_sentences(evaluation),
        *_few_speakers(evaluation),
        *_arousal(evaluation),
        *_sounds(evaluation),
        *_conditions(evaluation),
        *_legs(evaluation),
        *_languages(evaluation),
        *_missed(evaluation),
    ]


def _sentences(e: Evaluation) -> Iterator[str]:
    shared = [c.name for c in e.corpora if c.name in SAME_SENTENCES]
    if shared:
        yield (
            "The splits are of speakers, not of words: train and test share their sentences in"
            f" {', '.join(shared)}."
        )


def _few_speakers(e: Evaluation) -> Iterator[str]:
    rows = [row for test in e.sets if (row := e.find(test.name)) is not None]
    few = [f"{row.set} ({row.speakers})" for row in rows if row.speakers <= FEW_SPEAKERS]
    if few:
        yield f"Sets with one or two test speakers are coarse, interval or not: {', '.join(few)}."


def _arousal(e: Evaluation) -> Iterator[str]:
    found = [r for r in e.results if r.metric == AROUSAL and r.profile_n == 0 and r.name == e.bundle.variant]
    if not found:
        yield "No concordance of arousal or valence is reported: there were no such labels to hold them against."
    for row in found:
        yield (
            f"Arousal agrees with the levels of {row.set.removesuffix('_arousal')} with a concordance of"
            f" {shown(row)}, cold; valence was never held against anything, for no clip is rated for it."
        )


def _sounds(e: Evaluation) -> Iterator[str]:
    kinds = [r for r in e.results if r.metric == PUBLISHED and not r.set.startswith("speech")]
    bad = sorted((r for r in kinds if r.value > SOUND_PUBLISHED), key=lambda r: -r.value)
    whole = {r.set for r in kinds}
    # A family says it for all of its kinds.
    bad = [r for r in bad if r.set.split("_")[0] not in whole - {r.set}]
    if bad:
        words = ", ".join(f"{r.set} {100 * r.value:.0f} %" for r in bad)
        yield f"Not speech, or nobody's emotion, and yet given one (share of clips): {words}."
    prompts = e.find("ivr_prompt", REJECTED)
    if prompts is not None:
        yield (
            f"Recorded prompts (IVR) are speech: {100 * prompts.value:.0f} % of {prompts.n} are rejected, by"
            f" {prompts.speakers} unheard voice{'s' if prompts.speakers != 1 else ''}."
        )


def _conditions(e: Evaluation) -> Iterator[str]:
    rows = [
        r
        for r in e.results
        if (r.set, r.metric, r.profile_n) == (ALL_SETS, LOST, 0)
        and r.value > NOTABLE_LOSS
        and not r.condition.startswith("calls_")
    ]
    if rows:
        rows.sort(key=lambda r: -r.value)
        words = "; ".join(f"{e.conditions.get(r.condition, r.condition)} {r.value:.2f}" for r in rows)
        yield f"UAR lost on a cold line, mean over sets: {words}."


def _legs(e: Evaluation) -> Iterator[str]:
    rows = [
        r for r in e.results if r.condition.startswith("calls_") and r.metric == LOST and r.set != ALL_SETS
    ]
    worst = max(rows, key=lambda r: r.value, default=None)
    if worst is not None and worst.value > 0:
        kind = worst.condition.removeprefix("calls_").replace("_", " ")
        yield f"Knowing the leg so far costs at most {worst.value:.3f} UAR ({worst.set}, {kind} calls)."


def _languages(e: Evaluation) -> Iterator[str]:
    tested = e.gaps.get("language", {}).get(ALL_SETS, {})
    if len(tested) > 1:
        low = min(tested, key=lambda g: tested[g].value)
        words = ", ".join(f"{g} {v.value:.2f}" for g, v in sorted(tested.items()))
        yield (
            f"Languages differ (UAR, over different categories, so only roughly comparable): {words};"
            f" {low} is the weakest, and any other language is unknown."
        )


def _missed(e: Evaluation) -> Iterator[str]:
    missed = [t.what for t in targets(e) if t.met is False]
    if missed:
        yield f"Targets that were set and are not met: {'; '.join(missed)}."
