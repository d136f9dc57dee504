"""BAVED: 58 speakers, seven Arabic words at three levels of emotion (Aouf 2019).

Licence: none stated, so research use only.
Traps: no categories: only how much emotion was put in. `Segment.arousal` puts low, neutral and high at -0.7,
0 and 0.7 (`manifest.AROUSAL_LEVELS`, a mapping). Clips of one to two seconds, one word each.
"""

from __future__ import annotations

from pathlib import Path

from training.corpora.manifest import Segment
from training.corpora.recipe import UNLABELLED, CorpusFacts, read_corpus

FACTS = CorpusFacts(
    name="baved",
    manifest=UNLABELLED,
    language="ar",
    licence="none stated: research use",
    cite="Aouf 2019",
)


def prepare(corpora_root: Path) -> list[Segment]:
    """All clips, each with an arousal."""
    return read_corpus(corpora_root, FACTS)
