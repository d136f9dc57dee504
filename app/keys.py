"""Keys that pause and resume a call for a payment, as a site configures them for a line."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from enum import Enum, auto

MAX_KEYS = 16
_KEYS = frozenset("0123456789*#ABCD")


class KeyAction(Enum):
    """What a sequence of keys asks for."""

    PAUSE = auto()
    RESUME = auto()


@dataclass(frozen=True, slots=True)
class KeyRules:
    """The sequences of a line; None where there is none.

    Raises:
        ValueError: a sequence that no telephone can send, or the same one for both.
    """

    pause: str | None = None
    resume: str | None = None

    def __post_init__(self) -> None:
        for name, keys in (("pause", self.pause), ("resume", self.resume)):
            if keys is not None and not (1 <= len(keys) <= MAX_KEYS and set(keys) <= _KEYS):
                raise ValueError(f"{name} keys: expected 1 to {MAX_KEYS} of 0-9 * # A-D, got {keys!r}")
        if self.pause is not None and self.pause == self.resume:
            raise ValueError(f"expected different keys to pause and to resume, got {self.pause!r} for both")


class KeyWatch:
    """The keys of one call as they come; remembers no more of them than a sequence is long."""

    def __init__(self, rules: KeyRules) -> None:
        self._rules = rules
        longest = max(len(rules.pause or ""), len(rules.resume or ""), 1)
        self._last: deque[str] = deque(maxlen=longest)

    def press(self, digit: str, paused: bool) -> KeyAction | None:
        """Take a key; what the sequence that it completes asks for. paused: whether these keys have paused the call."""
        self._last.append(digit)
        wanted = self._rules.resume if paused else self._rules.pause
        if wanted is None or not "".join(self._last).endswith(wanted):
            return None
        self._last.clear()
        return KeyAction.RESUME if paused else KeyAction.PAUSE
