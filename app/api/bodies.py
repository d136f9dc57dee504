"""JSON bodies, read strictly: nothing said twice, nothing nested without end, no number that is none."""

from __future__ import annotations

import json
import re
from collections.abc import Awaitable, Callable
from inspect import Parameter, Signature
from typing import Annotated, Any, TypeVar

import orjson
from fastapi import Body, Request
from fastapi.exceptions import RequestValidationError
from pydantic import BaseModel, SkipValidation, ValidationError
from pydantic_core import ErrorDetails

from app.api.errors import ProblemError

M = TypeVar("M", bound=BaseModel)

MAX_DEPTH = 32
"""Objects and lists inside each other."""
MAX_FAULTS = 20
"""How many faults of a body one answer names."""
MAX_NAME_CHARS = 64
_INTEGER_DIGITS = 20
_BRACKETS = re.compile(rb'"(?:[^"\\]|\\.)*"?|[\[\]{}]', re.DOTALL)
_JSON = re.compile(r"application/(?:[a-z0-9!#$&^_.-]+\+)?json", re.IGNORECASE)


class _DuplicateNameError(ValueError):
    """An object names a member twice."""


def strict_body(model: type[M]) -> Callable[..., Awaitable[M]]:
    """A dependency: the request's JSON body as a model, or a problem that says what is wrong with it.

    Use as `body: Annotated[Model, Depends(strict_body(Model))]`; the OpenAPI document shows the model. The model is
    validated as JSON, so `strict=True` in its configuration still takes enumerations and times as text.

    Problems: 415 `unsupported_media_type`; 422 `invalid_json`, `duplicate_key`, `too_deep`, `invalid_request`.
    """

    async def read(request: Request, body: object) -> M:
        del body  # for the OpenAPI document only
        _need_json(request)
        raw = await request.body()
        strict_json(raw)
        try:
            return model.model_validate_json(raw)
        except ValidationError as error:
            raise RequestValidationError(_faults(error)) from None

    documented = Annotated[SkipValidation[model], Body(title=model.__name__)]  # type: ignore[valid-type]
    read.__signature__ = Signature(  # type: ignore[attr-defined]
        [
            Parameter("request", Parameter.KEYWORD_ONLY, annotation=Request),
            Parameter("body", Parameter.KEYWORD_ONLY, annotation=documented),
        ]
    )
    return read


def strict_json(raw: bytes) -> Any:
    """Parses JSON as RFC 8259 wants it, each member once.

    Raises:
        ProblemError: 422, `invalid_json`, `duplicate_key` or `too_deep`.
    """
    if _depth(raw) > MAX_DEPTH:
        detail = f"expected at most {MAX_DEPTH} objects and lists inside each other"
        raise ProblemError(422, "too_deep", "The body is nested too deeply", detail)
    try:
        # orjson refuses what the standard library lets through: NaN, endless floats, half surrogates, wrong UTF-8.
        orjson.loads(raw)
        return json.loads(raw, object_pairs_hook=_once, parse_int=_integer)
    except _DuplicateNameError:
        detail = "expected every member of an object once"
        raise ProblemError(422, "duplicate_key", "The body says something twice", detail) from None
    except ValueError:
        detail = "expected JSON (RFC 8259): UTF-8, finite numbers, integers of at most 64 bits"
        raise ProblemError(422, "invalid_json", "The body is not JSON", detail) from None


def _need_json(request: Request) -> None:
    media_type = request.headers.get("content-type", "").partition(";")[0].strip()
    if not _JSON.fullmatch(media_type):
        raise ProblemError(
            415, "unsupported_media_type", "The body is not JSON", "expected Content-Type: application/json"
        )


def _depth(raw: bytes) -> int:
    """How deep brackets are nested outside of strings."""
    depth = deepest = 0
    for found in _BRACKETS.finditer(raw):
        if found[0] in (b"[", b"{"):
            depth += 1
            deepest = max(deepest, depth)
        elif found[0] in (b"]", b"}"):
            depth -= 1
    return deepest


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    members = dict(pairs)
    if len(members) != len(pairs):
        raise _DuplicateNameError
    return members


def _integer(digits: str) -> int:
    value = int(digits) if len(digits) <= _INTEGER_DIGITS else 1 << 64
    if not -(1 << 63) <= value < 1 << 64:
        raise ValueError("expected an integer of at most 64 bits")
    return value


def _faults(error: ValidationError) -> list[dict[str, Any]]:
    found = error.errors(include_url=False, include_context=False, include_input=False)
    return [_fault(fault) for fault in found[:MAX_FAULTS]]


def _fault(fault: ErrorDetails) -> dict[str, Any]:
    where = tuple(_name(part) if isinstance(part, str) else part for part in fault["loc"])
    return {"type": fault["type"], "loc": ("body", *where), "msg": fault["msg"]}


def _name(text: str) -> str:
    """A member's name; the client's own may be anything, and is not repeated at length."""
    return text if len(text) <= MAX_NAME_CHARS and text.isprintable() else "(a name)"
