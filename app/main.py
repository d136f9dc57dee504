"""Wires the service, once: settings → services → application → server."""

from __future__ import annotations

import asyncio
import contextlib
import tomllib
from collections.abc import AsyncIterator, Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from importlib import metadata
from pathlib import Path

from fastapi import FastAPI

from app.api import audiosocket, calls, health, ingest, live, models, score, stream, webhooks
from app.api.auth import KeyRing
from app.api.deps import Services
from app.api.doors import make_doors
from app.api.edge import BodyLimit, LocalHostOnly, RequestObserver, SecurityHeaders
from app.api.errors import install_error_handlers
from app.api.expected import ExpectedCalls
from app.api.pages import install_pages
from app.api.registry import CallRegistry
from app.api.server import bind, make_server
from app.api.uploads import UploadDesk
from app.engine import load_engine
from app.results.memory import MemoryStore
from app.results.publish import Publisher
from app.settings import Settings
from app.telemetry.clock import Clock, SystemClock
from app.telemetry.logs import configure_logs, get_logger
from app.telemetry.metrics import Metrics
from app.wire.carriers import CARRIERS

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
    engine = load_engine(settings, on_batch=metrics.encoder_batch_size.observe)
    metrics.describe_bundle(
        name=engine.model.bundle,
        version=engine.model.version,
        variant=engine.variant,
        provider=engine.provider,
    )
    store, upload, feed, socket = (
        settings.store,
        settings.upload,
        settings.live,
        settings.carriers.audiosocket,
    )
    return Services(
        settings=settings,
        clock=clock,
        metrics=metrics,
        keys=KeyRing.from_settings(settings),
        store=MemoryStore(
            clock,
            max_calls=store.max_calls,
            max_records_per_call=store.max_records_per_call,
            ttl_s=store.ttl_s,
        ),
        publisher=Publisher(
            max_subscribers=feed.max_subscribers,
            queue_events=feed.queue_events,
            on_drop=metrics.live_dropped.inc,
        ),
        registry=CallRegistry(settings.stream.max_calls, metrics),
        engine=engine,
        pool=ThreadPoolExecutor(settings.inference.workers, thread_name_prefix="kowairo-call"),
        uploads=UploadDesk(workers=upload.workers, max_pending=upload.max_pending, metrics=metrics),
        doors=doors,
        expected_calls=ExpectedCalls(clock, socket.registration_ttl_s, socket.max_registrations),
    )


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
            async with audiosocket.listening(parts):
                yield
        finally:
            parts.publisher.close()
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
    for module in (calls, score, live, models, health, stream, audiosocket, ingest, webhooks):
        app.include_router(module.router)
    install_pages(app)
    # The last one added is the outermost.
    app.add_middleware(BodyLimit, settings=settings)
    app.add_middleware(LocalHostOnly, settings=settings)
    app.add_middleware(SecurityHeaders)
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


def _version() -> str:
    """Of the distribution; of the checkout where nothing is installed."""
    with contextlib.suppress(metadata.PackageNotFoundError):
        return metadata.version("kowairo")
    with contextlib.suppress(OSError, KeyError):
        project = Path(__file__).resolve().parent.parent / "pyproject.toml"
        return str(tomllib.loads(project.read_text(encoding="utf-8"))["project"]["version"])
    return "unknown"
