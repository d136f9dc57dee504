"""What every recipe shares: the facts of a corpus, and reading its lines of a shared manifest.

A recipe is a module with `FACTS` and `prepare(corpora_root) -> list[Segment]`. `corpora_root` is a folder
with the manifests and, beside them, a folder for each corpus.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from training.corpora.errors import CorpusError, ManifestError
from training.corpora.manifest import Segment, read_manifest

Prepare = Callable[[Path], list[Segment]]

LABELLED = "manifest.jsonl"
UNLABELLED = "manifest_unlabelled.jsonl"
NOISE = "manifest_noise.jsonl"
AUDIOVISUAL = "manifest_av.jsonl"


@dataclass(frozen=True, slots=True)
class CorpusFacts:
    """What a card must say of a corpus.

    manifest: which shared manifest lists it. language: BCP 47, several joined by commas.
    max_share: largest share of the labelled clips of a training batch, for corpora whose few voices would
    otherwise be learnt by heart.
    """

    name: str
    manifest: str
    language: str
    licence: str
    cite: str
    max_share: float = 1.0


def read_corpus(corpora_root: Path, facts: CorpusFacts) -> list[Segment]:
    """The clips of one corpus, in the manifest's order.

    Raises:
        ManifestError: bad lines.
        CorpusError: the manifest holds no clip of this corpus.
    """
    path = corpora_root / facts.manifest
    segments = read_manifest(path, corpora_root, only=facts.name)
    if not segments:
        raise CorpusError(f"{path}: no clip of corpus {facts.name!r}")
    return segments


def check_names(
    segments: Iterable[Segment], word_of: Callable[[str], str], words: dict[str, str]
) -> list[Segment]:
    """Compare each label with the one that the corpus's authors wrote into the file name.

    A manifest made from shuffled columns passes every other check, so this one is worth its few lines.

    Args:
        segments: clips whose `id` ends in the original file name.
        word_of: cuts the label's code out of that name.
        words: code → emotion as the manifest spells it.

    Raises:
        ManifestError: with every clip whose name and label disagree.
    """
    kept = list(segments)
    problems = []
    for segment in kept:
        name = segment.id.rsplit("/", 1)[-1]
        try:
            said = words[word_of(name)]
        except (IndexError, KeyError):
            problems.append(f"clip {segment.id!r}: no label code of {', '.join(words)} in its name")
            continue
        if said != segment.emotion:
            problems.append(f"clip {segment.id!r}: its name says {said!r}, its line {segment.emotion!r}")
    if problems:
        raise ManifestError(problems)
    return kept


def total_hours(segments: Sequence[Segment]) -> float:
    """Length of all clips together, in hours."""
    return sum(segment.duration_s for segment in segments) / 3600
