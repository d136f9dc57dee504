"""The OpenAPI document: valid, complete, and what lies in docs/."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator
from openapi_spec_validator import OpenAPIV31SpecValidator

from app.api.contracts.examples import BODIES, PARAMETERS, RESPONSES
from app.api.contracts.openapi import TAGS, codes_of, operations
from app.api.contracts.problems import KINDS
from app.api.errors import MEDIA_TYPE
from app.cli.contracts import SCHEMAS, contract_files
from app.main import create_app
from app.settings import Settings
from tests.contracts.seeded import Seeded, seeded

DOCS = Path(__file__).resolve().parents[2] / "docs"
PUBLIC = {
    "livez",
    "readyz",
    "metrics",
    "take_telnyx_webhook",
    "take_twilio_webhook",
    "get_asyncapi",
    "list_schemas",
    "get_schema",
}


@pytest.fixture(scope="module")
def document() -> dict[str, Any]:
    """The document as it is served."""
    return create_app(Settings.model_construct()).openapi()


@pytest.fixture(scope="module")
def held(bundle: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Seeded]:
    """A service that holds one of everything."""
    with seeded(bundle, tmp_path_factory.mktemp("seeded")) as running:
        yield running


def test_committed_files_are_what_the_code_gives() -> None:
    """`make contracts` changes nothing."""
    made = contract_files()
    committed = {f"{SCHEMAS}/{path.name}" for path in (DOCS / SCHEMAS).iterdir()}
    assert committed == {name for name in made if name.startswith(f"{SCHEMAS}/")}
    stale = [name for name, text in made.items() if (DOCS / name).read_text(encoding="utf-8") != text]
    assert stale == [], "run `make contracts`"


def test_the_document_is_valid(document: dict[str, Any]) -> None:
    """By the meta-schema of OpenAPI 3.1, with every reference and example."""
    assert document["openapi"].startswith("3.1.")
    assert list(OpenAPIV31SpecValidator(document).iter_errors()) == []


def test_operations_are_named_and_described(document: dict[str, Any]) -> None:
    """Each has a readable name of its own, one known tag, a summary and a description."""
    names = [operation["operationId"] for _, _, operation in operations(document)]
    assert len(set(names)) == len(names)
    for _, _, operation in operations(document):
        assert re.fullmatch(r"[a-z]+(_[a-z]+)*", operation["operationId"])
        assert len(operation["tags"]) == 1
        assert operation["summary"]
        assert operation["description"]
    used = {operation["tags"][0] for _, _, operation in operations(document)}
    assert used == set(TAGS) == {tag["name"] for tag in document["tags"]}


def test_problems_are_documented_everywhere(document: dict[str, Any]) -> None:
    """Whatever wants credentials says how it refuses; problems have their media type, and each is used somewhere."""
    for path, method, operation in operations(document):
        given = set(operation["responses"])
        if operation["operationId"] in PUBLIC:
            assert "security" not in operation
            continue
        assert operation["security"] == [{"HTTPBearer": []}, {"APIKeyHeader": []}]
        expected = {"400", "401", "403", "421", "422", "429", "503"}
        expected |= {"404"} if "{" in path else set()
        expected |= {"413"} if "requestBody" in operation else set()
        assert expected <= given, f"{method} {path}"
        for status, response in operation["responses"].items():
            is_problem = "$ref" in response
            assert is_problem == (int(status) >= 400), f"{method} {path} {status}"
    assert codes_of(document) == set(KINDS)
    for response in document["components"]["responses"].values():
        assert list(response["content"]) == [MEDIA_TYPE]


def test_examples_belong_to_something(document: dict[str, Any]) -> None:
    """Every example is shown, and every JSON body has one, or names a file's shape."""
    names = {operation["operationId"] for _, _, operation in operations(document)}
    shown = {
        parameter["name"]
        for _, _, operation in operations(document)
        for parameter in operation.get("parameters", ())
    }
    assert set(BODIES) <= names
    assert set(RESPONSES) <= names
    assert set(PARAMETERS) <= shown
    without = {
        operation["operationId"]
        for _, _, operation in operations(document)
        if "application/json" in operation.get("requestBody", {}).get("content", {})
    } - set(BODIES)
    assert without == {"import_profile", "take_telnyx_webhook"}


@pytest.mark.parametrize("name", BODIES)
def test_examples_of_bodies_are_taken(held: Seeded, document: dict[str, Any], name: str) -> None:
    """Sent as they stand, to what is held, they do what they say."""
    held.seed()
    ((path, method, _),) = [found for found in operations(document) if found[2]["operationId"] == name]
    body = dict(BODIES[name])
    if "endpoint_id" in body:
        body["endpoint_id"] = held.known["endpoint_id"]
    if name == "make_endpoint":
        body["url"] = "https://hooks.example/kowairo"
    for parameter in re.findall(r"\{(\w+)\}", path):
        path = path.replace(f"{{{parameter}}}", held.known.get(parameter, str(PARAMETERS[parameter])))
    answer = held.web.request(method.upper(), path, json=body)
    assert answer.is_success, answer.text
    media = document["paths"][next(p for p, _, o in operations(document) if o["operationId"] == name)]
    assert str(answer.status_code) in media[method]["responses"]


def test_examples_of_answers_have_their_shape(document: dict[str, Any]) -> None:
    """The validator does not look into them, so they are held to the schema here."""
    for name, example in RESPONSES.items():
        ((_, _, operation),) = [found for found in operations(document) if found[2]["operationId"] == name]
        schema = operation["responses"]["200"]["content"]["application/json"]["schema"]
        Draft202012Validator({**document, **schema}).validate(example)


def test_the_service_serves_it(held: Seeded) -> None:
    """To everybody; and the pages read it."""
    answer = held.web.get("/openapi.json", headers={"Authorization": ""})
    assert answer.status_code == 200
    assert answer.json() == json.loads((DOCS / "openapi.json").read_text(encoding="utf-8"))
