"""Requests and answers as plain values: what both clients share, without any input or output."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any, Generic, TypeAlias, TypeVar
from urllib.parse import quote

from pydantic import BaseModel, ValidationError

from app.client.errors import ApiError, UnreachableError, problem_of, seconds_of
from app.client.shapes import Page

T = TypeVar("T")
S = TypeVar("S", bound=BaseModel)

Time: TypeAlias = datetime | str | None
"""A moment with its zone, or RFC 3339; None: no bound."""
Value: TypeAlias = str | int | float | bool | datetime | Sequence[str] | None
Query: TypeAlias = dict[str, str | list[str]]

_AGAIN = frozenset((429, 503))
_SAFE = frozenset(("GET", "PUT", "DELETE"))


@dataclass(frozen=True, slots=True)
class Retry:
    """How patiently refused requests are sent again.

    attempts: in all. longest_s: no single wait is longer; a service that asks for more is not waited for.
    first_s: the first wait where the service names none; each one after it is twice as long.
    """

    attempts: int = 4
    longest_s: float = 30.0
    first_s: float = 0.5

    def pause_s(self, attempt: int, asked_s: float | None) -> float | None:
        """Seconds until the next attempt; None: no more. attempt: the one that failed, from 1."""
        if attempt >= self.attempts:
            return None
        wait = min(self.first_s * 2 ** (attempt - 1), self.longest_s) if asked_s is None else asked_s
        return wait if wait <= self.longest_s else None


@dataclass(frozen=True, slots=True)
class Request(Generic[T]):
    """One question, and how its answer is read.

    shape: of the answer; None where it has no body. also: statuses other than 2xx that are answers all the same.
    repeatable: sending it twice does what sending it once does.
    """

    method: str
    path: str
    shape: type[BaseModel] | None = None
    query: Query = field(default_factory=dict)
    body: Any = None
    also: frozenset[int] = frozenset()
    repeatable: bool = False

    def after(self, cursor: str) -> Request[T]:
        """The same for the page after."""
        return replace(self, query={**self.query, "cursor": cursor})

    def pause_s(self, retry: Retry, attempt: int, status: int, retry_after: str | None) -> float | None:
        """Seconds after which to send it again; None: what came is the answer.

        A 503 may come when half of the work is done, so that only what can be repeated is sent again.
        """
        if status not in _AGAIN or status in self.also:
            return None
        if status != 429 and not (self.repeatable or self.method in _SAFE):
            return None
        return retry.pause_s(attempt, seconds_of(retry_after))

    def read(self, status: int, content: bytes, retry_after: str | None = None) -> T:
        """What an answer says.

        Raises:
            ApiError: a problem.
            UnreachableError: not an answer of this service.
        """
        if not 200 <= status < 300 and status not in self.also:
            raise error_of(status, content, retry_after)
        if self.shape is None:
            return None  # type: ignore[return-value]
        try:
            return self.shape.model_validate_json(content)  # type: ignore[return-value]
        except ValidationError as error:
            if not _is_json(content):
                raise UnreachableError("the answer is not JSON") from None
            first = error.errors(include_url=False, include_input=False)[0]
            where = ".".join(str(part) for part in first["loc"])
            raise UnreachableError(f"the answer is not what was expected: {where}: {first['msg']}") from None


def error_of(status: int, content: bytes, retry_after: str | None) -> ApiError:
    """An answer that is no success, as an exception."""
    return problem_of(status, json.loads(content) if _is_json(content) else None, retry_after)


def page_of(shape: type[S]) -> type[Page[S]]:
    """The shape of a page of these."""
    return Page[shape]  # type: ignore[valid-type]


def query_of(**values: Value) -> Query:
    """Parameters of a query, as text; those that are None are left out.

    Raises:
        ValueError: a time without a zone.
    """
    return {name: _text(value) for name, value in values.items() if value is not None}


def body_of(**values: Any) -> dict[str, Any]:
    """Members of a body; those that are None are left out."""
    return {name: _member(value) for name, value in values.items() if value is not None}


def path_of(template: str, **names: str) -> str:
    """A path; `{name}` stands for a name, written so that it is one segment of it."""
    return template.format_map({name: quote(text, safe="") for name, text in names.items()})


def headers_of(api_key: str | None) -> Mapping[str, str]:
    """What every request says of who sends it."""
    return {} if api_key is None else {"Authorization": f"Bearer {api_key}"}


def _text(value: Value) -> str | list[str]:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, datetime):
        return _moment(value)
    if isinstance(value, str | int | float):
        return str(value)
    return [str(one) for one in value or ()]


def _member(value: Any) -> Any:
    return _moment(value) if isinstance(value, datetime) else value


def _moment(value: datetime) -> str:
    if value.tzinfo is None:
        raise ValueError(f"expected a time with its zone, got {value.isoformat()}")
    return value.isoformat()


def _is_json(content: bytes) -> bool:
    try:
        json.loads(content)
    except ValueError:
        return False
    return True
