"""What the service finds out about calls that are played, by asking it: most carriers tell nothing on their wire."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from typing import Any
from urllib.parse import quote

import httpx

from app.playing import Message

PAGE = 200
POLL_S = 0.5
PATIENCE_S = 60.0
"""The longest wait for the end of a call that was played to its end."""
UNKNOWN_S = 1.0
"""The longest wait for one that the service does not know by then."""


class WatchError(Exception):
    """The service cannot be asked; says why, for people."""


class Watch:
    """Follows calls over `/v1/calls`. show: gets `utterance` and `summary` messages as the native protocol has them."""

    def __init__(self, client: httpx.AsyncClient, show: Callable[[Message], None]) -> None:
        self._client = client
        self._show = show
        self._taken: set[str] = set()

    async def id_of_next(self, call_id: str) -> str:
        """The id under which a call that is about to begin will be found: the service numbers those that are taken.

        Raises:
            WatchError: the service cannot be asked.
        """
        number, candidate = 1, call_id
        while candidate in self._taken or await self._get(_path(candidate)) is not None:
            number += 1
            candidate = f"{call_id}.{number}"
        self._taken.add(candidate)
        return candidate

    async def follow(self, call_id: str, played: asyncio.Event) -> bool:
        """Show the records of a call until it has ended and its summary was shown.

        played: set when the carrier's side is over. False: the service does not know the call, or did not end it in
        time.

        Raises:
            WatchError: the service cannot be asked.
        """
        records = _Records(self._client, call_id)
        while not played.is_set():
            await self._show_new(records)
            await _either(played, POLL_S)
        now = asyncio.get_running_loop().time
        over = now()
        pause_s = POLL_S / 16
        while True:
            call = await self._get(_path(call_id))
            await self._show_new(records)  # after the state was seen, so that the last ones are among them
            if call is not None and call["state"] == "ended":
                self._show({"type": "summary", "call_id": call_id, **(call["summary"] or {})})
                return True
            if now() - over > (UNKNOWN_S if call is None else PATIENCE_S):
                return False
            await asyncio.sleep(pause_s)
            pause_s = min(2 * pause_s, POLL_S)

    async def _show_new(self, records: _Records) -> None:
        async for record in records.new():
            self._show({"type": "utterance", **record})

    async def _get(self, path: str) -> Any | None:
        return await get_json(self._client, path)


class _Records:
    """The records of one call, each once."""

    def __init__(self, client: httpx.AsyncClient, call_id: str) -> None:
        self._client = client
        self._path = f"{_path(call_id)}/utterances"
        self._cursor: str | None = None
        self._seen: set[str] = set()

    async def new(self) -> AsyncIterator[dict[str, Any]]:
        """Those that were not there before."""
        while True:
            cursor = {} if self._cursor is None else {"cursor": self._cursor}
            page = await get_json(self._client, self._path, {"limit": str(PAGE), **cursor})
            if page is None:
                return
            for record in page["items"]:
                if record["utterance_id"] not in self._seen:
                    self._seen.add(record["utterance_id"])
                    yield record
            if page["next"] is None:
                return  # this page may still grow
            self._cursor, self._seen = page["next"], set()


async def get_json(client: httpx.AsyncClient, path: str, query: dict[str, str] | None = None) -> Any | None:
    """An answer's body; None where there is no such thing.

    Raises:
        WatchError: the service cannot be asked.
    """
    answer = await _answered(client, client.build_request("GET", path, params=query))
    try:
        return None if answer.status_code == httpx.codes.NOT_FOUND else answer.json()
    except ValueError as error:
        raise WatchError(f"{client.base_url}: the answer is not JSON") from error


async def put_json(client: httpx.AsyncClient, path: str, body: object) -> None:
    """Tell the service something.

    Raises:
        WatchError: it cannot be told.
    """
    await _answered(client, client.build_request("PUT", path, json=body))


async def _answered(client: httpx.AsyncClient, request: httpx.Request) -> httpx.Response:
    try:
        answer = await client.send(request)
        if answer.status_code != httpx.codes.NOT_FOUND:
            answer.raise_for_status()
        return answer
    except httpx.HTTPStatusError as error:
        raise WatchError(f"{client.base_url}: HTTP {error.response.status_code}") from error
    except (httpx.HTTPError, httpx.InvalidURL) as error:
        raise WatchError(f"{client.base_url}: {error or type(error).__name__}") from error


def _path(call_id: str) -> str:
    return f"/v1/calls/{quote(call_id, safe='')}"


async def _either(event: asyncio.Event, seconds: float) -> None:
    """Return when it is set, or the time is over."""
    try:
        async with asyncio.timeout(seconds):
            await event.wait()
    except TimeoutError:
        pass
