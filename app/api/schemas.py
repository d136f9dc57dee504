"""`/v1/schemas`: JSON Schemas of every message, for whoever validates what comes. Public: they tell nothing."""

from __future__ import annotations

from functools import cache
from typing import Annotated, Any

import orjson
from fastapi import APIRouter, Path, Request, Response

from app.api.contracts.asyncapi import asyncapi_document
from app.api.contracts.schemas import message_schemas
from app.api.errors import ProblemError
from app.api.etags import NOT_MODIFIED, holds, weak_etag
from app.api.protocol import Problem

MEDIA_TYPE = "application/schema+json"
_KEEP = "public, max-age=3600"

router = APIRouter(tags=["contracts"])


@router.get(
    "/asyncapi.json",
    summary="The AsyncAPI document",
    response_class=Response,
    responses={200: {"content": {"application/json": {"schema": {"type": "object"}}}}, **NOT_MODIFIED},
)
async def get_asyncapi(request: Request) -> Response:
    """The native protocol, the live feeds and webhooks, for machines."""
    return _kept(request, _asyncapi(request.app.version), "application/json")


@router.get(
    "/v1/schemas",
    summary="The names of all schemas",
    response_model=dict[str, list[str]],
    responses=NOT_MODIFIED,
)
async def list_schemas(request: Request) -> Response:
    """Names are `<family>.<type>`: `client`, `service`, `live`, `event` and `webhook`."""
    return _kept(request, orjson.dumps({"items": list(_schemas())}), "application/json")


@router.get(
    "/v1/schemas/{name}",
    summary="The JSON Schema of a message",
    response_class=Response,
    responses={
        200: {"content": {MEDIA_TYPE: {"schema": {"type": "object"}}}},
        404: {"model": Problem},
        **NOT_MODIFIED,
    },
)
async def get_schema(
    request: Request, name: Annotated[str, Path(description="As in the list, with or without `.json`.")]
) -> Response:
    """Draft 2020-12. What is added within `/v1` does not contradict it."""
    schema = _schemas().get(name.removesuffix(".json"))
    if schema is None:
        raise ProblemError(
            404, "schema_not_found", "No such schema", "expected a name that /v1/schemas lists"
        )
    return _kept(request, schema, MEDIA_TYPE)


@cache
def _schemas() -> dict[str, bytes]:
    return {name: orjson.dumps(schema) for name, schema in message_schemas().items()}


@cache
def _asyncapi(version: str) -> bytes:
    return orjson.dumps(asyncapi_document(version))


def _kept(request: Request, content: bytes, media_type: str) -> Response:
    """An answer that may be kept by anyone."""
    headers: dict[str, Any] = {"ETag": weak_etag(content.decode()), "Cache-Control": _KEEP}
    if holds(request.headers, headers["ETag"]):
        return Response(status_code=304, headers=headers)
    return Response(content, headers=headers, media_type=media_type)
