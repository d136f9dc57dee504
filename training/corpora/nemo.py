"""nEMO: nine Polish actors, six emotions (Christop 2024).

Licence: CC BY-NC-SA 4.0: research and evaluation only.
Traps: nine speakers, so a test figure over two of them is coarse: always give its interval by speaker. The
sex of the speakers is not stated.
"""

from __future__ import annotations

from pathlib import Path

from training.corpora.manifest import Segment
from training.corpora.recipe import LABELLED, CorpusFacts, check_names, read_corpus

FACTS = CorpusFacts(
    name="nemo",
    manifest=LABELLED,
    language="pl",
    licence="CC BY-NC-SA 4.0",
    cite="Christop 2024 (nEMO)",
)

EMOTION_CODES = {
    "anger": "angry",
    "fear": "fear",
    "happiness": "happy",
    "neutral": "neutral",
    "sadness": "sad",
    "surprised": "surprise",
}


def prepare(corpora_root: Path) -> list[Segment]:
    """All clips, labels checked against their file names."""
    return check_names(read_corpus(corpora_root, FACTS), lambda name: name.split("_")[1], EMOTION_CODES)
