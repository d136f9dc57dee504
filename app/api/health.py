"""Is the process alive, may it get calls, and how is it doing."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter, Response

from app.api.deps import ServicesDep
from app.api.protocol import ReadyBody
from app.results.store import StoreError
from app.telemetry.metrics import CONTENT_TYPE

router = APIRouter(tags=["health"])


@router.get("/livez", summary="The process answers")
async def livez() -> dict[str, str]:
    """Always 200 while the process can answer at all."""
    return {"status": "alive"}


@router.get(
    "/readyz",
    summary="New calls are welcome",
    response_model=ReadyBody,
    responses={503: {"model": ReadyBody}},
)
async def readyz(services: ServicesDep, response: Response) -> dict[str, Any]:
    """200 when calls can be taken; 503 while draining.

    `degraded`: the store is away, or what waited for it is not all there yet (`waiting`); scoring goes on.
    """
    waits = services.stores.waiting()
    store = waits.state.value
    try:
        await services.store.ping()
    except StoreError:
        store = "away" if store == "ok" else store
    status = "ready" if store == "ok" else "degraded"
    if services.registry.draining:
        status = "draining"
        response.status_code = 503
        response.headers["Retry-After"] = "1"
    engine = services.engine
    return {
        "status": status,
        "bundle": engine.model.bundle,
        "version": engine.model.version,
        "variant": engine.variant,
        "provider": engine.provider,
        "store": store,
        "waiting": waits.entries,
        "waiting_bytes": waits.bytes,
        "oldest_waiting_s": waits.oldest_s,
        "calls_active": services.registry.active,
    }


@router.get("/metrics", summary="Prometheus metrics", response_class=Response)
async def metrics(services: ServicesDep) -> Response:
    """Every metric in the Prometheus text format. Nothing in it is about one call or person."""
    return Response(services.metrics.exposition(), media_type=CONTENT_TYPE)
