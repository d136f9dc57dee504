"""A live feed over WebSockets that goes on where it was when its connection breaks."""

from __future__ import annotations

import contextlib
import json
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlencode

from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidHandshake, InvalidStatus, InvalidURI

from app.client.errors import ApiError, ClosedError, KowairoError, UnreachableError, seconds_of
from app.client.events import Event, GapEvent, LaggedEvent, ResetEvent, ResumedEvent, event_of
from app.client.wire import Retry, error_of, path_of, query_of

DONE = 1000
ABNORMAL = 1006
POLICY = 1008
SLOW = "slow_reader"
_ENDS = frozenset({"call_ended", "call_erased"})
_TRANSIENT = frozenset((429, 502, 503, 504))


@dataclass(frozen=True, slots=True)
class Opening:
    """How connections are made. url: of the service, `http…`."""

    url: str
    headers: Mapping[str, str]
    retry: Retry
    sleep: Callable[[float], Awaitable[None]]


class Feed:
    """Where a reader is in a feed.

    Args:
        call_id: whose; None: of the tenant.
        since: the number to begin with; None: what happens from now on.
        filters: parameters of the route.
    """

    def __init__(self, call_id: str | None, since: int | None, filters: Mapping[str, Any]) -> None:
        self._call_id = call_id
        self._number = "position" if call_id is None else "seq"
        self._filters = query_of(**filters)
        self._next = since
        self.over = False

    def path(self) -> str:
        """Where to connect, from where the reader is."""
        path = "/v1/events" if self._call_id is None else path_of("/v1/calls/{id}/events", id=self._call_id)
        query = self._filters | query_of(**{f"from_{self._number}": self._next})
        return f"{path}?{urlencode(query, doseq=True)}" if query else path

    def take(self, text: str) -> Event | None:
        """A message as an event; None for one that only says where the reader is.

        Raises:
            UnreachableError: not a message of this service.
        """
        try:
            message = json.loads(text)
        except ValueError:
            raise UnreachableError("a message is not JSON") from None
        event = event_of(message)
        if isinstance(event, ResetEvent):
            self._next = event.next_position
        elif isinstance(event, ResumedEvent) and event.reset:
            self._next = message["next_position"]
        elif isinstance(event, GapEvent | LaggedEvent):
            self._reach(event.last)
        else:
            self._reach(message.get(self._number))
        self.over = self._call_id is not None and event.type in _ENDS
        return None if event.type == "keepalive" else event

    async def events(self, opening: Opening) -> AsyncGenerator[Event, None]:
        """Every event, over as many connections as it takes; see `AsyncClient.events`."""
        failures, began = 0, False
        while not self.over:
            try:
                async with _connected(opening, self.path()) as socket:
                    if began and self._next is None:
                        yield GapEvent("gap", {}, first=None, last=None)
                    began = True
                    async for event in self._told(socket):
                        failures = 0
                        yield event
                if self.over or _is_over(socket):
                    return
                error: KowairoError = UnreachableError(_farewell(socket))
            except InvalidStatus as refused:
                error = _refusal(refused)
            except (InvalidURI, InvalidHandshake, OSError, TimeoutError) as failure:
                error = UnreachableError(str(failure) or type(failure).__name__)
            failures += 1
            await opening.sleep(_pause_s(opening.retry, failures, error))

    async def _told(self, socket: ClientConnection) -> AsyncIterator[Event]:
        """The events of one connection, until it ends in any way."""
        with contextlib.suppress(ConnectionClosed):
            async for text in socket:
                event = self.take(text if isinstance(text, str) else text.decode())
                if event is not None:
                    yield event

    def _reach(self, number: int | None) -> None:
        if number is not None:
            self._next = max(self._next or 0, number + 1)


def _connected(opening: Opening, path: str) -> connect:
    url = opening.url.rstrip("/").replace("http", "ws", 1) + path
    return connect(url, additional_headers=dict(opening.headers))


def _is_over(socket: ClientConnection) -> bool:
    """Whether the feed has come to its end.

    Raises:
        ClosedError: it was closed for good.
    """
    if socket.close_code == POLICY and socket.close_reason != SLOW:
        raise ClosedError(socket.close_reason or "", POLICY)
    return socket.close_code == DONE


def _farewell(socket: ClientConnection) -> str:
    if socket.close_code is None or socket.close_code == ABNORMAL:
        return "the connection broke"
    return f"the feed was closed with code {socket.close_code} ({socket.close_reason or 'no reason'})"


def _pause_s(retry: Retry, failures: int, error: KowairoError) -> float:
    """Seconds until the next connection.

    Raises:
        KowairoError: there is to be none.
    """
    asked_s = None
    if isinstance(error, ApiError):
        if error.status not in _TRANSIENT:
            raise error
        asked_s = error.retry_after_s
    pause_s = retry.pause_s(failures, asked_s)
    if pause_s is None:
        raise error
    return pause_s


def _refusal(refused: InvalidStatus) -> ApiError:
    answer = refused.response
    error = error_of(answer.status_code, bytes(answer.body or b""), answer.headers.get("Retry-After"))
    error.retry_after_s = seconds_of(answer.headers.get("Retry-After"))
    return error
