"""What a process knows of calls without asking the store."""

from __future__ import annotations

from dataclasses import replace

from app.results.asker import Answer
from app.results.codec import CallKey, call_key
from app.results.store import CallActiveError, CallExistsError, CallInfo, Stored
from app.results.writes import AddMetadata, CloseCall, EraseCall, OpenCall, Write

MAX_RECENT = 10_000
"""Calls that have ended of which the id is remembered."""


class KnownCalls:
    """The calls this process opened, and those that wait in its spool."""

    def __init__(self) -> None:
        self._live: dict[CallKey, OpenCall] = {}
        self._recent: dict[CallKey, OpenCall] = {}  # ended, the oldest first
        self._ending: dict[CallKey, OpenCall] = {}  # ended, but that waits in the spool
        self._replayed: dict[CallKey, OpenCall] = {}  # of dead processes, while the spool is being emptied
        self._waiting: set[CallKey] = set()
        self._disowned: set[CallKey] = set()

    def opening(self, key: CallKey) -> OpenCall | None:
        """How a call was opened that is live, or of which the end waits in the spool."""
        return self._live.get(key) or self._ending.get(key) or self._replayed.get(key)

    def is_live(self, key: CallKey | None) -> bool:
        """Whether this process works the call."""
        return key in self._live

    def is_disowned(self, write: Write) -> bool:
        """Whether a change is about a call whose id turned out to be somebody else's."""
        return bool(self._disowned) and call_key(write) in self._disowned and not isinstance(write, EraseCall)

    def disown(self, opening: OpenCall) -> None:
        """Notes that the id of a call is somebody else's."""
        key = call_key(opening)
        if key is not None:
            self._disowned.add(key)

    def refuse_disowned(self, write: Write) -> Answer | None:
        """The answer to a change of a call whose id is somebody else's; None for any other."""
        key = call_key(write)
        if key is None or not self.is_disowned(write):
            return None
        if isinstance(write, CloseCall):  # the last that comes of it
            self._live.pop(key, None)
            self._disowned.discard(key)
        return CallExistsError(f"call {key[1]} is somebody else's")

    def answer_alone(self, write: Write) -> Answer | None:
        """The answer to a change that the store cannot be asked about, where this process knows it."""
        key = call_key(write)
        if isinstance(write, EraseCall) and key in self._live:
            return CallActiveError(f"call {write.call_id} has not ended")
        if isinstance(write, OpenCall) and key is not None:
            before = self.opening(key) or self._recent.get(key)
            if before is not None and _same(before.call, write.call):
                return Stored(duplicate=True, waiting=key in self._waiting)
            if before is not None or key in self._waiting:
                return CallExistsError(f"call {write.call.call_id} is known already")
        return None

    def took(self, write: Write, *, waiting: bool) -> None:
        """Notes a change that was accepted. waiting: it lies in the spool."""
        key = call_key(write)
        if key is None:
            return
        if waiting:
            self._waiting.add(key)
        match write:
            case OpenCall():
                self._recent.pop(key, None)
                self._live[key] = write
            case AddMetadata() if key in self._live:
                opening = self._live[key]
                metadata = {**opening.call.metadata, **write.values}
                self._live[key] = replace(opening, call=replace(opening.call, metadata=metadata))
            case CloseCall() if key in self._live:
                self._recent[key] = self._live.pop(key)
                if waiting:
                    self._ending[key] = self._recent[key]
                if len(self._recent) > MAX_RECENT:
                    del self._recent[next(iter(self._recent))]
            case EraseCall():
                for calls in (self._recent, self._ending, self._replayed):
                    calls.pop(key, None)

    def resumed(self, call: CallInfo, opening: OpenCall) -> None:
        """Notes a call that was taken up again."""
        self._recent.pop((call.tenant, call.call_id), None)
        self._live[call.tenant, call.call_id] = opening

    def waits(self, key: CallKey) -> None:
        """Notes that something of a call lies in the spool."""
        self._waiting.add(key)

    def carried_out(self, write: Write) -> None:
        """Notes that the store took a change that had waited."""
        key = call_key(write)
        if key is None:
            return
        if isinstance(write, OpenCall) and self.opening(key) is None:
            self._replayed[key] = write
        elif isinstance(write, CloseCall):
            self._ending.pop(key, None)
            self._replayed.pop(key, None)

    def settle(self) -> None:
        """Notes that nothing waits any more."""
        self._waiting.clear()
        self._replayed.clear()
        self._ending.clear()
        self._disowned.intersection_update(self._live)


def _same(one: CallInfo, other: CallInfo) -> bool:
    """Whether it is the same opening of a call, told twice."""
    return bool(one.owner) and (one.owner, one.started_at) == (other.owner, other.started_at)
