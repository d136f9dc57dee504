"""Reading a store page by page on behalf of a request."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator

from app.api.queries import CALL_ID
from app.domain import UtteranceRecord
from app.results.store import CallFilter, CallInfo, CallNotFoundError, Page, ResultStore

READ_CHUNK = 500
_MAX_READS = 20
_UTTERANCE_ID = re.compile(rf"({CALL_ID})\.(customer|agent|mixed)\.(\d{{4,9}})", re.ASCII)


async def filled_page(
    store: ResultStore, tenant: str, which: CallFilter, place: str | None, limit: int
) -> Page[CallInfo]:
    """A page of calls: where a store gives a short one although more follow, what follows is put to it.

    Raises:
        BadCursorError: `place` is no cursor of the store.
    """
    items: list[CallInfo] = []
    for _ in range(_MAX_READS):
        page = await store.list_calls(tenant, which, cursor=place, limit=limit - len(items))
        items += page.items
        place = page.next
        if place is None or len(items) >= limit:
            break
    return Page(tuple(items), place)


async def all_records(store: ResultStore, tenant: str, call_id: str) -> tuple[UtteranceRecord, ...]:
    """Every record of a call that is held.

    Raises:
        CallNotFoundError: the call is not held.
    """
    return tuple([record async for page in record_pages(store, tenant, call_id) for record in page])


async def record_pages(
    store: ResultStore, tenant: str, call_id: str, chunk: int = READ_CHUNK
) -> AsyncIterator[tuple[UtteranceRecord, ...]]:
    """The records of a call, page by page.

    Raises:
        CallNotFoundError: the call is not held (any more).
    """
    begin = 1
    while True:
        found = await store.list_records(tenant, call_id, from_seq=begin, limit=chunk)
        if found.items:
            yield found.items
        if len(found.items) < chunk:
            return
        begin = (found.items[-1].seq or 0) + 1


async def find_record(store: ResultStore, tenant: str, utterance_id: str) -> UtteranceRecord | None:
    """The record of an utterance; None where there is none (any more)."""
    call_id = call_of(utterance_id)
    if call_id is None:
        return None
    try:
        async for page in record_pages(store, tenant, call_id):
            for record in page:
                if record.utterance_id == utterance_id:
                    return record
    except CallNotFoundError:
        pass
    return None


def call_of(utterance_id: str) -> str | None:
    """The call of an utterance, `<call>.<leg>.<number>`; None for what cannot be an utterance's id."""
    found = _UTTERANCE_ID.fullmatch(utterance_id)
    return None if found is None else found[1]
