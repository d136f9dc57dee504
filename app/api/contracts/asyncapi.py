"""The AsyncAPI document: the native protocol in both directions, the live feeds, and what webhooks deliver."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pydantic import BaseModel

from app.access.credentials import API_KEY_HEADER
from app.api.contracts.examples import CALL_ID, MESSAGES
from app.api.contracts.messages import (
    ASKED,
    CALL_EVENTS,
    CALL_MESSAGES,
    SAID,
    TENANT_EVENTS,
    TENANT_MESSAGES,
    WEBHOOKS,
    camel,
)
from app.api.contracts.schemas import component_schemas, message_models, open_ended
from app.api.live_query import CallQuery, FeedQuery
from app.wire.base import CloseCode

Part = dict[str, Any]

CLOSE_CODES: Mapping[CloseCode, str] = {
    CloseCode.DONE: "Done: `stop` was answered completely, or the feed's call is over.",
    CloseCode.DRAINING: "The process ends: connect again, elsewhere, and resume.",
    CloseCode.UNSUPPORTED: "A message type, encoding, rate, channel or order that the service does not serve.",
    CloseCode.INVALID: "A message that is not what it should be.",
    CloseCode.POLICY: "Credentials, order of messages, a taken id; or `slow_reader`.",
    CloseCode.TOO_BIG: "A message is too big.",
    CloseCode.SERVER: "The service failed.",
    CloseCode.OVERLOADED: "There is no room, or the store is away: try again later; `retry-after` may say when.",
}

_FEEDS: Mapping[str, tuple[str, type[BaseModel], Mapping[str, Any], Mapping[str, Any]]] = {
    "events": ("/v1/events", FeedQuery, TENANT_MESSAGES, TENANT_EVENTS),
    "callEvents": ("/v1/calls/{call_id}/events", CallQuery, CALL_MESSAGES, CALL_EVENTS),
}
_ABOUT = {
    "events": "What happens to all calls of the tenant, numbered by `position`.",
    "callEvents": "What happens to one call, numbered by `seq`; ends with the call.",
}
_WEBHOOK_HEADERS: Part = {
    "type": "object",
    "required": ["webhook-id", "webhook-timestamp", "webhook-signature"],
    "properties": {
        "webhook-id": {"type": "string", "description": "The same for every attempt: the idempotency key."},
        "webhook-timestamp": {
            "type": "string",
            "pattern": "^[0-9]+$",
            "description": "Of the attempt, epoch s.",
        },
        "webhook-signature": {"type": "string", "description": "`v1,` and base64; several apart by spaces."},
    },
}


def asyncapi_document(version: str) -> Part:
    """The document. version: of the service."""
    channels: Part = {"stream": _stream(), "webhook": _webhook()}
    operations: Part = {
        "takeCall": _operation("receive", "stream", [f"client.{kind}" for kind in (*ASKED, "audio")]),
        "answerCall": _operation("send", "stream", [f"service.{kind}" for kind in SAID]),
        "deliverWebhook": _operation("send", "webhook", [f"webhook.{kind}" for kind in WEBHOOKS]),
    }
    for name, (address, query, on_socket, as_text) in _FEEDS.items():
        socket, text = f"{name}Socket", f"{name}Stream"
        channels[socket] = _feed(name, address, query, _names("live", on_socket), "websocket")
        channels[text] = _feed(name, address, query, _names("event", as_text), "http")
        operations[f"tell{camel(name)}OnSocket"] = _operation("send", socket, _names("live", on_socket))
        operations[f"tell{camel(name)}AsText"] = _operation("send", text, _names("event", as_text))
    return {
        "asyncapi": "3.0.0",
        "info": {
            "title": "Kowairo",
            "version": version,
            "description": "Calls come in, and results go out, as they happen. Plain HTTP is in openapi.json; words "
            "are in docs/protocol.md, docs/live.md and docs/webhooks.md. Operations are named from the service's "
            "side: it receives what clients send.",
            "license": {"name": "Apache License 2.0"},
        },
        "defaultContentType": "application/json",
        "servers": _servers(),
        "channels": channels,
        "operations": operations,
        "components": {
            "messages": _messages(),
            "schemas": component_schemas(message_models()),
            "securitySchemes": {
                "bearer": {
                    "type": "http",
                    "scheme": "bearer",
                    "description": "An API key or a token, where credentials are needed.",
                },
                "apiKey": {"type": "httpApiKey", "in": "header", "name": API_KEY_HEADER},
            },
        },
    }


def _servers() -> Part:
    security = [{"$ref": f"#/components/securitySchemes/{name}"} for name in ("bearer", "apiKey")]
    host = "127.0.0.1:8000"
    return {
        "websocket": {
            "host": host,
            "protocol": "ws",
            "description": "wss behind a proxy that ends TLS. Browsers offer the sub-protocols `kowairo` and "
            "`bearer.<key>`.",
            "security": security,
        },
        "http": {"host": host, "protocol": "http", "security": security},
        "receiver": {
            "host": "crm.example.com",
            "protocol": "https",
            "description": "Yours: where a webhook endpoint was made.",
        },
    }


def _stream() -> Part:
    names = [*(f"client.{kind}" for kind in (*ASKED, "audio")), *(f"service.{kind}" for kind in SAID)]
    return {
        "address": "/v1/stream",
        "description": "One WebSocket carries one call. Text messages are JSON, binary ones are audio.",
        "servers": [{"$ref": "#/servers/websocket"}],
        "messages": _references(names),
        "bindings": {"ws": {"method": "GET", "bindingVersion": "0.1.0"}},
        "x-close-codes": _close_codes(),
    }


def _feed(name: str, address: str, query: type[BaseModel], messages: list[str], server: str) -> Part:
    channel: Part = {
        "address": address,
        "description": _ABOUT[name],
        "servers": [{"$ref": f"#/servers/{server}"}],
        "messages": _references(messages),
    }
    if "{call_id}" in address:
        channel["parameters"] = {"call_id": {"description": "The call's id.", "examples": [CALL_ID]}}
    if server == "websocket":
        parameters = open_ended(_inlined(query.model_json_schema()))
        channel["bindings"] = {"ws": {"method": "GET", "query": parameters, "bindingVersion": "0.1.0"}}
        channel["x-close-codes"] = _close_codes()
    else:
        channel["description"] += (
            " As server-sent events: the type in `event`, the body in `data`, numbers in `id`."
        )
    return channel


def _webhook() -> Part:
    return {
        "address": None,
        "description": "One POST for each event, to the URL of the endpoint; signed (Standard Webhooks).",
        "servers": [{"$ref": "#/servers/receiver"}],
        "messages": _references([f"webhook.{kind}" for kind in WEBHOOKS]),
    }


def _operation(action: str, channel: str, messages: list[str]) -> Part:
    made: Part = {
        "action": action,
        "channel": {"$ref": f"#/channels/{channel}"},
        "messages": [{"$ref": f"#/channels/{channel}/messages/{name}"} for name in messages],
    }
    if channel == "webhook":
        made["bindings"] = {"http": {"method": "POST", "bindingVersion": "0.3.0"}}
    elif channel.endswith("Stream"):
        made["bindings"] = {"http": {"method": "GET", "bindingVersion": "0.3.0"}}
    return made


def _messages() -> Part:
    found: Part = {
        "client.audio": {
            "name": "audio",
            "title": "Audio",
            "summary": "Interleaved samples in the encoding of `start`, cut anywhere.",
            "contentType": "application/octet-stream",
            "payload": {"type": "string", "format": "binary"},
        }
    }
    for name, model in message_models().items():
        message: Part = {
            "name": name.split(".")[1],
            "title": name,
            "summary": (model.__doc__ or "").partition("\n")[0],
            "contentType": "application/json",
            "payload": {"$ref": f"#/components/schemas/{model.__name__}"},
        }
        if name.startswith("webhook."):
            message["headers"] = _WEBHOOK_HEADERS
        if name in MESSAGES:
            message["examples"] = [{"payload": MESSAGES[name]}]
        found[name] = message
    return found


def _names(family: str, messages: Mapping[str, Any]) -> list[str]:
    """Published names of a feed's messages; see `message_models`."""
    models = message_models()
    return [
        f"{family}.{kind}" if models[f"{family}.{kind}"] is model else f"{family}.{kind}.feed"
        for kind, model in messages.items()
    ]


def _references(names: list[str]) -> Part:
    return {name: {"$ref": f"#/components/messages/{name}"} for name in names}


def _close_codes() -> list[Part]:
    return [{"code": int(code), "meaning": meaning} for code, meaning in CLOSE_CODES.items()]


def _inlined(schema: Part) -> Part:
    """A schema without definitions of its own: what they define stands where it is used."""
    definitions = schema.pop("$defs", {})

    def resolved(part: Any) -> Any:
        if isinstance(part, list):
            return [resolved(one) for one in part]
        if not isinstance(part, dict):
            return part
        if "$ref" in part:
            return resolved(definitions[part["$ref"].rpartition("/")[2]])
        return {name: resolved(value) for name, value in part.items()}

    made: Part = resolved(schema)
    return made
