"""Cheap polling: an answer names its state, and is not sent again to who has it."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from typing import Any

import orjson
from fastapi import Request
from starlette.responses import Response

from app.access.principal import Principal
from app.api.deps import Services
from app.results.store import CallInfo

EXPIRY_GRAIN_S = 60.0
"""What expires makes no new version everywhere, so that a tag of a list is good for no longer."""

_TAG = re.compile(r'(?:W/)?"([\x21\x23-\x7e\x80-\xff]*)"')

NOT_MODIFIED: dict[int | str, dict[str, Any]] = {
    304: {"description": "What `If-None-Match` names is current."}
}


def weak_etag(*parts: object) -> str:
    """A weak entity tag of what an answer depends on: plain JSON values."""
    return f'W/"{hashlib.sha256(orjson.dumps(parts)).hexdigest()[:24]}"'


async def list_etag(request: Request, services: Services, principal: Principal, *more: object) -> str:
    """The tag of an answer that depends on all of a tenant's calls: one number is read. more: plain JSON values."""
    version = await services.store.version(principal.tenant)
    grain = int(services.clock.now() // EXPIRY_GRAIN_S)
    return weak_etag(_origin(services), principal.tenant, version, grain, *_query(request), *more)


def call_etag(request: Request, services: Services, call: CallInfo) -> str:
    """The tag of an answer that depends on one call."""
    state = (call.tenant, call.call_id, call.started_at, call.version)
    return weak_etag(_origin(services), *state, *_query(request))


def _query(request: Request) -> tuple[str, list[tuple[str, str]]]:
    """The path and the query of a request, whatever the order of parameters."""
    return request.url.path, sorted(request.query_params.multi_items())


def _origin(services: Services) -> str:
    """What versions count from: a store in memory begins again with each process."""
    return services.owner if services.settings.store.in_memory else ""


def cache_headers(etag: str) -> dict[str, str]:
    """Headers of an answer that its reader may keep, if it asks each time whether it is current."""
    return {"ETag": etag, "Cache-Control": "private, no-cache", "Vary": "Authorization, X-API-Key"}


def holds(headers: Mapping[str, str], etag: str) -> bool:
    """Whether `If-None-Match` names the tag (RFC 9110, weak comparison)."""
    given = headers.get("if-none-match", "").strip()
    return given == "*" or etag.removeprefix("W/").strip('"') in _TAG.findall(given)


def cached(request: Request, etag: str) -> Response | None:
    """The empty 304 for who has the answer already; None for everybody else."""
    return Response(status_code=304, headers=cache_headers(etag)) if holds(request.headers, etag) else None


def json_answer(body: Mapping[str, Any], etag: str) -> Response:
    """A JSON object with its tag."""
    return Response(orjson.dumps(body), headers=cache_headers(etag), media_type="application/json")
