"""The OpenAPI document: what FastAPI makes of the routes, completed with what holds for all of them.

Routes say what is theirs; what any request may be told (credentials, limits, a store that is away) is added here, so
that no route can forget it. Problems are `application/problem+json`, operations have readable names.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi

from app.api.contracts.examples import BODIES, PARAMETERS, RESPONSES
from app.api.contracts.problems import KINDS, reference, responses, statuses

Operation = dict[str, Any]

TAGS: Mapping[str, str] = {
    "calls": "What was found out about calls.",
    "stats": "How customers sounded over time; agents are never ranked.",
    "exports": "Files for analysts, sent while they are read.",
    "feedback": "What people heard, kept for retraining.",
    "live": "What happens, as it happens: server-sent events (`asyncapi.json` has the WebSockets).",
    "webhooks": "Where a tenant is told of its calls, and what could not be delivered.",
    "alerts": "Rules on records, and what they raised.",
    "score": "A recording, scored now and kept nowhere.",
    "models": "What scores are made with.",
    "lines": "What was learned of each line.",
    "privacy": "Erasure with receipts, retention, the audit log.",
    "keys": "API keys.",
    "carriers": "What telephone systems tell beside their sockets.",
    "contracts": "JSON Schemas of every message.",
    "health": "Whether the process lives, may get calls, and how it is doing.",
}

_NAMES = {
    "events": "stream_events",
    "call_events": "stream_call_events",
    "freeze": "freeze_line",
    "unfreeze": "unfreeze_line",
    "reset": "reset_line",
    "score": "score_recording",
    "register": "announce_audiosocket_call",
    "telnyx": "take_telnyx_webhook",
    "twilio": "take_twilio_webhook",
}
"""Operations whose function's name says too little."""

_WEBHOOK_BODIES: Mapping[str, Any] = {
    "take_telnyx_webhook": {"application/json": {"schema": {"type": "object"}}},
    "take_twilio_webhook": {"application/x-www-form-urlencoded": {"schema": {"type": "object"}}},
}
"""Bodies that routes read by themselves: their signature covers every byte."""

_FASTAPIS = frozenset({"HTTPValidationError", "ValidationError"})
"""Schemas of FastAPI's own errors, which this service does not answer."""
_TIMES = frozenset({"since", "until"})
_ETAG = {
    "ETag": {
        "description": "Names this state; send it back as `If-None-Match`.",
        "schema": {"type": "string"},
    }
}
_IF_NONE_MATCH = {
    "name": "If-None-Match",
    "in": "header",
    "required": False,
    "schema": {"type": "string"},
    "description": "The `ETag` of the answer that you have: an empty 304 while it is current.",
}


def install_openapi(app: FastAPI) -> None:
    """Has the application serve the completed document, made once."""
    made: dict[str, Any] = {}

    def document() -> dict[str, Any]:
        if not made:
            made.update(openapi_document(app))
        return made

    app.openapi = document  # type: ignore[method-assign]


def openapi_document(app: FastAPI) -> dict[str, Any]:
    """The document of the application's routes."""
    document = get_openapi(
        title=app.title,
        version=app.version,
        summary="Emotion of telephone calls, utterance by utterance.",
        description=app.description,
        routes=app.routes,
        license_info={"name": "Apache License 2.0", "identifier": "Apache-2.0"},
        tags=[{"name": name, "description": text} for name, text in TAGS.items()],
        servers=[{"url": "/", "description": "The service that serves this document."}],
    )
    components = document["components"]
    components["responses"] = responses()
    for path, method, operation in operations(document):
        operation["operationId"] = _operation_name(operation["operationId"], path, method)
    document["paths"] = {_plain_path(path): item for path, item in document["paths"].items()}
    for path, _method, operation in operations(document):
        _complete(path, operation, components["schemas"])
    kept = {name: schema for name, schema in components["schemas"].items() if name not in _FASTAPIS}
    components["schemas"] = dict(sorted(kept.items()))
    return document


def operations(document: Mapping[str, Any]) -> Iterator[tuple[str, str, Operation]]:
    """Every (path, method, operation) of a document."""
    for path, item in document["paths"].items():
        for method, operation in item.items():
            yield path, method, operation


def _plain_path(path: str) -> str:
    """A path without the parameter that only tells a trailing slash."""
    return path.replace("{slash}", "")


def _complete(path: str, operation: Operation, schemas: dict[str, Any]) -> None:
    name = operation["operationId"]
    parameters = [given for given in operation.get("parameters", ()) if given["name"] != "slash"]
    for parameter in parameters:
        _complete_parameter(parameter)
    if "304" in operation["responses"]:
        parameters.append(_IF_NONE_MATCH)
        operation["responses"]["200"]["headers"] = _ETAG
    operation.pop("parameters", None)
    if parameters:
        operation["parameters"] = parameters
    _complete_body(name, operation, schemas)
    _complete_responses(path, operation)
    if name in RESPONSES:
        operation["responses"]["200"]["content"]["application/json"]["example"] = RESPONSES[name]


def _operation_name(made: str, path: str, method: str) -> str:
    """The function's name, of FastAPI's `<name><path>_<method>`."""
    name = made.removesuffix(re.sub(r"\W", "_", f"{path}_{method}"))
    return _NAMES.get(name, name)


def _complete_parameter(parameter: dict[str, Any]) -> None:
    """A parameter that is left out is not null; and an example."""
    schema = parameter["schema"]
    kinds = [kind for kind in schema.get("anyOf", ()) if kind != {"type": "null"}]
    if len(kinds) == 1:
        del schema["anyOf"]
        schema.update(kinds[0])
    if parameter["name"] in _TIMES:
        schema["format"] = "date-time"
    example = PARAMETERS.get(parameter["name"])
    if example is not None:
        parameter["example"] = example


def _complete_body(name: str, operation: Operation, schemas: dict[str, Any]) -> None:
    """Gives a body that is written out where it is used a name, and an example."""
    if name in _WEBHOOK_BODIES:
        operation["requestBody"] = {"required": True, "content": _WEBHOOK_BODIES[name]}
    media = operation.get("requestBody", {}).get("content", {}).get("application/json")
    if media is None or name in _WEBHOOK_BODIES:
        return
    schema = media["schema"]
    title = schema.get("title")
    if title is not None and "$ref" not in schema:
        schemas[title] = schema
        media["schema"] = {"$ref": f"#/components/schemas/{title}"}
    if name in BODIES:
        media["example"] = BODIES[name]


def _complete_responses(path: str, operation: Operation) -> None:
    given: dict[str, Any] = operation["responses"]
    for status, response in list(given.items()):
        content = response.get("content", {})
        told = content.get("application/json", {}).get("schema", {}).get("$ref", "").rpartition("/")[2]
        if told == "Problem":
            given[status] = reference(int(status))
        elif told in _FASTAPIS:
            del given[status]  # added again below where anything can be invalid
    for number in statuses(operation, path):
        given.setdefault(str(number), reference(number))
    operation["responses"] = dict(sorted(given.items()))


def codes_of(document: Mapping[str, Any]) -> set[int]:
    """Every status of a problem that some operation names."""
    names = {kind.name: status for status, kind in KINDS.items()}
    found = set()
    for _, _, operation in operations(document):
        for response in operation["responses"].values():
            if "$ref" in response:
                found.add(names[response["$ref"].rpartition("/")[2]])
    return found
