"""LibriSpeech: read English, 261 speakers (Panayotov et al. 2015).

Licence: CC BY 4.0.
Traps: audiobooks read evenly: no labels, and taking them for neutral would teach that reading is neutral.
The sex of the speakers is not in the manifest.
"""

from __future__ import annotations

from pathlib import Path

from training.corpora.manifest import Segment
from training.corpora.recipe import UNLABELLED, CorpusFacts, read_corpus

FACTS = CorpusFacts(
    name="librispeech",
    manifest=UNLABELLED,
    language="en",
    licence="CC BY 4.0",
    cite="Panayotov et al. 2015",
)


def prepare(corpora_root: Path) -> list[Segment]:
    """All clips."""
    return read_corpus(corpora_root, FACTS)
