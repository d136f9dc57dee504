"""Why the service did not do what it was asked."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any


class KowairoError(Exception):
    """The service could not be reached, or did not do what it was asked; the message is for people."""


class UnreachableError(KowairoError):
    """No answer, half an answer, or one that is not this service's."""


class ApiError(KowairoError):
    """The service answered with a problem (RFC 9457). Program against `code`.

    errors: what is wrong with which parameter or member. retry_after_s: when to try again, where that is known.
    """

    def __init__(
        self,
        code: str,
        status: int,
        title: str,
        detail: str,
        *,
        errors: Sequence[Mapping[str, str]] = (),
        retry_after_s: float | None = None,
    ) -> None:
        super().__init__(f"HTTP {status}: {detail or title or code}")
        self.code = code
        self.status = status
        self.title = title
        self.detail = detail
        self.errors = tuple(errors)
        self.retry_after_s = retry_after_s


class ClosedError(KowairoError):
    """The service closed a live feed for good. code: its reason; close_code: of the WebSocket."""

    def __init__(self, code: str, close_code: int) -> None:
        super().__init__(f"the feed was closed with code {close_code}: {code or 'no reason was given'}")
        self.code = code
        self.close_code = close_code


def problem_of(status: int, body: Any, retry_after: str | None) -> ApiError:
    """An answer that is no success. body: its JSON, None where it is none."""
    given = body if isinstance(body, dict) else {}
    errors = given.get("errors")
    return ApiError(
        str(given.get("code", "")),
        status,
        str(given.get("title", "")),
        str(given.get("detail", "")),
        errors=errors if isinstance(errors, list) else (),
        retry_after_s=seconds_of(retry_after),
    )


def seconds_of(retry_after: str | None) -> float | None:
    """What a `Retry-After` header asks for; None where it is a date or not there."""
    text = (retry_after or "").strip()
    return float(text) if text.isascii() and text.isdigit() and len(text) < 10 else None
