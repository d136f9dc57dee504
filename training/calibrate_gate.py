"""What of calibration concerns sounds, on dev only: how far each rejected kind is shifted, when an event is named.

A clip is rejected where a rejected kind's logit, less its shift, exceeds speech and events together
(`models.heads.LineRelativeHead.speech` below 0). So every kind has a threshold of its own, and one that is hard to tell
from speech does not take the others' share of what may be lost.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch

from models.config import HeadConfig
from models.heads import LineRelativeHead
from models.student import AudioEncoder
from training.corpora.labels import EVALUATION_ONLY
from training.data.cache import AudioCache
from training.data.tokens import TokenStore
from training.embed import embed_tokens
from training.sounds import LEAST_TOKENS, cut, sound_number

Floats = npt.NDArray[np.float32]
Flags = npt.NDArray[np.bool_]
KNOWN_SHARE = 0.5
"""Of the speech that may be lost, what may go to kinds that dev has examples of: these lie well apart from speech."""
TOP = 0.99
"""A kind's own examples: so much of them shall be rejected with a distance to spare."""
EVENT_LOSS = 0.15
"""Of what people utter without words, so much may fall to each rejected kind: it is to be named."""
FEWEST_NAMED = 5
NEVER = 1.0
CUTS = 2


@dataclass(frozen=True, slots=True)
class Heard:
    """Dev clips: logits [N, S] of the kinds of sound without shifts, true kind [N], corpus [N] (noise: empty)."""

    sound: Floats
    kind: npt.NDArray[np.int64]
    corpus: npt.NDArray[np.str_]


@dataclass(frozen=True, slots=True)
class GateChoice:
    """What was chosen, and what it costs and brings on dev.

    shift: for each rejected kind of the head. event_threshold: least posterior of an event that is named.
    """

    shift: tuple[float, ...]
    event_threshold: float
    dev: dict[str, float]


@torch.no_grad()
def hear_dev(head: LineRelativeHead, encoder: AudioEncoder, cache: AudioCache, store: TokenStore) -> Heard:
    """All dev speech, labelled or not, as a whole; all other dev sounds as a whole and in short stretches."""
    dev = {n: c for n, c in enumerate(cache.clips) if c.split == "dev" and store.length(0, n) >= 2}
    rows, kinds, corpora = [], [], []
    rng = np.random.default_rng(0)
    for n, clip in dev.items():
        number = sound_number(clip, head.config)
        if number is None or (clip.kind is None and clip.corpus in EVALUATION_ONLY):
            continue
        pieces = [store.tokens(0, n)]
        if clip.kind is not None:
            more = [cut(cache, store, 0, n, rng) for _ in range(CUTS)]
            pieces += [piece for piece in more if piece.shape[1] >= LEAST_TOKENS]
        rows += pieces
        kinds += [number] * len(pieces)
        corpora += [clip.corpus if clip.kind is None else ""] * len(pieces)
    vectors = embed_tokens(encoder, rows, "embed dev sounds")
    head.eval()
    shifted = head.hear(torch.from_numpy(vectors))
    shifted[:, 1 + len(head.config.events) :] += head.sound_shift
    return Heard(shifted.numpy(), np.array(kinds, np.int64), np.array(corpora, dtype=np.str_))


def choose_gate(
    head: LineRelativeHead, heard: Heard, *, speech_loss: float, corpus_loss: float, precision: float = 0.9
) -> GateChoice:
    """Choose shifts and the event threshold, and set the head's shifts in place.

    Args:
        head: the trained head.
        heard: dev, by `hear_dev`.
        speech_loss: share of dev speech that may be rejected, of all kinds together.
        corpus_loss: the same of any one corpus; one clip of each is always allowed.
        precision: share of the named events that shall be right.
    """
    shift = choose_shifts(head.config, heard, speech_loss, corpus_loss)
    head.sound_shift.copy_(torch.from_numpy(shift))
    rejected, named, right = judge(head.config, heard, shift)
    threshold = event_threshold(named, right, precision)
    figures = dev_figures(head.config, heard, rejected, named >= threshold, right)
    return GateChoice(tuple(float(value) for value in shift), threshold, figures)


