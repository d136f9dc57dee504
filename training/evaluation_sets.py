"""What an evaluation runs on: sets of clips that training never saw, and what the telephone line does to them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

from training.corpora.labels import CATEGORIES, CORPUS_CATEGORIES, held_categories, target
from training.data.cache import MIXABLE, AudioCache, Clip, is_kind
from training.data.telephony import CLEAN, RATE_HZ, Audio, TelephonyConfig


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
    held = held_categories(c for c in cache.clips if c.kind is None and c.corpus in others)
    return [
        *SETS,
        *(EvaluationSet(f"{n}{len(held[n])}", n, "test", f"test speakers of {n}", held[n]) for n in others),
    ]


CLEAN_CONDITION = "clean"
COMBINED = "snr_10db_loss_5pct"


@dataclass(frozen=True, slots=True)
class Condition:
    """What the line does to a clip. seconds: cut to the middle of its speech; clips with less speech are left out."""

    line: TelephonyConfig = CLEAN
    seconds: float | None = None


def _noisy(snr_db: float, line: TelephonyConfig = CLEAN) -> TelephonyConfig:
    return replace(line, noise_chance=1.0, snr_db=(snr_db, snr_db))


def _lossy(share: float) -> TelephonyConfig:
    return replace(CLEAN, loss_chance=1.0, loss_share=(share, share))


CONDITIONS: Mapping[str, Condition] = {
    CLEAN_CONDITION: Condition(),
    **{f"snr_{snr}db": Condition(_noisy(snr)) for snr in (20, 10, 5, 0)},
    **{f"loss_{share}pct": Condition(_lossy(share / 100)) for share in (5, 10)},
    COMBINED: Condition(_noisy(10, _lossy(0.05))),
    **{f"{seconds}s": Condition(seconds=seconds) for seconds in (1, 2, 4)},
}


def possible_conditions(cache: AudioCache) -> tuple[str, ...]:
    """The conditions that this cache can make: noise that training never heard is needed for some."""
    quiet = not noise_of(cache)
    return tuple(name for name, it in CONDITIONS.items() if not (quiet and it.line.noise_chance))


def middle(clip: Clip, seconds: float) -> Clip | None:
    """The middle `seconds` of a clip's speech as a clip of its own; None where it does not speak that long."""
    wanted = round(seconds * RATE_HZ)
    if clip.active < wanted:
        return None
    start = clip.lead + (clip.active - wanted) // 2
    return replace(clip, offset=clip.offset + start, samples=wanted, lead=0, active=wanted, frame_offset=-1)


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
    rows = spread(len(clips), limit)
    return [clips[i] for i in rows], [truth[i] for i in rows]


def spread(count: int, limit: int) -> list[int]:
    """About `limit` of `count` indices, evenly spread; all for 0.

    >>> spread(10, 5), spread(3, 5), spread(3, 0)
    ([0, 2, 4, 6, 8], [0, 1, 2], [0, 1, 2])
    """
    return list(range(0, count, max(1, count // limit) if limit else 1))


def noise_of(cache: AudioCache) -> list[Audio]:
    """Noise that training never mixed in."""
    return [cache.audio(c) for c in cache.clips if c.split == "test" and is_kind(c, MIXABLE)]
