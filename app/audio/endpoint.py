"""Where utterances begin and end: a pure state machine over voiced and unvoiced frames.

Frame numbers are positions on one leg's frame grid; intervals are half open, [start_frame, end_frame).
Every frame ends up either in silence or in exactly one utterance or dropped blip, and these never overlap.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass

import numpy as np

from app.audio.vad import FRAME_MS

_QUIET_SPAN = 5
"""Frames averaged in search of the quietest point: 100 ms, so that one soft frame in a word does not win."""


@dataclass(frozen=True, slots=True)
class EndpointConfig:
    """When speech begins and ends. Times are rounded down to frames of `FRAME_MS`.

    start_voiced_frames of the last start_window_frames voiced: speech begins, at the first of them.
    pre_roll_ms: kept before that first voiced frame (soft onsets), never reaching into an earlier utterance.
    hangover_ms: silence that ends an utterance.
    trailing_ms: how much of that silence the utterance keeps (soft endings).
    long_utterance_s, long_hangover_ms: an utterance this long ends at a shorter silence, so that someone who
        hardly pauses is cut between phrases, before the maximum cuts anywhere.
    min_speech_ms: with less voiced audio it was a blip, no utterance, unless it goes on from a forced cut.
    max_utterance_s: longer speech is cut at its quietest point in the last third.

    Raises:
        ValueError: values that contradict each other; the message names them.
    """

    start_window_frames: int = 10
    start_voiced_frames: int = 6
    pre_roll_ms: int = 200
    hangover_ms: int = 500
    trailing_ms: int = 200
    min_speech_ms: int = 200
    long_utterance_s: float = 6.0
    long_hangover_ms: int = 300
    max_utterance_s: float = 15.0

    def __post_init__(self) -> None:
        if not 1 <= self.start_voiced_frames <= self.start_window_frames:
            raise ValueError(
                "start_voiced_frames must lie between 1 and start_window_frames "
                f"({self.start_window_frames}), got {self.start_voiced_frames}"
            )
        if min(self.pre_roll_ms, self.trailing_ms, self.min_speech_ms) < 0:
            raise ValueError("pre_roll_ms, trailing_ms and min_speech_ms must not be negative")
        if min(self.hangover_ms, self.long_hangover_ms) < FRAME_MS:
            raise ValueError(f"hangover_ms and long_hangover_ms must be at least {FRAME_MS}")
        # Otherwise the maximum could strike before there is speech on both sides of a cut.
        shortest_s = 2 * (self.lookback_frames + self.trailing_frames + _QUIET_SPAN) * FRAME_MS / 1000
        if self.max_utterance_s < shortest_s:
            raise ValueError(
                f"max_utterance_s must be at least {shortest_s} with this start window, pre-roll and "
                f"trailing_ms, got {self.max_utterance_s}"
            )

    @property
    def lookback_frames(self) -> int:
        """How far before the frame that reveals it speech can start: the silence that a caller must keep."""
        return self.start_window_frames - 1 + self.pre_roll_ms // FRAME_MS

    @property
    def trailing_frames(self) -> int:
        """`trailing_ms` in frames."""
        return self.trailing_ms // FRAME_MS

    @property
    def max_frames(self) -> int:
        """`max_utterance_s` in frames: an utterance's start is never further back, when it ends or is cut."""
        return int(self.max_utterance_s * 1000) // FRAME_MS

    @property
    def search_frames(self) -> int:
        """How far before the frame that reaches the maximum the cut can lie."""
        return self.max_frames // 3

    @property
    def hangover_frames(self) -> int:
        """`hangover_ms` in frames: the longest that an utterance waits for its end."""
        return self.hangover_ms // FRAME_MS


@dataclass(frozen=True, slots=True)
class SpeechStarted:
    """Speech began at `start_frame`, up to `lookback_frames` before the frame that revealed it.

    After a forced cut it is where the next utterance goes on, up to a third of the maximum back.
    """

    start_frame: int


@dataclass(frozen=True, slots=True)
class UtteranceEnded:
    """An utterance is complete; `forced`: the maximum cut it, and the next one starts at `end_frame`."""

    start_frame: int
    end_frame: int
    voiced_frames: int
    forced: bool


@dataclass(frozen=True, slots=True)
class SpeechDropped:
    """What had started was a blip (a click, a knock), not an utterance."""

    start_frame: int
    end_frame: int


EndpointEvent = SpeechStarted | UtteranceEnded | SpeechDropped


@dataclass(slots=True)
class _Speech:
    """Speech in flight: what was heard in each frame from its start, at most max_frames of them."""

    start: int
    voiced: list[bool]
    energy_db: list[float]
    last_voiced: int
    continues: bool = False


