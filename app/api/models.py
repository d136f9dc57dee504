"""`/v1/models`: what scores are made with."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter, Depends

from app.access.principal import Scope
from app.api.deps import ServicesDep, requires
from app.api.protocol import Listing, Problem, ServedModelBody

router = APIRouter(
    prefix="/v1",
    tags=["models"],
    dependencies=[Depends(requires(Scope.READ_STATS))],
    responses={401: {"model": Problem}},
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
