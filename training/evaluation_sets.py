"""What an evaluation runs on: sets of clips that training never saw, and what the telephone line does to them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

from training.corpora.labels import CATEGORIES, CORPUS_CATEGORIES, held_categories, target
from training.data.cache import MIXABLE, AudioCache, Clip, is_kind
from training.data.telephony import CLEAN, Audio, TelephonyConfig


@dataclass(frozen=True, slots=True)
class EvaluationSet:
    """Clips of one corpus, and which categories count.

    intent: judge by the actor's intent, not the listeners' votes.
    """

    name: str
    corpus: str
    split: str
    what: str
    categories: tuple[str, ...]
    intent: bool = False


def _shared(name: str, corpus: str, what: str, split: str = "test") -> EvaluationSet:
    return EvaluationSet(name, corpus, split, what, CORPUS_CATEGORIES[corpus])


SETS = (
    _shared("ravdess7", "ravdess", "English, acted, 6 unseen speakers"),
    _shared("nemo6", "nemo", "Polish, acted, 2 unseen speakers"),
    _shared("ased5", "ased", "Amharic, acted, 13 unseen speakers"),
    _shared("turev4", "turev", "Turkish single words, 1 unseen speaker"),
    _shared("emospeech4", "emospeech_in", "Indian English and Hindi keywords on real phones, 17 speakers"),
    EvaluationSet(
        "crema2_intent", "crema_d", "test", "English, what the actor meant", ("happy", "sad"), intent=True
    ),
    _shared("crema6_votes", "crema_d", "English, what most listeners heard"),
    _shared("emodb4", "emodb", "German, a corpus and language never trained or selected on", split="cross"),
)


def evaluation_sets(cache: AudioCache) -> list[EvaluationSet]:
    """The shared sets, and one for every other corpus of the cache that has labelled test speakers."""
    others = sorted(
        {c.corpus for c in cache.clips if c.split == "test" and c.emotion} - set(CORPUS_CATEGORIES)
    )
    held = held_categories(c for c in cache.clips if c.kind is None)
    return [
        *SETS,
        *(EvaluationSet(f"{n}{len(held[n])}", n, "test", f"test speakers of {n}", held[n]) for n in others),
    ]


CONDITIONS: Mapping[str, TelephonyConfig] = {
    "clean": CLEAN,
    "snr_10db": replace(CLEAN, noise_chance=1.0, snr_db=(10.0, 10.0)),
    "loss_5pct": replace(CLEAN, loss_chance=1.0, loss_share=(0.05, 0.05)),
    "snr_10db_loss_5pct": replace(
        CLEAN, noise_chance=1.0, snr_db=(10.0, 10.0), loss_chance=1.0, loss_share=(0.05, 0.05)
    ),
}


def possible_conditions(cache: AudioCache) -> tuple[str, ...]:
    """The conditions that this cache can make: noise that training never heard is needed for some."""
    quiet = not noise_of(cache)
    return tuple(name for name, line in CONDITIONS.items() if not (quiet and line.noise_chance))


def chosen_clips(cache: AudioCache, test: EvaluationSet, limit: int) -> tuple[list[Clip], list[int]]:
    """Clips of a set and their true category; about `limit` of them, evenly spread (0: all)."""
    clips, truth = [], []
    held = {test.corpus: CATEGORIES if test.intent else test.categories}
    for clip in cache.clips:
        if clip.corpus != test.corpus or clip.split != test.split:
            continue
        wanted = target(replace(clip, votes=None) if test.intent else clip, held)
        if wanted is not None and wanted.hard is not None:
            clips.append(clip)
            truth.append(wanted.hard)
    stride = max(1, len(clips) // limit) if limit else 1
    return clips[::stride], truth[::stride]


def noise_of(cache: AudioCache) -> list[Audio]:
    """Noise that training never mixed in."""
    return [cache.audio(c) for c in cache.clips if c.split == "test" and is_kind(c, MIXABLE)]
