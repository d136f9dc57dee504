"""Every HTTP error as problem details (RFC 9457): one shape, and a `code` to program against."""

from __future__ import annotations

from collections.abc import Mapping
from http import HTTPStatus
from typing import Any

import orjson
from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.responses import Response

from app.results.store import BadCursorError, CallActiveError, CallNotFoundError, StoreError

MEDIA_TYPE = "application/problem+json"


class ProblemError(Exception):
    """A request that cannot be served.

    status: HTTP status. code: stable identifier. title: the same for every occurrence of a code.
    detail: what was expected and what came, without quoting free text of the client.
    """

    def __init__(
        self, status: int, code: str, title: str, detail: str, headers: Mapping[str, str] | None = None
    ) -> None:
        super().__init__(f"{code}: {detail}")
        self.status = status
        self.code = code
        self.title = title
        self.detail = detail
        self.headers = dict(headers or {})

    def response(self, **extra: Any) -> Response:
        """The problem as a response; `extra` are members of its own."""
        body = {
            "type": f"urn:kowairo:problem:{self.code}",
            "title": self.title,
            "status": self.status,
            "detail": self.detail,
            "code": self.code,
            **extra,
        }
        return Response(orjson.dumps(body), self.status, headers=self.headers, media_type=MEDIA_TYPE)


def draining() -> ProblemError:
    """The process ends, and takes nothing new."""
    detail = "try again: another process will take it"
    return ProblemError(503, "draining", "The service shuts down", detail, {"Retry-After": "1"})


def install_error_handlers(app: FastAPI) -> None:
    """Makes every error of the application a problem: ours, the router's 404 and 405, validation, faults."""
    app.exception_handler(ProblemError)(_problem)
    app.exception_handler(HTTPException)(_http_exception)
    app.exception_handler(RequestValidationError)(_validation)
    app.exception_handler(StoreError)(_store_error)
    app.exception_handler(Exception)(_fault)


async def _problem(_request: Request, error: ProblemError) -> Response:
    return error.response()


async def _http_exception(_request: Request, error: HTTPException) -> Response:
    if isinstance(error.__cause__, ProblemError):
        return error.__cause__.response()  # FastAPI reads JSON bodies itself; this one was too big
    if isinstance(error.__cause__, RecursionError | ValueError):
        # FastAPI parses a JSON body before any of our code runs, and calls what it cannot bear a bad request.
        detail = "expected JSON (RFC 8259) without deep nesting, in UTF-8"
        return ProblemError(422, "invalid_json", "The body is not JSON", detail).response()
    phrase = HTTPStatus(error.status_code).phrase
    code = phrase.lower().replace(" ", "_").replace("-", "_")
    detail = error.detail if error.detail != phrase else f"{phrase}: see /docs for what there is"
    return ProblemError(error.status_code, code, phrase, detail, error.headers).response()


async def _validation(_request: Request, error: RequestValidationError) -> Response:
    faults = [
        {"where": ".".join(str(part) for part in fault["loc"]), "problem": fault["msg"]}
        for fault in error.errors()
    ]
    detail = "; ".join(f"{fault['where']}: {fault['problem']}" for fault in faults)
    problem = ProblemError(422, "invalid_request", "The request has a wrong value", detail)
    if any(fault["type"] == "json_invalid" for fault in error.errors()):
        problem = ProblemError(422, "invalid_json", "The body is not JSON", detail)
    return problem.response(errors=faults)


async def _store_error(_request: Request, error: StoreError) -> Response:
    problem = ProblemError(
        503, "store_unavailable", "Results cannot be reached", "the result store did not answer; try again"
    )
    if isinstance(error, CallNotFoundError):
        problem = ProblemError(
            404, "call_not_found", "No such call", "no call with this id: unknown, expired or erased"
        )
    elif isinstance(error, CallActiveError):
        problem = ProblemError(
            409, "call_active", "The call is still live", "expected an ended call: end it, then try again"
        )
    elif isinstance(error, BadCursorError):
        problem = ProblemError(
            422, "invalid_cursor", "The cursor is unknown", "cursor: expected the `next` of an earlier page"
        )
    return problem.response()


async def _fault(_request: Request, _error: Exception) -> Response:
    return ProblemError(
        500, "internal_error", "The service failed", "this is a fault of the service; it was logged"
    ).response()
