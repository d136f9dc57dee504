"""Names, numbers and addresses read out: 70 speakers, own phones and laptops, many accents (Patil 2024).

Licence: MIT.
Traps: read, invented content and no emotion labels: good for what people dictate to a call centre and for
microphones, not for emotion.
"""

from __future__ import annotations

from pathlib import Path

from training.corpora.manifest import Segment
from training.corpora.recipe import UNLABELLED, CorpusFacts, read_corpus

FACTS = CorpusFacts(
    name="alphanumeric",
    manifest=UNLABELLED,
    language="en",
    licence="MIT",
    cite="Patil 2024",
)


def prepare(corpora_root: Path) -> list[Segment]:
    """All clips."""
    return read_corpus(corpora_root, FACTS)
