"""What is held of a call, in numbers: counted before it is erased, and looked for afterwards."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from operator import add
from typing import Any, Self

from app.results.documents import DocumentStore
from app.results.store import CallNotFoundError, CallState, ResultStore

FEEDBACK = "feedback"
DEAD_LETTER = "dead_letter"
_PAGE = 500


@dataclass(frozen=True, slots=True)
class Found:
    """What is held. calls: 1 or 0 of one call. started_at: epoch seconds, 0 where the call itself is not held."""

    calls: int = 0
    records: int = 0
    metadata: int = 0
    feedback: int = 0
    dead_letters: int = 0
    live: bool = False
    started_at: float = 0.0

    @property
    def anything(self) -> bool:
        """Whether something is held."""
        return bool(self.calls or self.feedback or self.dead_letters)

    def __add__(self, other: Found) -> Found:
        return self._each(other, add)

    def at_least(self, other: Found) -> Found:
        """The larger of each count: what is counted a second time, half erased, is not more than it was."""
        return self._each(other, max)

    def _each(self, other: Found, of: Callable[[int, int], int]) -> Found:
        mine, others = self.body(), other.body()
        return Found.from_body({name: of(count, others[name]) for name, count in mine.items()})

    def body(self) -> dict[str, int]:
        """The counts, as a receipt and queued work have them."""
        return {
            "calls": self.calls,
            "records": self.records,
            "metadata": self.metadata,
            "feedback": self.feedback,
            "dead_letters": self.dead_letters,
        }

    @classmethod
    def from_body(cls, body: Mapping[str, Any]) -> Self:
        """What `body` made."""
        return cls(**body)


class Traces:
    """Looks for calls and what belongs to them."""

    def __init__(self, store: ResultStore, documents: DocumentStore) -> None:
        self._store = store
        self._documents = documents

    async def of_call(self, tenant: str, call_id: str) -> Found:
        """What is held of a call.

        Raises:
            StoreAwayError: nobody can say.
        """
        feedback = await self._count(tenant, FEEDBACK, call_id)
        letters = await self._count(tenant, DEAD_LETTER, call_id)
        with contextlib.suppress(CallNotFoundError):
            info = await self._store.get_call(tenant, call_id)
            return Found(
                1,
                max(info.utterances - info.dropped, 0),
                len(info.metadata),
                feedback,
                letters,
                info.state is CallState.ACTIVE,
                info.started_at,
            )
        return Found(feedback=feedback, dead_letters=letters)

    async def calls_of(self, tenant: str, subject: str) -> list[str]:
        """Ids of the subject's calls, those included of which only feedback is left."""
        found = dict.fromkeys(await self._store.calls_of_subject(tenant, subject))
        cursor: str | None = None
        while True:
            page = await self._documents.list(tenant, FEEDBACK, cursor=cursor, limit=_PAGE)
            for item in page.items:
                if item.call_id is not None and item.value.get("subject") == subject:
                    found[item.call_id] = None
            cursor = page.next
            if cursor is None:
                return list(found)

    async def _count(self, tenant: str, kind: str, call_id: str) -> int:
        count, cursor = 0, None
        while True:
            page = await self._documents.list(tenant, kind, cursor=cursor, limit=_PAGE, call_id=call_id)
            count += len(page.items)
            cursor = page.next
            if cursor is None:
                return count
