"""Wires the service, once: settings → services → application → server."""

from __future__ import annotations

import asyncio
import contextlib
import secrets
import tomllib
from collections.abc import AsyncIterator, Callable, Coroutine
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from importlib import metadata
from pathlib import Path

from fastapi import FastAPI

from app.api import (
    alerts,
    audiosocket,
    audit,
    calls,
    erasures,
    exports,
    feedback,
    health,
    hooks,
    ingest,
    keys,
    lines,
    live,
    models,
    retention,
    schemas,
    score,
    stats,
    stream,
    utterances,
    webhooks,
)
from app.api.auth import make_access
from app.api.building import (
    make_delivery,
    make_engine,
    make_hub,
    make_privacy,
    make_publisher,
    make_stores,
    salt_of,
    tracer_of,
)
from app.api.contracts.openapi import install_openapi
from app.api.deps import Services
from app.api.doors import make_doors
from app.api.edge import BodyLimit, CrossOrigin, LocalHostOnly, RequestObserver, SecurityHeaders
from app.api.errors import install_error_handlers
from app.api.expected import ExpectedCalls
from app.api.housekeeping import housekeeping
from app.api.limits import RateHeaders
from app.api.pages import install_pages
from app.api.registry import CallRegistry
from app.api.server import bind, make_server
from app.api.uploads import UploadDesk
from app.lines import ProfileKeeper
from app.settings import Settings
from app.telemetry.clock import Clock, SystemClock
from app.telemetry.logs import configure_logs, get_logger
from app.telemetry.metrics import Metrics
from app.wire.carriers import CARRIERS

OWNER_BYTES = 8

DESCRIPTION = (
    "Kowairo says, utterance by utterance, how a speaker on a telephone call sounds. Live calls come in over the "
    "WebSocket /v1/stream (docs/protocol.md); this page lists everything that is plain HTTP. When API keys are "
    "configured, /v1 wants one, as 'Authorization: Bearer <key>' or 'X-API-Key: <key>'. Errors are problem "
    "details (RFC 9457)."
)


def build_services(settings: Settings, clock: Clock | None = None) -> Services:
    """Loads the bundle and makes every part of the service.

    Raises:
        BundleError: the bundle fails a check.
        OrtError: the device that was asked for is not there.
        SettingsError: a value does not fit the bundle.
    """
    clock = clock or SystemClock()
    metrics = Metrics()
    doors = make_doors(settings, CARRIERS)
    tracer = tracer_of(settings)
    engine = make_engine(settings, metrics, tracer)
    stores = make_stores(settings, clock, metrics)
    owner = secrets.token_hex(OWNER_BYTES)
    publisher = make_publisher(settings, metrics)
    delivery = make_delivery(settings, stores, clock, metrics, tracer, owner=owner)
    inference, upload, socket = settings.inference, settings.upload, settings.carriers.audiosocket
    return Services(
        settings=settings,
        clock=clock,
        metrics=metrics,
        access=make_access(settings, stores.documents, clock, metrics),
        tracer=tracer,
        trace_salt=salt_of(settings),
        owner=owner,
        store=stores.results,
        documents=stores.documents,
        queue=stores.queue,
        journal=stores.journal,
        stores=stores,
        privacy=make_privacy(settings, stores, publisher, delivery, clock, metrics, owner=owner),
        delivery=delivery,
        lines=ProfileKeeper(engine.parts.profiles, stores.documents, clock, flush_s=inference.lines_flush_s),
        publisher=publisher,
        hub=make_hub(settings, stores, publisher, clock, metrics, owner=owner),
        registry=CallRegistry(settings.stream.max_calls, metrics),
        engine=engine,
        pool=ThreadPoolExecutor(inference.workers, thread_name_prefix="kowairo-call"),
        uploads=UploadDesk(workers=upload.workers, max_pending=upload.max_pending, metrics=metrics),
        doors=doors,
        expected_calls=ExpectedCalls(clock, socket.registration_ttl_s, socket.max_registrations),
    )


