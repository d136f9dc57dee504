"""Emotional keywords from India: Indian English and Hindi, own phones in real places (Banga et al. 2019).

Licence: CC BY-NC-SA 4.0: research and evaluation only.
Traps: one keyword of about 0.7 s in a clip of 3 s, in noise: cut to the active part. The speaker `unknown` is
a crowd (train only): people in test may be among it, so the test figure is optimistic, and no baseline of a
speaker may be taken from it: its clips carry `extra["crowd"] = True`. Angry and fear clips are about 4 dB
louder than the rest, so normalise loudness. `calm` counts as neutral.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from training.corpora.errors import SplitError
from training.corpora.manifest import Segment
from training.corpora.recipe import LABELLED, CorpusFacts, check_names, read_corpus

FACTS = CorpusFacts(
    name="emospeech_in",
    manifest=LABELLED,
    language="en, hi",
    licence="CC BY-NC-SA 4.0",
    cite="Banga et al. 2019",
)

EMOTION_CODES = {word: word for word in ("angry", "calm", "fear", "happy")}
CROWD = "emospeech_in:unknown"


def prepare(corpora_root: Path) -> list[Segment]:
    """All clips; those of the crowd are marked.

    Raises:
        SplitError: the crowd is outside train.
    """
    segments = check_names(read_corpus(corpora_root, FACTS), lambda name: name.split("_")[-2], EMOTION_CODES)
    if any(s.speaker == CROWD and s.split != "train" for s in segments):
        raise SplitError(f"{CROWD} stands for many people: it may only be in train")
    return [replace(s, extra={**s.extra, "crowd": True}) if s.speaker == CROWD else s for s in segments]
