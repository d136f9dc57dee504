"""RAVDESS: 24 North American actors, two sentences, eight emotions (Livingstone & Russo 2018).

Licence: CC BY-NC-SA 4.0: a model trained on it is for research and evaluation only.
Traps: two sentences only, so split by speaker and by nothing else; `calm` counts as neutral (half of the
neutral clips are missing because neutral has one strength); clips begin and end in half a second of silence.
File names are seven two-digit fields; the third is the emotion, the last the actor (odd: male, even: female).
"""

from __future__ import annotations

from pathlib import Path

from training.corpora.manifest import Segment
from training.corpora.recipe import LABELLED, CorpusFacts, check_names, read_corpus

FACTS = CorpusFacts(
    name="ravdess",
    manifest=LABELLED,
    language="en",
    licence="CC BY-NC-SA 4.0",
    cite="Livingstone & Russo 2018",
)

EMOTION_CODES = {
    "01": "neutral",
    "02": "calm",
    "03": "happy",
    "04": "sad",
    "05": "angry",
    "06": "fear",
    "07": "disgust",
    "08": "surprise",
}


def prepare(corpora_root: Path) -> list[Segment]:
    """All clips, labels checked against their file names; `extra["intensity"]` is normal or strong."""
    return check_names(read_corpus(corpora_root, FACTS), lambda name: name.split("-")[2], EMOTION_CODES)
