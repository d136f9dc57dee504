"""The live page and the API page: static files, no build, nothing from elsewhere."""

from __future__ import annotations

from pathlib import Path

from fastapi import APIRouter, FastAPI
from starlette.responses import FileResponse
from starlette.staticfiles import StaticFiles

_FRESH = {"Cache-Control": "no-cache"}


def web_folder() -> Path:
    """Where the pages lie."""
    return Path(__file__).resolve().parent.parent / "web"


def install_pages(app: FastAPI) -> None:
    """Adds `/`, `/docs` and `/assets`."""
    folder = web_folder()
    router = APIRouter(include_in_schema=False)

    @router.get("/")
    async def live_page() -> FileResponse:
        return FileResponse(folder / "index.html", headers=_FRESH)

    @router.get("/docs")
    async def api_page() -> FileResponse:
        return FileResponse(folder / "docs.html", headers=_FRESH)

    app.include_router(router)
    app.mount("/assets", StaticFiles(directory=folder), name="assets")
