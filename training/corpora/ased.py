"""ASED: 65 Amharic speakers, five emotions (Retta et al. 2023).

Licence: none stated, so research use only.
Traps: clip lengths go with the recording session (3.0, 2.9, 3.9 s …), so a model must not see padding.
The first letter of a file name is the emotion.
"""

from __future__ import annotations

from pathlib import Path

from training.corpora.manifest import Segment
from training.corpora.recipe import LABELLED, CorpusFacts, check_names, read_corpus

FACTS = CorpusFacts(
    name="ased",
    manifest=LABELLED,
    language="am",
    licence="none stated: research use",
    cite="Retta et al. 2023",
)

EMOTION_CODES = {"a": "angry", "f": "fear", "h": "happy", "n": "neutral", "s": "sad"}


def prepare(corpora_root: Path) -> list[Segment]:
    """All clips, labels checked against their file names."""
    return check_names(read_corpus(corpora_root, FACTS), lambda name: name[0].lower(), EMOTION_CODES)
