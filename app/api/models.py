"""`/v1/models`: what scores are made with."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter, Depends

from app.access.principal import Scope
from app.api.deps import ServicesDep, requires
from app.api.protocol import Listing, Problem, ServedModelBody
from app.api.queries import known_query

router = APIRouter(
    prefix="/v1",
    tags=["models"],
    dependencies=[Depends(requires(Scope.READ_STATS)), Depends(known_query)],
    responses={status: {"model": Problem} for status in (401, 403, 422)},
)


@router.get("/models", summary="The bundles in service", response_model=Listing[ServedModelBody])
async def list_models(services: ServicesDep) -> dict[str, Any]:
    """The bundle in service: its categories in order, its form and the device it runs on."""
    engine = services.engine
    item = {
        "bundle": engine.model.bundle,
        "version": engine.model.version,
        "head": engine.model.head,
        "categories": list(engine.categories),
        "events": list(engine.events),
        "variant": engine.variant,
        "provider": engine.provider,
    }
    return {"items": [item], "next": None}
