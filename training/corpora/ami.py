"""AMI: spontaneous meetings, mixed headsets, several people a clip (Carletta et al. 2005).

Licence: CC BY 4.0.
Traps: a `speaker` here is a mixture, never a person: no speaker baseline, no labels. All in train.
"""

from __future__ import annotations

from pathlib import Path

from training.corpora.manifest import Segment
from training.corpora.recipe import UNLABELLED, CorpusFacts, read_corpus

FACTS = CorpusFacts(
    name="ami",
    manifest=UNLABELLED,
    language="en",
    licence="CC BY 4.0",
    cite="Carletta et al. 2005",
)


def prepare(corpora_root: Path) -> list[Segment]:
    """All clips."""
    return read_corpus(corpora_root, FACTS)
