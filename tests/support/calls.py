"""Calls to push into sessions: synthetic speech, a voice detector and a tokenizer that tests can predict."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from app.audio.g711 import encode
from app.audio.level import energy_dbfs
from app.domain import AudioFormat, CallStart, Encoding, FloatArray, Leg, TokenArray, Utterance
from app.session import InterimReady, SessionEvent, SessionParts, UtteranceReady

Pcm = npt.NDArray[np.int16]
Talk = Sequence[tuple[int, int]]
"""Turns of one leg: (milliseconds of silence, milliseconds of speech) each."""

HOP_SAMPLES = 320
BOTH = (Leg.CUSTOMER, Leg.AGENT)


class LoudnessVad:
    """Speech is what is louder than -40 dBFS."""

    def judge(self, frame: FloatArray) -> tuple[bool, float]:
        """Whether a frame is loud, and how loud."""
        energy_db = energy_dbfs(frame)
        return energy_db > -40.0, energy_db


class SumTokens:
    """Tokens [1, T]: each says how many hops were heard since the reset, and how the last one sounded."""

    def __init__(self) -> None:
        self.resets = 0
        self._pieces: list[FloatArray] = []

    def push(self, samples: FloatArray) -> None:
        """Keep the samples (a copy: the caller's buffer is reused)."""
        self._pieces.append(samples.copy())

    def reset(self) -> None:
        """Forget them."""
        self.resets += 1
        self._pieces = []

    def tokens(self, n_samples: int) -> TokenArray:
        """One token for each whole hop of the first n samples."""
        return sum_tokens(np.concatenate([*self._pieces, np.zeros(0, np.float32)])[:n_samples])


def sum_tokens(samples: FloatArray) -> TokenArray:
    """What `SumTokens` says of audio heard from a reset on."""
    hops = samples[: len(samples) // HOP_SAMPLES * HOP_SAMPLES].reshape(-1, HOP_SAMPLES)
    sums = np.rint(hops * 32_768).astype(np.int64).sum(axis=1)
    tokens: TokenArray = sums * 1000 + np.arange(len(hops))
    return tokens[np.newaxis]


def parts(**fields: Any) -> SessionParts:
    """Session parts with the predictable detector and tokenizer."""
    return SessionParts(**({"new_token_stream": SumTokens, "new_vad": LoudnessVad} | fields))


def call(
    rate_hz: int = 8_000,
    encoding: Encoding = Encoding.PCM_S16LE,
    channels: tuple[Leg, ...] = BOTH,
    separate: bool = False,
    **fields: Any,
) -> CallStart:
    """A call named `c`."""
    return CallStart("c", AudioFormat(encoding, rate_hz, channels, separate), **fields)


def talk(turns: Talk, rate_hz: int = 8_000, seed: int = 0) -> Pcm:
    """One leg's audio: digital silence, and noise of changing loudness for speech."""
    rng = np.random.default_rng(seed)
    pieces = [np.zeros(0)]
    for silence_ms, speech_ms in turns:
        pieces.append(np.zeros(silence_ms * rate_hz // 1000))
        length = speech_ms * rate_hz // 1000
        loudness = 3_000 * (1.5 + np.sin(np.arange(length) * (12.0 / rate_hz)))
        pieces.append(rng.uniform(-1, 1, length) * loudness)
    return np.rint(np.concatenate(pieces)).astype(np.int16)


def interleaved(legs: Sequence[Pcm], encoding: Encoding = Encoding.PCM_S16LE) -> bytes:
    """Legs as wire bytes, the shorter ones filled with silence."""
    longest = max(len(leg) for leg in legs)
    padded = [np.pad(leg, (0, longest - len(leg))) for leg in legs]
    return encode(np.stack(padded, axis=1).reshape(-1), encoding)


def cut(payload: bytes, sizes: Sequence[int]) -> Iterator[bytes]:
    """The payload in messages of the given sizes, over and over."""
    start = turn = 0
    while start < len(payload):
        size = sizes[turn % len(sizes)]
        yield payload[start : start + size]
        start += size
        turn += 1


def comparable(events: Sequence[SessionEvent]) -> list[object]:
    """Events as values that `==` compares (arrays are lists)."""
    return [
        (type(event).__name__, _values(event.utterance))
        if isinstance(event, UtteranceReady | InterimReady)
        else event
        for event in events
    ]


def utterances(events: Sequence[SessionEvent]) -> list[Utterance]:
    """The complete utterances among events."""
    return [event.utterance for event in events if isinstance(event, UtteranceReady)]


def _values(utterance: Utterance) -> dict[str, object]:
    fields = {name: getattr(utterance, name) for name in Utterance.__dataclass_fields__}
    return fields | {"tokens": None if utterance.tokens is None else utterance.tokens.tolist()}
