"""Every operation of the OpenAPI document, with data made from its schemas: good, and wrong in every way.

In this process, without sockets. The live feeds and the carriers' own webhooks are left out: the feeds never end (their
tests are in tests/api/test_live.py), and the webhooks' bodies count by their signature, which no schema can describe.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
import requests
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from schemathesis import APIOperation, Case, GenerationMode
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi import checks

from app.main import create_app
from app.settings import Settings
from tests.contracts.seeded import Seeded, seeded

LEFT_OUT = frozenset(
    {"stream_events", "stream_call_events", "take_telnyx_webhook", "take_twilio_webhook", "metrics"}
)
ANSWER_CHECKS: list[Callable[..., Any]] = [
    not_a_server_error,
    checks.status_code_conformance,
    checks.content_type_conformance,
    checks.response_headers_conformance,
    checks.response_schema_conformance,
]
REFUSAL_CHECKS = [*ANSWER_CHECKS, checks.negative_data_rejection]
EXAMPLES = settings(
    max_examples=6,
    derandomize=True,
    database=None,
    deadline=None,
    phases=[Phase.generate],
    suppress_health_check=list(HealthCheck),
)


def document() -> dict[str, Any]:
    """The OpenAPI document."""
    return create_app(Settings()).openapi()


SCHEMA = schemathesis.openapi.from_dict(document())
OPERATIONS: list[APIOperation[Any, Any, Any, Any]] = [
    found.ok()
    for found in SCHEMA.get_all_operations()
    if found.ok().definition.raw["operationId"] not in LEFT_OUT
]
LABELS = [operation.definition.raw["operationId"] for operation in OPERATIONS]


@pytest.fixture(scope="module")
def held(bundle: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Seeded]:
    """A service that holds one of everything."""
    with seeded(bundle, tmp_path_factory.mktemp("seeded")) as running:
        yield running


@pytest.mark.parametrize("operation", OPERATIONS, ids=LABELS)
def test_answers_are_as_the_document_says(held: Seeded, operation: APIOperation[Any, Any, Any, Any]) -> None:
    """No failure of the service, and statuses, headers, media types and bodies that are documented."""
    held.seed()
    known = {name: held.known[name] for name in _path_names(operation) if name in held.known}
    strategies = [operation.as_strategy(GenerationMode.POSITIVE)]
    if known:
        strategies.append(operation.as_strategy(GenerationMode.POSITIVE, path_parameters=known))

    @EXAMPLES
    @given(case=st.one_of(strategies))
    def check(case: Case) -> None:
        _send_and_check(held, case, ANSWER_CHECKS)

    check()


@pytest.mark.parametrize(
    "operation",
    [operation for operation in OPERATIONS if operation.query or operation.body],
    ids=[
        operation.definition.raw["operationId"]
        for operation in OPERATIONS
        if operation.query or operation.body
    ],
)
def test_wrong_data_is_refused(held: Seeded, operation: APIOperation[Any, Any, Any, Any]) -> None:
    """What the schemas do not allow is answered with a problem, never with success or a failure of the service."""
    held.seed()

    @EXAMPLES
    @given(case=operation.as_strategy(GenerationMode.NEGATIVE))
    def check(case: Case) -> None:
        _send_and_check(held, case, REFUSAL_CHECKS)

    check()


def _path_names(operation: APIOperation[Any, Any, Any, Any]) -> list[str]:
    return [parameter.name for parameter in operation.path_parameters]


def _send_and_check(held: Seeded, case: Case, wanted: list[Callable[..., Any]]) -> None:
    given = case.as_transport_kwargs(base_url="http://127.0.0.1")
    given["headers"] = {**(given.get("headers") or {}), **held.tenant.headers()}
    given["headers"] = {
        name: value for name, value in given["headers"].items() if name.lower() != "x-api-key"
    }
    try:
        request = requests.Request(**given).prepare()
        path, headers = request.path_url, {name: _text(value) for name, value in request.headers.items()}
        answer = held.web.request(str(request.method), path, headers=headers, content=request.body or b"")
    except (requests.RequestException, httpx.InvalidURL, UnicodeError):
        return  # no client can send this
    case.validate_response(answer, checks=wanted)


def _text(value: str | bytes) -> str:
    return value.decode("latin-1") if isinstance(value, bytes) else value
