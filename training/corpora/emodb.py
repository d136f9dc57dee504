"""EmoDB: ten German actors, ten sentences; the cross-corpus test (Burkhardt et al. 2005).

Licence: free with citation.
Traps: split `cross`: nothing is trained, tuned or selected on it. 416 of 535 clips are here, and only angry,
neutral, happy and sad are complete, so the reported figure is over these four (`labels.CORPUS_CATEGORIES`).
The sixth character of a file name is the emotion (German: Wut, Langeweile, Ekel, Angst, Freude, Trauer,
neutral).
"""

from __future__ import annotations

from pathlib import Path

from training.corpora.errors import SplitError
from training.corpora.manifest import Segment
from training.corpora.recipe import LABELLED, CorpusFacts, check_names, read_corpus

FACTS = CorpusFacts(
    name="emodb",
    manifest=LABELLED,
    language="de",
    licence="free with citation",
    cite="Burkhardt et al. 2005",
)

EMOTION_CODES = {
    "W": "angry",
    "L": "boredom",
    "E": "disgust",
    "A": "fear",
    "F": "happy",
    "T": "sad",
    "N": "neutral",
}


def prepare(corpora_root: Path) -> list[Segment]:
    """All clips.

    Raises:
        SplitError: a clip that is not in `cross`.
    """
    segments = check_names(read_corpus(corpora_root, FACTS), lambda name: name[5], EMOTION_CODES)
    if wrong := sorted({segment.split for segment in segments} - {"cross"}):
        raise SplitError(f"emodb is for evaluation only: expected split 'cross', got {', '.join(wrong)}")
    return segments
