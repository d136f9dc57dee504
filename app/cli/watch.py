"""What the service finds out about calls that are played, by asking it: most carriers tell nothing on their wire."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import TypeVar

from app.client import ApiError, AsyncClient
from app.client.shapes import Utterance
from app.playing import Message

T = TypeVar("T")

POLL_S = 0.5
PATIENCE_S = 60.0
"""The longest wait for the end of a call that was played to its end."""
UNKNOWN_S = 1.0
"""The longest wait for one that the service does not know by then."""
_NOT_FOUND = 404


class Watch:
    """Follows calls over `/v1/calls`. show: gets `utterance` and `summary` messages as the native protocol has them.

    Methods raise `KowairoError` where the service cannot be asked.
    """

    def __init__(self, client: AsyncClient, show: Callable[[Message], None]) -> None:
        self._client = client
        self._show = show
        self._taken: set[str] = set()

    async def id_of_next(self, call_id: str) -> str:
        """The id under which a call that is about to begin will be found: the service numbers those that are taken."""
        number, candidate = 1, call_id
        while candidate in self._taken or await found(self._client.call(candidate)) is not None:
            number += 1
            candidate = f"{call_id}.{number}"
        self._taken.add(candidate)
        return candidate

    async def follow(self, call_id: str, played: asyncio.Event) -> bool:
        """Show the records of a call until it has ended and its summary was shown.

        played: set when the carrier's side is over. False: the service does not know the call, or did not end it in
        time.
        """
        records = _Records(self._client, call_id)
        while not played.is_set():
            await self._show_new(records)
            await _either(played, POLL_S)
        now = asyncio.get_running_loop().time
        over = now()
        pause_s = POLL_S / 16
        while True:
            call = await found(self._client.call(call_id))
            await self._show_new(records)  # after the state was seen, so that the last ones are among them
            if call is not None and call.state == "ended":
                self._show({"type": "summary", "call_id": call_id, **(call.summary or {})})
                return True
            if now() - over > (UNKNOWN_S if call is None else PATIENCE_S):
                return False
            await asyncio.sleep(pause_s)
            pause_s = min(2 * pause_s, POLL_S)

    async def _show_new(self, records: _Records) -> None:
        async for record in records.new():
            self._show({"type": "utterance", **record.model_dump()})


class _Records:
    """The records of one call, each once."""

    def __init__(self, client: AsyncClient, call_id: str) -> None:
        self._client = client
        self._call_id = call_id
        self._next = 1

    async def new(self) -> AsyncIterator[Utterance]:
        """Those that were not there before."""
        while True:
            page = await found(self._client.records(self._call_id, from_seq=self._next))
            if page is None:
                return
            for record in page.items:
                self._next = (record.seq or 0) + 1
                yield record
            if page.next is None:
                return


async def found(asked: Awaitable[T]) -> T | None:
    """An answer; None where there is no such thing.

    Raises:
        KowairoError: the service cannot be asked.
    """
    try:
        return await asked
    except ApiError as error:
        if error.status == _NOT_FOUND:
            return None
        raise


async def _either(event: asyncio.Event, seconds: float) -> None:
    """Return when it is set, or the time is over."""
    try:
        async with asyncio.timeout(seconds):
            await event.wait()
    except TimeoutError:
        pass