class Endpointer:
    """One leg's endpointer: `push` its frames in order, `flush` at the end, at a pause or on demand."""

    def __init__(self, config: EndpointConfig) -> None:
        self._config = config
        self._hangover = config.hangover_frames
        self._long = config.long_utterance_s * 1000 // FRAME_MS
        self._long_hangover = min(config.hangover_ms, config.long_hangover_ms) // FRAME_MS
        self._next_frame = 0
        self._earliest_start = 0
        self._recent: deque[tuple[bool, float]] = deque(maxlen=config.lookback_frames + 1)
        self._speech: _Speech | None = None

    @property
    def in_speech(self) -> bool:
        """True between SpeechStarted and the end of that speech."""
        return self._speech is not None

    def push(self, frame_index: int, voiced: bool, energy_db: float) -> tuple[EndpointEvent, ...]:
        """Take the leg's next frame; most give no event, a forced cut gives its end and the next start.

        Frames may be left out only outside speech (after a flush); no utterance reaches over the hole.

        Raises:
            ValueError: a frame out of order, or one missing while speech goes on.
        """
        if frame_index != self._next_frame:
            if frame_index < self._next_frame or self._speech is not None:
                raise ValueError(f"expected frame {self._next_frame}, got {frame_index}")
            self._recent.clear()
            self._earliest_start = frame_index
        self._next_frame = frame_index + 1
        if self._speech is None:
            return self._listen(frame_index, voiced, energy_db)
        return self._follow(self._speech, frame_index, voiced, energy_db)

    def flush(self) -> tuple[EndpointEvent, ...]:
        """End the utterance in flight, if any, with what has been heard; the next one starts after it."""
        events: tuple[EndpointEvent, ...] = () if self._speech is None else (self._end(self._speech),)
        self._recent.clear()
        self._earliest_start = self._next_frame
        return events

    def _listen(self, frame: int, voiced: bool, energy_db: float) -> tuple[EndpointEvent, ...]:
        recent, config = self._recent, self._config
        recent.append((voiced, energy_db))
        if not voiced:
            return ()
        window = [heard for heard, _ in recent][-config.start_window_frames :]
        if sum(window) < config.start_voiced_frames:
            return ()
        first_voiced = frame + 1 - len(window) + window.index(True)
        start = max(self._earliest_start, first_voiced - config.pre_roll_ms // FRAME_MS)
        kept = list(recent)[start - frame - 1 :]
        self._speech = _Speech(start, [heard for heard, _ in kept], [energy for _, energy in kept], frame)
        return (SpeechStarted(start),)

    def _follow(
        self, speech: _Speech, frame: int, voiced: bool, energy_db: float
    ) -> tuple[EndpointEvent, ...]:
        speech.voiced.append(voiced)
        speech.energy_db.append(energy_db)
        if voiced:
            speech.last_voiced = frame
        silence, length = frame - speech.last_voiced, len(speech.voiced)
        if silence >= (self._hangover if length < self._long else self._long_hangover):
            return (self._end(speech),)
        if length < self._config.max_frames:
            return ()
        if silence > 0 and silence >= self._config.trailing_frames:  # the maximum falls into a pause
            return (self._end(speech),)
        return self._cut(speech)

    def _end(self, speech: _Speech) -> UtteranceEnded | SpeechDropped:
        end = min(speech.last_voiced + 1 + self._config.trailing_frames, self._next_frame)
        voiced_frames = sum(speech.voiced)
        self._speech = None
        self._earliest_start = end
        # What the utterance leaves of its hang-over is silence, and may be the next one's pre-roll.
        kept = end - speech.start
        self._recent.clear()
        self._recent.extend(zip(speech.voiced[kept:], speech.energy_db[kept:], strict=True))
        if voiced_frames * FRAME_MS < self._config.min_speech_ms and not speech.continues:
            return SpeechDropped(speech.start, end)
        return UtteranceEnded(speech.start, end, voiced_frames, forced=False)

    def _cut(self, speech: _Speech) -> tuple[EndpointEvent, ...]:
        """End the utterance at its quietest late point and go on from there, voiced audio on both sides."""
        last = speech.last_voiced - speech.start
        first = min(len(speech.voiced) - self._config.search_frames, last)
        offset = quietest(speech.energy_db, first, last)
        cut = speech.start + offset
        ended = UtteranceEnded(speech.start, cut, sum(speech.voiced[:offset]), forced=True)
        self._speech = _Speech(
            cut, speech.voiced[offset:], speech.energy_db[offset:], speech.last_voiced, continues=True
        )
        return ended, SpeechStarted(cut)


def quietest(energy_db: list[float], first: int, last: int) -> int:
    """Index in [first, last] around which the mean energy of 5 frames (fewer at the edges) is lowest."""
    half = _QUIET_SPAN // 2
    energies = np.asarray(energy_db)
    means = [energies[max(0, at - half) : at + half + 1].mean() for at in range(first, last + 1)]
    return first + int(np.argmin(means))