@asynccontextmanager
async def running(parts: Services) -> AsyncIterator[None]:
    """Everything that works beside requests, as long as the context is open.

    Raises:
        SettingsError, SpoolError: an address or a folder cannot be used.
    """
    async with (
        parts.stores.running(),
        housekeeping(parts),
        parts.privacy.running(),
        parts.lines.running(),
        parts.hub.running(),
        _in_background(parts.delivery.run, parts.delivery.close),
        audiosocket.listening(parts),
    ):
        yield


@asynccontextmanager
async def _in_background(
    work: Callable[[], Coroutine[None, None, None]], end: Callable[[], None]
) -> AsyncIterator[None]:
    task = asyncio.create_task(work())
    try:
        yield
    finally:
        end()
        await asyncio.gather(task, return_exceptions=True)


def create_app(settings: Settings, services: Services | None = None) -> FastAPI:
    """The application. Without `services` its lifespan builds them, and closes them in any case.

    Raises:
        BundleError, OrtError, SettingsError: from the lifespan, see `build_services`.
    """

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        parts = await asyncio.to_thread(build_services, settings) if services is None else services
        app.state.services = parts
        try:
            async with running(parts):
                yield
        finally:
            parts.publisher.close()
            await parts.access.close()
            await asyncio.to_thread(_close, parts)

    app = FastAPI(
        title="Kowairo",
        version=_version(),
        description=DESCRIPTION,
        lifespan=lifespan,
        docs_url=None,
        redoc_url=None,
    )
    install_error_handlers(app)
    for module in (
        erasures,
        calls,
        utterances,
        stats,
        exports,
        feedback,
        keys,
        hooks,
        alerts,
        score,
        live,
        models,
        lines,
        retention,
        audit,
        health,
        schemas,
        stream,
        audiosocket,
        ingest,
        webhooks,
    ):
        app.include_router(module.router)
    install_pages(app)
    install_openapi(app)
    # The last one added is the outermost.
    app.add_middleware(RateHeaders)
    app.add_middleware(BodyLimit, settings=settings)
    app.add_middleware(LocalHostOnly, settings=settings)
    app.add_middleware(SecurityHeaders)
    if settings.auth.allowed_origins:
        app.add_middleware(CrossOrigin, origins=settings.auth.allowed_origins)
    app.add_middleware(RequestObserver)
    return app


def serve(settings: Settings, announce: Callable[[str], None]) -> None:
    """Runs the service until SIGTERM or SIGINT, then lets live calls come to their end.

    Args:
        settings: what the site set.
        announce: given the address, once connections are taken.

    Raises:
        AddressError: the address cannot be listened on.
        BundleError, OrtError, SettingsError: see `build_services`.
    """
    configure_logs(level=settings.log_level, as_json=settings.mode == "production")
    log = get_logger(__name__)
    if not settings.listens_on_loopback and not settings.needs_key:
        log.warning(
            "open_to_the_network", hint="anyone who reaches this port can read every call; set API keys"
        )
    with bind(settings) as sock:
        services = build_services(settings)
        engine = services.engine
        log.info(
            "bundle_loaded",
            bundle=engine.model.bundle,
            version=engine.model.version,
            variant=engine.variant,
            provider=engine.provider,
        )
        make_server(create_app(settings, services), services, sock, announce).run([sock])
    log.info("stopped")


def _close(services: Services) -> None:
    services.pool.shutdown(wait=True, cancel_futures=True)
    services.uploads.close()
    services.engine.close()
    services.tracer.close()


def _version() -> str:
    """Of the distribution; of the checkout where nothing is installed."""
    with contextlib.suppress(metadata.PackageNotFoundError):
        return metadata.version("kowairo")
    with contextlib.suppress(OSError, KeyError):
        project = Path(__file__).resolve().parent.parent / "pyproject.toml"
        return str(tomllib.loads(project.read_text(encoding="utf-8"))["project"]["version"])
    return "unknown"
