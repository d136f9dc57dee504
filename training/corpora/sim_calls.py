"""Simulated call-centre calls: 8 legs, 8 kHz, pieces of at most 30 s (Amazon Web Services samples).

Licence: Apache-2.0.
Traps: staged demonstrations, not real calls, and no emotion labels. `extra["leg"]` is agent, caller or mixed
(two voices in one channel), `extra["call_id"]` joins the legs of a call. All in train.
"""

from __future__ import annotations

from pathlib import Path

from training.corpora.manifest import Segment
from training.corpora.recipe import UNLABELLED, CorpusFacts, read_corpus

FACTS = CorpusFacts(
    name="sim_calls",
    manifest=UNLABELLED,
    language="en",
    licence="Apache-2.0",
    cite="Amazon Web Services samples",
)


def prepare(corpora_root: Path) -> list[Segment]:
    """All pieces."""
    return read_corpus(corpora_root, FACTS)
