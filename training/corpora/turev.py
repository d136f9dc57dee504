"""TurEV-DB: six Turkish speakers, single words, four emotions (Canpolat et al. 2020).

Licence: CC BY-NC-ND 4.0: research and evaluation only.
Traps: clips of about a second, one word each; `calm` counts as neutral. File names hold the Turkish emotion
shortened (kızgın, hüzünlü, mutlu, sakin).
"""

from __future__ import annotations

from pathlib import Path

from training.corpora.manifest import Segment
from training.corpora.recipe import LABELLED, CorpusFacts, check_names, read_corpus

FACTS = CorpusFacts(
    name="turev",
    manifest=LABELLED,
    language="tr",
    licence="CC BY-NC-ND 4.0",
    cite="Canpolat et al. 2020 (TurEV-DB)",
)

EMOTION_CODES = {"kz": "angry", "hl": "sad", "mt": "happy", "sk": "calm"}


def prepare(corpora_root: Path) -> list[Segment]:
    """All clips, labels checked against their file names."""
    return check_names(read_corpus(corpora_root, FACTS), lambda name: name.split("_")[1], EMOTION_CODES)