def choose_shifts(config: HeadConfig, heard: Heard, speech_loss: float, corpus_loss: float) -> Floats:
    """A shift for each rejected kind [R]: its logit must exceed speech's by so much.

    Kinds that dev has examples of come first and share half of the loss: half way between the speech that may be
    lost and the top of their own examples, for speech of a language not heard here lies lower than ours. A kind
    without examples is rejected where it is likelier than speech, as trained. None ever costs more than allowed, nor
    more of the events than `EVENT_LOSS`.
    """
    at = 1 + len(config.events)
    events = (heard.kind > 0) & (heard.kind < at)
    over = heard.sound[:, at:] - _together(heard.sound[:, :at])[:, None]
    speech = heard.kind == 0
    lost = np.zeros(int(speech.sum()), np.bool_)
    known = [bool((heard.kind == at + number).any()) for number in range(len(config.rejected))]
    shifts = np.zeros(len(config.rejected), np.float32)
    turn = 0
    for number in sorted(range(len(shifts)), key=lambda n: not known[n]):
        turn += known[number]
        share = speech_loss * KNOWN_SHARE * turn / sum(known) if known[number] else speech_loss
        values = over[speech, number]
        bound = least_shift(values, lost, heard.corpus[speech], share, corpus_loss)
        if events.any():
            bound = max(bound, float(np.quantile(over[events, number], 1 - EVENT_LOSS)))
        own = over[heard.kind == at + number, number]
        shifts[number] = max(bound, (bound + np.quantile(own, 1 - TOP)) / 2 if known[number] else 0.0)
        lost |= values > shifts[number]
    return shifts


def least_shift(
    values: Floats, lost: Flags, corpus: npt.NDArray[np.str_], speech_loss: float, corpus_loss: float
) -> float:
    """The least shift that loses no more speech than allowed, with what is lost already; just above a value.

    >>> least_shift(np.array([3.0, 1.0, 2.0, 0.0]), np.zeros(4, bool), np.array(["a"] * 4), 0.25, 1.0)
    2.0
    """
    names, places, counts = np.unique(corpus, return_inverse=True, return_counts=True)
    allowed = np.maximum(1, np.floor(corpus_loss * counts + 1e-9))
    gone = np.bincount(places[lost], minlength=len(names))
    most = speech_loss * len(values) + 1e-9
    order = np.argsort(-values)
    for number in order:
        if lost[number]:
            continue
        gone[places[number]] += 1
        if gone.sum() > most or gone[places[number]] > allowed[places[number]]:
            return float(values[number])
    return float(values[order[-1]]) if len(order) else 0.0


def judge(config: HeadConfig, heard: Heard, shift: Floats) -> tuple[Flags, Floats, Flags]:
    """As the service would: clips rejected [N]; the likeliest event's posterior [N], 0 where rejected; is it right."""
    at = 1 + len(config.events)
    sound = heard.sound.copy()
    sound[:, at:] -= shift
    rejected = sound[:, at:].max(axis=1) > _together(sound[:, :at])
    posterior = np.exp(sound - _together(sound)[:, None])[:, 1:at]
    if not config.events:
        return rejected, np.zeros(len(sound), np.float32), np.zeros(len(sound), np.bool_)
    named = np.where(rejected, 0.0, posterior.max(axis=1)).astype(np.float32)
    return rejected, named, heard.kind == 1 + posterior.argmax(axis=1)


def event_threshold(named: Floats, right: Flags, precision: float) -> float:
    """The least posterior at which so many of the named events are right; `NEVER` where nothing is worth naming.

    Where the precision can't be had with at least five clips named, the threshold with the best there is.

    >>> event_threshold(np.array([0.9, 0.8, 0.7, 0.6, 0.5, 0.4]), np.array([1, 1, 1, 1, 1, 0], bool), 0.9)
    0.5
    """
    order = np.argsort(-named)
    order = order[named[order] > 0]
    if len(order) < FEWEST_NAMED:
        return NEVER
    reached = np.cumsum(right[order]) / np.arange(1, len(order) + 1)
    reached[: FEWEST_NAMED - 1] = 0.0
    good = np.flatnonzero(reached >= min(precision, reached.max()))
    return float(named[order[good[-1]]]) if reached.max() > 0 else NEVER


def dev_figures(
    config: HeadConfig, heard: Heard, rejected: Flags, named: Flags, right: Flags
) -> dict[str, float]:
    """Shares of dev: what is rejected of each kind, of all speech and at most of one corpus; how events are named."""
    figures = {
        f"rejected_{config.sounds[number]}": float(rejected[heard.kind == number].mean())
        for number in np.unique(heard.kind)
    }
    speech = heard.kind == 0
    worst = [rejected[heard.corpus == name].mean() for name in np.unique(heard.corpus[speech])]
    events = (heard.kind > 0) & (heard.kind <= len(config.events))
    figures["rejected_speech_worst_corpus"] = float(max(worst, default=0.0))
    figures["event_named_in_speech"] = _share(named, speech)
    figures["event_precision"] = _share(right, named)
    figures["event_recall"] = _share(named & right, events)
    return figures


def _share(flags: Flags, of: Flags) -> float:
    return float(flags[of].mean()) if of.any() else 0.0


def _together(logits: Floats) -> Floats:
    """Log Σ exp over kinds, [N]."""
    top = logits.max(axis=1)
    together: Floats = top + np.log(np.exp(logits - top[:, None]).sum(axis=1))
    return together


def holds_shifts(head: LineRelativeHead, shift: Sequence[float]) -> bool:
    """Whether the head was set to the shifts that were chosen."""
    return np.allclose(head.sound_shift.numpy(), np.asarray(shift, np.float32), atol=1e-6)
