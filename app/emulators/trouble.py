"""What goes wrong on the way: loss, reordering, jitter, pauses, keys, a cut connection. Pure, the same for a seed.

Each kind of trouble draws from a stream of its own, so that asking for more jitter does not change what is lost.
Only audio is troubled; what a carrier says besides arrives as it was said.
"""

from __future__ import annotations

import math
import random
from collections.abc import Sequence
from dataclasses import dataclass, field

from app.emulators.base import FRAME_S, Message


@dataclass(frozen=True, slots=True)
class Stretch:
    """A pause: when it begins in the call, and how long it lasts."""

    at_s: float
    for_s: float


@dataclass(frozen=True, slots=True)
class Key:
    """A key that is pressed at a time of the call."""

    at_s: float
    digit: str


@dataclass(frozen=True, slots=True)
class Trouble:
    """What is asked for; nothing by default.

    loss, reorder, duplicate: share of audio messages that are dropped, of frames that change places with their
    successor, of messages that come twice, each in [0, 1]. jitter_s: the longest delay of a frame. pauses: the carrier
    stops the audio. keys: pressed. drop_at_s: the connection is cut there without a farewell; reconnect: and the
    rest of the call goes over a new one. seed: of all chance.
    """

    loss: float = 0.0
    reorder: float = 0.0
    duplicate: float = 0.0
    jitter_s: float = 0.0
    pauses: tuple[Stretch, ...] = ()
    keys: tuple[Key, ...] = ()
    drop_at_s: float | None = None
    reconnect: bool = False
    seed: int = 0

    def keys_at(self, frame: int) -> list[str]:
        """The keys that are pressed before this frame, in the order given."""
        return [key.digit for key in self.keys if frame_at(key.at_s) == frame]

    def paused_at(self, frame: int) -> bool:
        """Whether the carrier keeps this frame back."""
        return any(
            frame_at(pause.at_s) <= frame < frame_at(pause.at_s) + frame_at(pause.for_s)
            for pause in self.pauses
        )

    def cut_at(self, frame: int) -> bool:
        """Whether the connection is cut before this frame."""
        return self.drop_at_s is not None and frame == frame_at(self.drop_at_s)


NO_TROUBLE = Trouble()


def frame_at(seconds: float) -> int:
    """The frame that begins at a time of the call, or nearest to it."""
    return round(seconds / FRAME_S)


@dataclass(slots=True)
class Tally:
    """What became of audio messages: sent = given - lost + duplicated, but for one frame that a cut may hold back."""

    given: int = 0
    lost: int = 0
    duplicated: int = 0
    swapped: int = 0
    sent: int = 0


@dataclass(slots=True)
class Network:
    """The way of one leg's or call's audio: every frame's messages go through `carry`, what it gives is sent.

    stream: tells the connections of one call apart, so that each has chances of its own.
    """

    trouble: Trouble
    stream: str = ""
    tally: Tally = field(default_factory=Tally)
    _held: list[Message] = field(default_factory=list)
    _chances: dict[str, random.Random] = field(default_factory=dict)

    def carry(self, messages: Sequence[Message]) -> list[Message]:
        """The messages of one frame go in; those that arrive now come out.

        A frame that changes places waits for its successor and comes right after it; the successor itself does not
        wait. A frame without messages (a carrier that gathers longer packets) is no successor.
        """
        if not messages:
            return []
        arriving = self._survivors(messages)
        held, self._held = self._held, []
        if not held and self._happens("reorder", self.trouble.reorder):
            # What was lost whole cannot change places: the frames beside it stay in order.
            self._held = arriving
            return []
        if held and arriving:
            self.tally.swapped += 1
        return self._sent([*arriving, *held])

    def flush(self) -> list[Message]:
        """What still waits for a successor that will not come."""
        held, self._held = self._held, []
        return self._sent(held)

    def delay_s(self) -> float:
        """How much later than its time the next frame leaves."""
        if self.trouble.jitter_s <= 0:
            return 0.0
        return self._chance("jitter").uniform(0.0, self.trouble.jitter_s)

    def _survivors(self, messages: Sequence[Message]) -> list[Message]:
        arriving: list[Message] = []
        self.tally.given += len(messages)
        for message in messages:
            lost = self._happens("loss", self.trouble.loss)
            twice = self._happens("duplicate", self.trouble.duplicate)
            if lost:
                self.tally.lost += 1
                continue
            arriving.append(message)
            if twice:
                self.tally.duplicated += 1
                arriving.append(message)
        return arriving

    def _sent(self, messages: list[Message]) -> list[Message]:
        self.tally.sent += len(messages)
        return messages

    def _happens(self, kind: str, share: float) -> bool:
        return share > 0.0 and self._chance(kind).random() < share

    def _chance(self, kind: str) -> random.Random:
        if kind not in self._chances:
            self._chances[kind] = random.Random(f"{self.trouble.seed}/{self.stream}/{kind}")
        return self._chances[kind]


def parse_pause(text: str) -> Stretch:
    """`12:8`, at 12 s for 8 s.

    Raises:
        ValueError: it is not of that form.
    """
    at, separator, length = text.partition(":")
    pause = Stretch(_seconds(at), _seconds(length)) if separator else None
    if pause is None or pause.for_s <= 0:
        raise ValueError(f"expected AT:SECONDS such as 12:8, got {text}")
    return pause


def parse_key(text: str) -> Key:
    """`5.0:1`, at 5 s the key 1.

    Raises:
        ValueError: it is not of that form.
    """
    at, _, digit = text.partition(":")
    if len(digit) != 1 or digit not in "0123456789*#ABCD":
        raise ValueError(f"expected AT:KEY such as 5.0:1, got {text}")
    return Key(_seconds(at), digit)


def _seconds(text: str) -> float:
    seconds = float(text)
    if not math.isfinite(seconds) or seconds < 0:
        raise ValueError(f"expected seconds of at least 0, got {text}")
    return seconds
