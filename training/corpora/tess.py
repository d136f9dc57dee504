"""TESS: two Canadian women, "Say the word …", seven emotions (Pichora-Fuller & Dupuis 2020).

Licence: CC BY-NC-ND 4.0: research and evaluation only.
Traps: two voices and one carrier phrase, all in train: without a cap (`FACTS.max_share`) a model learns the
two women rather than the emotions. Every second word is here. `ps` (pleasant surprise) is surprise.
"""

from __future__ import annotations

from pathlib import Path

from training.corpora.manifest import Segment
from training.corpora.recipe import LABELLED, CorpusFacts, check_names, read_corpus

FACTS = CorpusFacts(
    name="tess",
    manifest=LABELLED,
    language="en",
    licence="CC BY-NC-ND 4.0",
    cite="Pichora-Fuller & Dupuis 2020",
    max_share=0.05,
)

EMOTION_CODES = {
    "angry": "angry",
    "disgust": "disgust",
    "fear": "fear",
    "happy": "happy",
    "neutral": "neutral",
    "ps": "surprise",
    "sad": "sad",
}


def prepare(corpora_root: Path) -> list[Segment]:
    """All clips, labels checked against their file names."""
    return check_names(read_corpus(corpora_root, FACTS), lambda name: name.split("_")[-1], EMOTION_CODES)
