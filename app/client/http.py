"""The clients: the questions of `app.client.requests`, asked over HTTP, blocking or not."""

from __future__ import annotations

import asyncio
import functools
import time
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Iterator
from types import TracebackType
from typing import IO, Any, Concatenate, ParamSpec, Self, TypeVar

import httpx

from app.client import requests
from app.client.errors import UnreachableError
from app.client.events import Event
from app.client.feed import Feed, Opening
from app.client.shapes import Page
from app.client.wire import Request, Retry, error_of, headers_of

P = ParamSpec("P")
T = TypeVar("T")

DEFAULT_URL = "http://127.0.0.1:8000"
TIMEOUT_S = 60.0


def _ask(build: Callable[P, Request[T]]) -> Callable[Concatenate[Client, P], T]:
    """The method that asks this."""

    @functools.wraps(build)
    def method(self: Client, /, *args: P.args, **given: P.kwargs) -> T:
        return self.send(build(*args, **given))

    return method


def _each(build: Callable[P, Request[Page[T]]]) -> Callable[Concatenate[Client, P], Iterator[T]]:
    """The method that iterates over what is on all pages."""

    @functools.wraps(build)
    def method(self: Client, /, *args: P.args, **given: P.kwargs) -> Iterator[T]:
        return self.each(build(*args, **given))

    return method


def _ask_later(build: Callable[P, Request[T]]) -> Callable[Concatenate[AsyncClient, P], Awaitable[T]]:
    """The method that asks this."""

    @functools.wraps(build)
    def method(self: AsyncClient, /, *args: P.args, **given: P.kwargs) -> Awaitable[T]:
        return self.send(build(*args, **given))

    return method


def _each_later(
    build: Callable[P, Request[Page[T]]],
) -> Callable[Concatenate[AsyncClient, P], AsyncIterator[T]]:
    """The method that iterates over what is on all pages."""

    @functools.wraps(build)
    def method(self: AsyncClient, /, *args: P.args, **given: P.kwargs) -> AsyncIterator[T]:
        return self.each(build(*args, **given))

    return method


