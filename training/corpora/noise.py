"""Noise, music, prompts and sounds that people make: what is not somebody's emotional speech.

Licences: in each line (`extra["licence"]`); nonverbal sounds are CC BY-NC-ND 4.0, backgrounds CC BY-NC-SA 4.0. Those of
the ambient sounds forbid to pass them on by themselves: they may be learned from, mixed in or alone, and are in nothing
that is published (docs/decisions/0007-sound-events.md).
Traps: splits are by track, source or speaker, and no prompt is in dev. Voices may be heard far off in backgrounds;
nobody at the telephone speaks, so they count as noise. Prompts are speech, though nobody's emotion: a voice that was
not in train is hardly told from any other calm one.
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
        """Stands alone as an example of what the service must not score; of what people do, `sound` says it."""
        return self is not Role.NONVERBAL


_PLAYED = {
    Role.MUSIC: "music",
    Role.IVR_PROMPT: "prompt",
    Role.BACKGROUND: "noise",
    Role.AMBIENT: "noise",
}
_UTTERED = {
    "laughing": "laughter",
    "laughter": "laughter",
    "crying": "crying",
    "sighing": "sigh",
    "yawning": "sigh",
    "coughing": "cough",
    "throat_clearing": "cough",
    "screaming": "scream",
    "sneezing": "cough",
    "panting": "sigh",
}
"""Sneezes and cleared throats are too few, and too like a cough, to be told from it; so with breath and sighs."""
_MOUTH = frozenset(
    (
        "lip_popping",
        "lip_smacking",
        "tongue_clicking",
        "teeth_chattering",
        "teeth_grinding",
        "nose_blowing",
    )
)
"""No voice and hardly breath: to a listener on the telephone these are clicks and rustle."""


def role_of(kind: str | None) -> Role | None:
    """The role of a kind; None for one that is not known."""
    wanted = kind or ""
    return next((known for known in Role if wanted == known or wanted.startswith(known + "_")), None)


def role(segment: Segment) -> Role:
    """The role of a clip.

    Raises:
        LabelError: a kind that is not known.
    """
    known = role_of(segment.kind)
    if known is None:
        raise LabelError(f"clip {segment.id!r}: unknown kind of noise {segment.kind!r}")
    return known


def sound(kind: str) -> str:
    """What the head calls a clip of this kind, as in `models.config.HeadConfig`; `other_vocal` without a name.

    Raises:
        LabelError: a kind that is not known.

    >>> sound("nonverbal_throat_clearing"), sound("ambient_cafe"), sound("ivr_prompt")
    ('cough', 'noise', 'prompt')
    """
    known = role_of(kind)
    if known is None:
        raise LabelError(f"unknown kind of noise {kind!r}")
    if known is not Role.NONVERBAL:
        return _PLAYED[known]
    name = kind.removeprefix(Role.NONVERBAL + "_")
    return "noise" if name in _MOUTH else _UTTERED.get(name, "other_vocal")


def prepare(corpora_root: Path) -> list[Segment]:
    """All clips; every one has a `kind` with a known role."""
    segments = read_corpus(corpora_root, FACTS)
    for segment in segments:
        role(segment)
    return segments
