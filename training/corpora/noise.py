"""Noise, music, prompts and sounds that people make: what is not somebody's emotional speech.

Licences: in each line (`extra["licence"]`); nonverbal sounds are CC BY-NC-ND 4.0, backgrounds CC BY-NC-SA
4.0.
Traps: splits are by track, source or speaker. Ambient sounds may only be mixed in, never used on their own
(`Role.AMBIENT`). Voices may be heard far off in backgrounds, so these don't say "no speech" for certain.
Prompts are speech, though nobody's emotion.
"""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path

from training.corpora.errors import LabelError
from training.corpora.manifest import Segment
from training.corpora.recipe import NOISE, CorpusFacts, read_corpus

FACTS = CorpusFacts(
    name="noise",
    manifest=NOISE,
    language="none",
    licence="several, in each line",
    cite="Digium; Deeply Inc.; Banga et al. 2019; as each line says",
)


class Role(StrEnum):
    """What a noise clip is good for, from the first word of its `kind`."""

    MUSIC = "music"
    IVR_PROMPT = "ivr_prompt"
    NONVERBAL = "nonverbal"
    BACKGROUND = "background"
    AMBIENT = "ambient"

    @property
    def mixable(self) -> bool:
        """May lie under speech at some signal-to-noise ratio."""
        return self in (Role.BACKGROUND, Role.AMBIENT)

    @property
    def not_speech(self) -> bool:
        """May stand alone as an example of what the service must not score."""
        return self in (Role.MUSIC, Role.NONVERBAL)


def role(segment: Segment) -> Role:
    """The role of a clip.

    Raises:
        LabelError: a kind that is not known.
    """
    kind = segment.kind or ""
    for known in Role:
        if kind == known or kind.startswith(known + "_"):
            return known
    raise LabelError(f"clip {segment.id!r}: unknown kind of noise {segment.kind!r}")


def prepare(corpora_root: Path) -> list[Segment]:
    """All clips; every one has a `kind` with a known role."""
    segments = read_corpus(corpora_root, FACTS)
    for segment in segments:
        role(segment)
    return segments
