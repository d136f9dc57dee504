"""JSON Schemas of every message, each a document of its own; and as components of the AsyncAPI document."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pydantic import BaseModel
from pydantic.json_schema import JsonSchemaMode, models_json_schema

from app.api.contracts.messages import (
    ASKED,
    CALL_EVENTS,
    CALL_MESSAGES,
    SAID,
    TENANT_EVENTS,
    TENANT_MESSAGES,
    WEBHOOKS,
)

DIALECT = "https://json-schema.org/draft/2020-12/schema"
PATH = "/v1/schemas"

Schema = dict[str, Any]


def message_models() -> dict[str, type[BaseModel]]:
    """Every message by its published name, `<family>.<type>`.

    `client` and `service`: the native protocol. `live`: WebSockets of the live feeds. `event`: the data of server-sent
    events. `webhook`: what is delivered. What the feed of all calls says otherwise than that of one is `.feed`.
    """
    models: dict[str, type[BaseModel]] = {}
    models |= {f"client.{kind}": model for kind, model in ASKED.items()}
    models |= {f"service.{kind}": model for kind, model in SAID.items()}
    for family, of_call, of_tenant in (
        ("live", CALL_MESSAGES, TENANT_MESSAGES),
        ("event", CALL_EVENTS, TENANT_EVENTS),
    ):
        models |= {f"{family}.{kind}": model for kind, model in of_call.items()}
        models |= {
            f"{family}.{kind}.feed" if kind in of_call else f"{family}.{kind}": model
            for kind, model in of_tenant.items()
            if of_call.get(kind) is not model
        }
    models |= {f"webhook.{kind}": model for kind, model in WEBHOOKS.items()}
    return dict(sorted(models.items()))


def message_schemas(strict: bool = False) -> dict[str, Schema]:
    """The schema of every message, by its published name.

    strict: messages of the service have no members but those that are named, as tests want it. Published ones leave
    room for what is added within `/v1`.
    """
    found = {}
    for name, model in message_models().items():
        schema = model.model_json_schema(mode=_mode(name))
        if not strict:
            schema = open_ended(schema)
        found[name] = {"$schema": DIALECT, "$id": f"{PATH}/{name}", **schema}
    return found


def component_schemas(names: Mapping[str, type[BaseModel]]) -> dict[str, Schema]:
    """Schemas of these models and of all that they are made of, by their own names, referring to each other."""
    asked: list[tuple[type[BaseModel], JsonSchemaMode]] = [
        (model, _mode(name)) for name, model in names.items()
    ]
    _, made = models_json_schema(asked, ref_template="#/components/schemas/{model}")
    return {name: open_ended(schema) for name, schema in sorted(made["$defs"].items())}


def open_ended(schema: Any) -> Any:
    """The schema without `additionalProperties: false`, all the way down."""
    if isinstance(schema, list):
        return [open_ended(one) for one in schema]
    if not isinstance(schema, dict):
        return schema
    return {
        name: open_ended(value)
        for name, value in schema.items()
        if not (name == "additionalProperties" and value is False)
    }


def _mode(name: str) -> JsonSchemaMode:
    return "validation" if name.startswith("client.") else "serialization"
