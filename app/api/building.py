"""Groups of parts that are made together, as the settings say."""

from __future__ import annotations

import secrets

from app.api.protocol import call_body
from app.delivery.config import DeliveryConfig
from app.delivery.desk import CallEvent, DeliveryDesk
from app.delivery.desk import Stores as DeliveryStores
from app.engine import Engine, load_engine
from app.privacy.desk import Privacy, build_privacy
from app.results.bridging import open_hub
from app.results.counts import StoreCounts
from app.results.hub import Hub
from app.results.opening import Stores, open_stores
from app.results.publish import LiveEvent, Publisher
from app.results.store import CallInfo
from app.settings import Settings, SettingsError
from app.telemetry.clock import Clock
from app.telemetry.metrics import Metrics
from app.telemetry.tracing import Tracer, TracingError, make_tracer

SALT_BYTES = 32
ERASED = "call_erased"


def make_engine(settings: Settings, metrics: Metrics, tracer: Tracer) -> Engine:
    """The engine, which metrics describe from now on.

    Raises:
        BundleError: the bundle fails a check.
        OrtError: the device that was asked for is not there.
        SettingsError: a value does not fit the bundle.
    """
    engine = load_engine(settings, on_batch=metrics.encoder_batch_size.observe, tracer=tracer)
    metrics.describe_bundle(
        name=engine.model.bundle,
        version=engine.model.version,
        variant=engine.variant,
        provider=engine.provider,
    )
    metrics.line_drift_max.set_function(engine.drift_max)
    return engine


def make_stores(settings: Settings, clock: Clock, metrics: Metrics) -> Stores:
    """Everything that is kept; nothing is connected yet.

    Raises:
        SettingsError: not the URL of a store.
    """
    stores = open_stores(settings.store, clock, StoreCounts(metrics), call_body)
    if stores.spool is not None:
        metrics.spool_max_bytes.set(settings.store.spool_max_bytes)
    return stores


def make_publisher(settings: Settings, metrics: Metrics) -> Publisher:
    """What tells the viewers of this process."""
    live = settings.live
    return Publisher(
        max_subscribers=live.max_subscribers,
        max_per_tenant=live.max_subscribers_per_tenant,
        queue_events=live.queue_events,
        on_drop=metrics.live_dropped.inc,
    )


def make_hub(
    settings: Settings, stores: Stores, publisher: Publisher, clock: Clock, metrics: Metrics, *, owner: str
) -> Hub:
    """What brings viewers the tenants' feeds, and other processes what passes."""
    dropped = metrics.live_relay_dropped.inc
    return open_hub(settings, stores.results, publisher, owner, clock, on_drop=dropped)


def make_privacy(
    settings: Settings,
    stores: Stores,
    publisher: Publisher,
    delivery: DeliveryDesk,
    clock: Clock,
    metrics: Metrics,
    *,
    owner: str,
) -> Privacy:
    """The privacy room; viewers and webhooks hear of each call that was erased."""

    async def erased(tenant: str, call_id: str, position: int | None, call: CallInfo | None) -> None:
        body = {"call_id": call_id}
        publisher.publish(LiveEvent(ERASED, call_id, body, tenant, position=position))
        if call is not None:
            await stores.results.write(
                await delivery.follow_ups(tenant, call, CallEvent(ERASED, body, clock.now()))
            )

    parts = (stores.results, stores.documents, stores.queue, stores.journal)
    return build_privacy(settings, parts, clock, metrics, owner=owner, told=erased)


def make_delivery(
    settings: Settings, stores: Stores, clock: Clock, metrics: Metrics, tracer: Tracer, *, owner: str
) -> DeliveryDesk:
    """Webhooks and alerts."""
    return DeliveryDesk(
        DeliveryStores(stores.results, stores.documents, stores.queue),
        DeliveryConfig(**settings.delivery.model_dump()),
        clock,
        metrics,
        owner=owner,
        tracer=tracer,
    )


def tracer_of(settings: Settings) -> Tracer:
    """What the site wants traced.

    Raises:
        SettingsError: the packages for it are missing.
    """
    tracing = settings.tracing
    try:
        return make_tracer(
            enabled=tracing.enabled,
            endpoint=tracing.endpoint,
            sample_ratio=tracing.sample_ratio,
            service_name=tracing.service_name,
        )
    except TracingError as error:
        raise SettingsError(f"KOWAIRO_TRACING__ENABLED: {error}") from None


def salt_of(settings: Settings) -> bytes:
    """What makes calls opaque in traces and logs."""
    salt = settings.tracing.salt
    return secrets.token_bytes(SALT_BYTES) if salt is None else salt.get_secret_value().encode()
