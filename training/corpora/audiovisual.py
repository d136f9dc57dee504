"""Talking faces with their sound: grid_av, mcgurk_pl_av, syllable_av, demo_av. No clip has an emotion label.

Licences: grid_av CC BY 4.0 (GRID, Cooke et al. 2006); demo_av Apache-2.0 for its repository, the footage's
origin is not stated; the others state none, so research use. `extra` holds width, height, fps, licence and
source.
Traps: 260 of 404 grid_av clips are one man (s1): sample by speaker, not by clip. GRID is one studio and a
six-word command grammar: no emotion in it. The syllables are mostly silence. demo_av may be dubbed: drop it
where synchrony matters. Cut both streams of a file to the shorter one.
"""

from __future__ import annotations

from pathlib import Path

from training.corpora.manifest import Segment
from training.corpora.recipe import AUDIOVISUAL, CorpusFacts, read_corpus

GRID_AV = CorpusFacts("grid_av", AUDIOVISUAL, "en", "CC BY 4.0", "GRID, Cooke et al. 2006")
MCGURK_PL_AV = CorpusFacts(
    "mcgurk_pl_av", AUDIOVISUAL, "pl", "none stated: research use", "filyp/mcgurk_task"
)
SYLLABLE_AV = CorpusFacts(
    "syllable_av",
    AUDIOVISUAL,
    "en",
    "none stated: research use",
    "luvghodasara/McGurk-Effect, ConnorEgbert/McGurk-Effect-Experiment",
)
DEMO_AV = CorpusFacts(
    "demo_av",
    AUDIOVISUAL,
    "not stated",
    "Apache-2.0 (repository; footage origin not stated)",
    "bytedance/LatentSync",
)


def prepare_grid_av(corpora_root: Path) -> list[Segment]:
    """All clips of GRID."""
    return read_corpus(corpora_root, GRID_AV)


def prepare_mcgurk_pl_av(corpora_root: Path) -> list[Segment]:
    """All clips of the Polish syllables."""
    return read_corpus(corpora_root, MCGURK_PL_AV)


def prepare_syllable_av(corpora_root: Path) -> list[Segment]:
    """All clips of the English syllables."""
    return read_corpus(corpora_root, SYLLABLE_AV)


def prepare_demo_av(corpora_root: Path) -> list[Segment]:
    """All clips of the demonstration footage."""
    return read_corpus(corpora_root, DEMO_AV)
