"""Whether what Redis has answered is on its disk."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal

QUESTIONS: tuple[tuple[str, ...], ...] = (
    ("CONFIG", "GET", "appendonly"),
    ("CONFIG", "GET", "appendfsync"),
    ("INFO", "persistence"),
)
"""Commands whose answers `Durability.note` takes."""


class Durability:
    """What is known of it, by server.

    With `appendonly yes` and `appendfsync always` Redis writes its log and waits for the disk before it sends the
    answers of the commands in it: who has the answer knows that a killed Redis comes back with it. Nothing weaker
    counts (`everysec` loses a second). A restart may change these, and cuts every connection; so every new connection
    asks again before it carries anything else. Where Redis refuses to say, `mode` decides (`auto`: not durable).
    """

    def __init__(self, mode: Literal["auto", "yes", "no"]) -> None:
        self._mode = mode
        self._servers: dict[str, bool] = {}

    @property
    def now(self) -> bool:
        """Whether every server is durable, as the newest connection to each was told."""
        if self._mode != "auto":
            return self._mode == "yes"
        return bool(self._servers) and all(self._servers.values())

    def note(self, server: str, answers: Sequence[Any]) -> bool:
        """Takes what a server answered to `QUESTIONS`; an exception in place of what it refused.

        Returns whether what goes over this connection is durable.
        """
        appendonly, appendfsync, persistence = answers
        loaded = not isinstance(persistence, str) or "loading:0" in persistence.splitlines()
        durable = _value(appendonly) == "yes" and _value(appendfsync) == "always" and loaded
        self._servers[server] = durable
        return durable if self._mode == "auto" else self._mode == "yes"


def _value(answer: Any) -> str | None:
    match answer:
        case Mapping():
            return next((str(value) for value in answer.values()), None)
        case [_, value]:
            return str(value)
    return None
