"""What can go wrong with a request, as the OpenAPI document says it: once, and named by every operation."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from app.api.errors import MEDIA_TYPE

_RETRY = {
    "Retry-After": {
        "description": "After how many seconds to try again, where that is known.",
        "schema": {"type": "integer", "minimum": 1},
    }
}
_CHALLENGE = {"WWW-Authenticate": {"description": "What is wanted (RFC 6750).", "schema": {"type": "string"}}}


@dataclass(frozen=True, slots=True)
class _Kind:
    """Problems of one status. name: in the document; code, title, detail: of the example."""

    name: str
    description: str
    code: str
    title: str
    detail: str
    headers: Mapping[str, Any] | None = None


KINDS: Mapping[int, _Kind] = {
    400: _Kind(
        "BadRequest",
        "Two different credentials, or a secret in the address; of a form, that it cannot be read.",
        "ambiguous_credentials",
        "Two different credentials were sent",
        "expected one key or token",
    ),
    401: _Kind(
        "Unauthorized",
        "Credentials are needed, or do not hold.",
        "unauthorized",
        "Valid credentials are needed",
        "expected an API key or a token",
        _CHALLENGE,
    ),
    403: _Kind(
        "Forbidden",
        "The credentials do not reach so far, or a page of another site asks.",
        "missing_scope",
        "The credentials do not reach so far",
        "expected the scope 'read:scores'",
    ),
    404: _Kind(
        "NotFound",
        "Unknown, expired, erased, or another tenant's: nobody is told which.",
        "call_not_found",
        "No such call",
        "no call with this id: unknown, expired or erased",
    ),
    409: _Kind(
        "Conflict",
        "It does not go with how things are.",
        "call_ended",
        "The call has ended",
        "expected a call that is live",
    ),
    413: _Kind(
        "TooLarge",
        "The body is too big.",
        "body_too_big",
        "The request is too big",
        "expected a body of at most 65536 bytes",
    ),
    415: _Kind(
        "UnsupportedMediaType",
        "The body is not declared as JSON.",
        "unsupported_media_type",
        "The body is not JSON",
        "expected Content-Type: application/json",
    ),
    421: _Kind(
        "UnknownHost",
        "While no key is configured, only names of this machine are answered.",
        "unknown_host",
        "The service does not answer to this name",
        "expected Host localhost or 127.0.0.1 while no API key is configured",
    ),
    422: _Kind(
        "Invalid",
        "A parameter or the body is wrong, unknown or there twice; `errors` names each.",
        "invalid_request",
        "The request has a wrong value",
        "query.limit: Input should be less than or equal to 200",
    ),
    429: _Kind(
        "TooManyRequests",
        "Too many requests, wrong credentials or exports.",
        "rate_limited",
        "Too many requests",
        "expected at most 10 requests a second; try again later",
        _RETRY,
    ),
    500: _Kind(
        "Failed",
        "The service failed; the fault is in its log.",
        "scoring_failed",
        "The recording could not be scored",
        "the model failed",
    ),
    503: _Kind(
        "Unavailable",
        "The store, the audit log or what checks credentials is away, or there is no room; try again.",
        "store_unavailable",
        "Results cannot be reached",
        "the result store did not answer; try again",
        _RETRY,
    ),
}


def reference(status: int) -> dict[str, str]:
    """What stands in an operation."""
    return {"$ref": f"#/components/responses/{KINDS[status].name}"}


def responses() -> dict[str, Any]:
    """`components.responses`."""
    return {kind.name: _response(status, kind) for status, kind in sorted(KINDS.items())}


def statuses(operation: Mapping[str, Any], path: str) -> Iterator[int]:
    """What any operation may answer besides what it says itself; of one without credentials, little."""
    yield 421
    if not operation.get("security"):
        return
    yield from (400, 401, 403, 422, 429, 503)
    if "{" in path:
        yield 404
    body = operation.get("requestBody")
    if body is not None:
        yield 413


def _response(status: int, kind: _Kind) -> dict[str, Any]:
    example = {
        "type": f"urn:kowairo:problem:{kind.code}",
        "title": kind.title,
        "status": status,
        "detail": kind.detail,
        "code": kind.code,
    }
    if status == 422:
        where, _, problem = kind.detail.partition(": ")
        example |= {"errors": [{"where": where, "problem": problem}]}
    made: dict[str, Any] = {
        "description": kind.description,
        "content": {MEDIA_TYPE: {"schema": {"$ref": "#/components/schemas/Problem"}, "example": example}},
    }
    if kind.headers is not None:
        made["headers"] = dict(kind.headers)
    return made
