"""Every recipe by name, written by hand: a new corpus is one module and one line here."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from training.corpora import (
    alphanumeric,
    ami,
    ased,
    audiovisual,
    baved,
    crema_d,
    emodb,
    emospeech_in,
    librispeech,
    nemo,
    noise,
    ravdess,
    sim_calls,
    tess,
    turev,
)
from training.corpora.errors import CorpusError
from training.corpora.manifest import Segment
from training.corpora.recipe import CorpusFacts, Prepare, total_hours


@dataclass(frozen=True, slots=True)
class Recipe:
    """A corpus: what is known of it and how its clips are read."""

    facts: CorpusFacts
    prepare: Prepare


REGISTRY: Mapping[str, Recipe] = {
    "ravdess": Recipe(ravdess.FACTS, ravdess.prepare),
    "crema_d": Recipe(crema_d.FACTS, crema_d.prepare),
    "emodb": Recipe(emodb.FACTS, emodb.prepare),
    "nemo": Recipe(nemo.FACTS, nemo.prepare),
    "ased": Recipe(ased.FACTS, ased.prepare),
    "turev": Recipe(turev.FACTS, turev.prepare),
    "tess": Recipe(tess.FACTS, tess.prepare),
    "emospeech_in": Recipe(emospeech_in.FACTS, emospeech_in.prepare),
    "baved": Recipe(baved.FACTS, baved.prepare),
    "sim_calls": Recipe(sim_calls.FACTS, sim_calls.prepare),
    "alphanumeric": Recipe(alphanumeric.FACTS, alphanumeric.prepare),
    "librispeech": Recipe(librispeech.FACTS, librispeech.prepare),
    "ami": Recipe(ami.FACTS, ami.prepare),
    "noise": Recipe(noise.FACTS, noise.prepare),
    "grid_av": Recipe(audiovisual.GRID_AV, audiovisual.prepare_grid_av),
    "mcgurk_pl_av": Recipe(audiovisual.MCGURK_PL_AV, audiovisual.prepare_mcgurk_pl_av),
    "syllable_av": Recipe(audiovisual.SYLLABLE_AV, audiovisual.prepare_syllable_av),
    "demo_av": Recipe(audiovisual.DEMO_AV, audiovisual.prepare_demo_av),
}


def prepare_corpora(corpora_root: Path, names: Iterable[str]) -> list[Segment]:
    """The clips of several corpora, in the order of the names.

    Raises:
        CorpusError: an unknown name, or what a recipe finds wrong.
    """
    wanted = list(names)
    if unknown := [name for name in wanted if name not in REGISTRY]:
        raise CorpusError(f"unknown corpus {', '.join(unknown)}; known: {', '.join(REGISTRY)}")
    return [segment for name in wanted for segment in REGISTRY[name].prepare(corpora_root)]


def describe(segments: Iterable[Segment], used_for: Mapping[str, str]) -> list[dict[str, Any]]:
    """Rows on corpora for an evaluation file (`training.model_card`), in the order of first appearance.

    Args:
        segments: all clips that a model has to do with.
        used_for: corpus → what it served for. Corpora without an entry are left out.
    """
    by_corpus: dict[str, list[Segment]] = {}
    for segment in segments:
        by_corpus.setdefault(segment.corpus, []).append(segment)
    rows = []
    for corpus, clips in by_corpus.items():
        if corpus not in used_for:
            continue
        facts = REGISTRY[corpus].facts if corpus in REGISTRY else None
        rows.append(
            {
                "name": corpus,
                "language": facts.language if facts else ", ".join(sorted(_languages(clips))) or "not stated",
                "licence": facts.licence if facts else "the owner's",
                "cite": facts.cite if facts else "",
                "clips": len(clips),
                "speakers": len({clip.speaker for clip in clips}),
                "hours": round(total_hours(clips), 2),
                "used_for": used_for[corpus],
            }
        )
    return rows


def _languages(clips: Iterable[Segment]) -> set[str]:
    return {clip.language for clip in clips if clip.language is not None}
