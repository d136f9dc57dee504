"""A JSON body is read strictly, and what cannot be read is a problem, never a fault."""

from __future__ import annotations

import asyncio
import json
from contextlib import suppress
from enum import StrEnum
from typing import Annotated, Any

import httpx
import pytest
from fastapi import Depends, FastAPI
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel, ConfigDict

from app.api.bodies import MAX_DEPTH, MAX_FAULTS, strict_body, strict_json
from app.api.errors import ProblemError, install_error_handlers

JSON = {"Content-Type": "application/json"}


class Colour(StrEnum):
    """An enumeration, which a strict model takes as text from JSON only."""

    RED = "red"


class Inner(BaseModel):
    """An object inside."""

    model_config = ConfigDict(extra="forbid", strict=True)

    n: int | None = None


class Thing(BaseModel):
    """A body."""

    model_config = ConfigDict(extra="forbid", strict=True)

    colour: Colour
    inner: Inner | None = None
    size: float | None = None


@pytest.fixture(scope="module")
def app() -> FastAPI:
    """An application with one route."""
    made = FastAPI()
    install_error_handlers(made)

    @made.post("/things")
    async def make(thing: Annotated[Thing, Depends(strict_body(Thing))]) -> dict[str, Any]:
        return {"colour": thing.colour.name}

    return made


def post(app: FastAPI, body: bytes, headers: dict[str, str] | None = None) -> httpx.Response:
    """One request."""

    async def send() -> httpx.Response:
        transport = httpx.ASGITransport(app, raise_app_exceptions=False)
        async with httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1") as client:
            return await client.post("/things", content=body, headers=JSON if headers is None else headers)

    return asyncio.run(send())


def test_a_body_becomes_a_model(app: FastAPI) -> None:
    """Enumerations come as text although the model is strict."""
    answer = post(app, b'{"colour": "red", "inner": {"n": 1}}')
    assert (answer.status_code, answer.json()) == (200, {"colour": "RED"})
    for media_type in ("application/json; charset=utf-8", "Application/Problem+JSON"):
        assert post(app, b'{"colour":"red"}', {"Content-Type": media_type}).status_code == 200


def test_the_document_shows_the_model(app: FastAPI) -> None:
    """Whoever reads OpenAPI sees what to send."""
    operation = app.openapi()["paths"]["/things"]["post"]
    schema = operation["requestBody"]["content"]["application/json"]["schema"]
    assert operation["requestBody"]["required"] is True
    assert set(schema["properties"]) == {"colour", "inner", "size"}
    assert schema["title"] == "Thing"


@pytest.mark.parametrize(
    ("body", "code"),
    [
        (b"", "invalid_request"),
        (b"{", "invalid_json"),
        (b"null", "invalid_request"),
        (b"[]", "invalid_request"),
        (b'"red"', "invalid_request"),
        (b'{"colour": "blue"}', "invalid_request"),
        (b'{"colour": "red", "size": "1"}', "invalid_request"),
        (b'{"colour": "red", "shape": 1}', "invalid_request"),
        (b'{"colour": "red", "colour": "red"}', "duplicate_key"),
        (b'{"colour": "red", "inner": {"n": 1, "\\u006e": 2}}', "duplicate_key"),
        (b'{"colour": "red", "size": NaN}', "invalid_json"),
        (b'{"colour": "red", "size": -Infinity}', "invalid_json"),
        (b'{"colour": "red", "size": 1e999}', "invalid_json"),
        (b'{"colour": "red", "inner": {"n": 123456789012345678901234567890}}', "invalid_json"),
        (b'{"colour": "red", "inner": {"n": ' + b"9" * 5_000 + b"}}", "invalid_json"),
        (b'{"colour": "\\ud800"}', "invalid_json"),
        (b'{"\\ud800": 1}', "invalid_json"),
        (b'{"colour": "\xff"}', "invalid_json"),
        (b'\xef\xbb\xbf{"colour": "red"}', "invalid_json"),
        ('{"colour": "red"}'.encode("utf-16"), "invalid_json"),
        (b"[" * 60_000, "invalid_json"),
        (b'{"a":' * 10_000 + b"1" + b"}" * 10_000, "invalid_json"),
        (b"[" * 33 + b"]" * 33, "too_deep"),
        (b'{"colour": "red"} {}', "invalid_json"),
        (b'{"colour": "red",}', "invalid_json"),
        (b"{'colour': 'red'}", "invalid_json"),
    ],
)
def test_what_cannot_be_read_is_a_problem(app: FastAPI, body: bytes, code: str) -> None:
    """422 with a code."""
    answer = post(app, body)
    assert (answer.status_code, answer.json()["code"]) == (422, code), answer.text
    assert answer.headers["content-type"] == "application/problem+json"


def test_only_json_is_taken(app: FastAPI) -> None:
    """Above all nothing that a form of a foreign page can send."""
    for media_type in (
        "text/plain",
        "application/x-www-form-urlencoded",
        "multipart/form-data; boundary=x",
        "",
    ):
        answer = post(app, b'{"colour": "red"}', {"Content-Type": media_type} if media_type else {})
        assert (answer.status_code, answer.json()["code"]) == (415, "unsupported_media_type"), media_type


def test_an_answer_does_not_repeat_much_of_the_body(app: FastAPI) -> None:
    """A few faults, and no long or unprintable names."""
    body = {"colour": "red"} | {f"extra{number}": 1 for number in range(1_000)}
    answer = post(app, json.dumps(body).encode())
    assert len(answer.json()["errors"]) == MAX_FAULTS
    answer = post(app, json.dumps({"colour": "red", "x" * 5_000: 1, "\x00": 2}).encode())
    assert len(answer.content) < 1_000
    assert {fault["where"] for fault in answer.json()["errors"]} == {"body.(a name)"}


def test_brackets_in_texts_are_no_depth() -> None:
    """Only objects and lists count."""
    text = "[" * 100 + '\\"{' + "\\"
    assert strict_json(json.dumps([text]).encode()) == [text]


@given(st.integers(1, 200))
def test_depth_has_a_limit(depth: int) -> None:
    """Exactly so many objects and lists inside each other."""
    raw = b"[" * depth + b"]" * depth
    if depth <= MAX_DEPTH:
        strict_json(raw)
        return
    with pytest.raises(ProblemError, match="too_deep"):
        strict_json(raw)


values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**64 - 1) | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=20,
)  # fmt: skip


@given(values)
def test_json_is_read_as_it_was_meant(value: Any) -> None:
    """Whatever JSON can say comes back."""
    assert strict_json(json.dumps(value).encode()) == value
    assert strict_json(json.dumps(value, ensure_ascii=False).encode()) == value


@given(st.binary(max_size=200))
def test_any_bytes_are_json_or_a_problem(raw: bytes) -> None:
    """No other exception comes out."""
    with suppress(ProblemError):
        strict_json(raw)