class Client:
    """Asks a service, blocking; a context manager. Every method may raise `ApiError` and `UnreachableError`.

    Args:
        url: of the service.
        api_key: or token, sent as a bearer token.
        retry: how patiently refused requests (429, 503) are sent again.
        options: of `httpx.Client`, for proxies, certificates and tests.

    Raises:
        UnreachableError: the URL is none.
    """

    def __init__(
        self,
        url: str = DEFAULT_URL,
        *,
        api_key: str | None = None,
        retry: Retry | None = None,
        **options: Any,
    ) -> None:
        self._retry = retry or Retry()
        self._sleep: Callable[[float], None] = time.sleep
        try:
            self.http = httpx.Client(
                base_url=url, headers=headers_of(api_key), **{"timeout": TIMEOUT_S, **options}
            )
        except (httpx.InvalidURL, UnicodeError) as error:
            raise UnreachableError(f"{type(error).__name__}: expected http:// or https://") from error

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Closes its connections."""
        self.http.close()

    def send(self, request: Request[T]) -> T:
        """Asks, again where the service says so, and reads the answer."""
        attempt = 1
        while True:
            try:
                answer = self.http.request(
                    request.method, request.path, params=request.query, json=request.body
                )
            except httpx.HTTPError as error:
                raise unreachable(error) from error
            again = answer.headers.get("retry-after")
            pause_s = request.pause_s(self._retry, attempt, answer.status_code, again)
            if pause_s is None:
                return request.read(answer.status_code, answer.content, again)
            self._sleep(pause_s)
            attempt += 1

    def each(self, request: Request[Page[T]]) -> Iterator[T]:
        """What is on the page that a request asks for, and on those after it."""
        while True:
            page = self.send(request)
            yield from page.items
            if page.next is None:
                return
            request = request.after(page.next)

    def export(self, what: str, file: IO[bytes], form: str = "jsonl", **filters: Any) -> int:
        """Writes an export into a file while it comes; how many bytes.

        what: `calls`, `utterances` or `feedback`. form: `jsonl`, `csv` or `parquet`. filters: as of the route.

        Raises:
            UnreachableError: it broke off; what was written is not whole.
        """
        request = requests.export(what, form, filters)
        attempt = 1
        while True:
            try:
                with self.http.stream(request.method, request.path, params=request.query) as answer:
                    if answer.is_success:
                        return sum(file.write(piece) for piece in answer.iter_bytes())
                    content = answer.read()
            except httpx.HTTPError as error:
                raise unreachable(error) from error
            again = answer.headers.get("retry-after")
            pause_s = request.pause_s(self._retry, attempt, answer.status_code, again)
            if pause_s is None:
                raise error_of(answer.status_code, content, again)
            self._sleep(pause_s)
            attempt += 1

    calls = _each(requests.calls)
    call = _ask(requests.call)
    records = _ask(requests.records)
    utterances = _each(requests.utterances)
    utterance = _ask(requests.utterance)
    pause = _ask(requests.pause)
    resume = _ask(requests.resume)
    feedback = _each(requests.feedback)
    give_feedback = _ask(requests.give_feedback)
    take_feedback_back = _ask(requests.take_feedback_back)
    stats = _ask(requests.stats)
    lines = _each(requests.lines)
    line = _ask(requests.line)
    export_profile = _ask(requests.export_profile)
    import_profile = _ask(requests.import_profile)
    freeze_line = _ask(requests.freeze_line)
    unfreeze_line = _ask(requests.unfreeze_line)
    reset_line = _ask(requests.reset_line)
    erase_call = _ask(requests.erase_call)
    erase = _ask(requests.erase)
    erasures = _each(requests.erasures)
    erasure = _ask(requests.erasure)
    receipt_key = _ask(requests.receipt_key)
    endpoints = _each(requests.endpoints)
    endpoint = _ask(requests.endpoint)
    make_endpoint = _ask(requests.make_endpoint)
    change_endpoint = _ask(requests.change_endpoint)
    delete_endpoint = _ask(requests.delete_endpoint)
    rotate_secret = _ask(requests.rotate_secret)
    ping_endpoint = _ask(requests.ping_endpoint)
    dead_letters = _each(requests.dead_letters)
    redrive_letter = _ask(requests.redrive_letter)
    redrive_letters = _ask(requests.redrive_letters)
    delete_letter = _ask(requests.delete_letter)
    alert_rules = _each(requests.alert_rules)
    make_alert_rule = _ask(requests.make_alert_rule)
    replace_alert_rule = _ask(requests.replace_alert_rule)
    delete_alert_rule = _ask(requests.delete_alert_rule)
    alerts = _each(requests.alerts)
    models = _each(requests.models)
    ready = _ask(requests.ready)
    announce = _ask(requests.announce)


class AsyncClient:
    """The same without blocking, and live events; an asynchronous context manager."""

    def __init__(
        self,
        url: str = DEFAULT_URL,
        *,
        api_key: str | None = None,
        retry: Retry | None = None,
        **options: Any,
    ) -> None:
        self._retry = retry or Retry()
        self._sleep: Callable[[float], Awaitable[None]] = asyncio.sleep
        self._headers = headers_of(api_key)
        try:
            self.http = httpx.AsyncClient(
                base_url=url, headers=self._headers, **{"timeout": TIMEOUT_S, **options}
            )
        except (httpx.InvalidURL, UnicodeError) as error:
            raise UnreachableError(f"{type(error).__name__}: expected http:// or https://") from error

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    async def close(self) -> None:
        """Closes its connections."""
        await self.http.aclose()

    async def send(self, request: Request[T]) -> T:
        """Asks, again where the service says so, and reads the answer."""
        attempt = 1
        while True:
            try:
                answer = await self.http.request(
                    request.method, request.path, params=request.query, json=request.body
                )
            except httpx.HTTPError as error:
                raise unreachable(error) from error
            again = answer.headers.get("retry-after")
            pause_s = request.pause_s(self._retry, attempt, answer.status_code, again)
            if pause_s is None:
                return request.read(answer.status_code, answer.content, again)
            await self._sleep(pause_s)
            attempt += 1

    async def each(self, request: Request[Page[T]]) -> AsyncIterator[T]:
        """What is on the page that a request asks for, and on those after it."""
        while True:
            page = await self.send(request)
            for item in page.items:
                yield item
            if page.next is None:
                return
            request = request.after(page.next)

    async def export(self, what: str, file: IO[bytes], form: str = "jsonl", **filters: Any) -> int:
        """Writes an export into a file while it comes; see `Client.export`."""
        request = requests.export(what, form, filters)
        attempt = 1
        while True:
            try:
                async with self.http.stream(request.method, request.path, params=request.query) as answer:
                    if answer.is_success:
                        return sum([file.write(piece) async for piece in answer.aiter_bytes()])
                    content = await answer.aread()
            except httpx.HTTPError as error:
                raise unreachable(error) from error
            again = answer.headers.get("retry-after")
            pause_s = request.pause_s(self._retry, attempt, answer.status_code, again)
            if pause_s is None:
                raise error_of(answer.status_code, content, again)
            await self._sleep(pause_s)
            attempt += 1

    def events(
        self,
        call_id: str | None = None,
        *,
        from_seq: int | None = None,
        from_position: int | None = None,
        **filters: Any,
    ) -> AsyncGenerator[Event, None]:
        """What happens, as it happens: to one call until its end, or to all calls for ever.

        A connection that breaks is made anew, and goes on where it was; `ResumedEvent`, `GapEvent` and `LaggedEvent`
        tell what could not be made up for.

        Args:
            call_id: whose events; None: all calls of the tenant.
            from_seq: first the records of the call from this number on.
            from_position: first what happened from this position of the tenant's feed on.
            **filters: `line`, `leg`, `emotion`, `min_confidence`, `min_expected_cost`, `type` (a list).

        Raises:
            ApiError: the feed is refused.
            ClosedError: the service ended it for good.
            UnreachableError: the service could not be reached for too long.
        """
        feed = Feed(call_id, from_position if call_id is None else from_seq, filters)
        return feed.events(Opening(str(self.http.base_url), self._headers, self._retry, self._sleep))

    calls = _each_later(requests.calls)
    call = _ask_later(requests.call)
    records = _ask_later(requests.records)
    utterances = _each_later(requests.utterances)
    utterance = _ask_later(requests.utterance)
    pause = _ask_later(requests.pause)
    resume = _ask_later(requests.resume)
    feedback = _each_later(requests.feedback)
    give_feedback = _ask_later(requests.give_feedback)
    take_feedback_back = _ask_later(requests.take_feedback_back)
    stats = _ask_later(requests.stats)
    lines = _each_later(requests.lines)
    line = _ask_later(requests.line)
    export_profile = _ask_later(requests.export_profile)
    import_profile = _ask_later(requests.import_profile)
    freeze_line = _ask_later(requests.freeze_line)
    unfreeze_line = _ask_later(requests.unfreeze_line)
    reset_line = _ask_later(requests.reset_line)
    erase_call = _ask_later(requests.erase_call)
    erase = _ask_later(requests.erase)
    erasures = _each_later(requests.erasures)
    erasure = _ask_later(requests.erasure)
    receipt_key = _ask_later(requests.receipt_key)
    endpoints = _each_later(requests.endpoints)
    endpoint = _ask_later(requests.endpoint)
    make_endpoint = _ask_later(requests.make_endpoint)
    change_endpoint = _ask_later(requests.change_endpoint)
    delete_endpoint = _ask_later(requests.delete_endpoint)
    rotate_secret = _ask_later(requests.rotate_secret)
    ping_endpoint = _ask_later(requests.ping_endpoint)
    dead_letters = _each_later(requests.dead_letters)
    redrive_letter = _ask_later(requests.redrive_letter)
    redrive_letters = _ask_later(requests.redrive_letters)
    delete_letter = _ask_later(requests.delete_letter)
    alert_rules = _each_later(requests.alert_rules)
    make_alert_rule = _ask_later(requests.make_alert_rule)
    replace_alert_rule = _ask_later(requests.replace_alert_rule)
    delete_alert_rule = _ask_later(requests.delete_alert_rule)
    alerts = _each_later(requests.alerts)
    models = _each_later(requests.models)
    ready = _ask_later(requests.ready)
    announce = _ask_later(requests.announce)


def unreachable(error: Exception) -> UnreachableError:
    """No answer, or half of one."""
    return UnreachableError(str(error) or type(error).__name__)
